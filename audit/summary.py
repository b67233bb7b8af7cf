"""What the rows of a run say together, in `summary.json`, and of each row in `corrections.parquet`.

corrections.parquet   row, log10_p_family (Holm), log10_q (Benjamini-Hochberg), one row an image that was looked at
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files import write_atomically
from .run import Counts, Run
from .statistics import Decoys, clopper_pearson, false_discovery, family_wise, yekutieli

__all__ = ["SUMMARY_SCHEMA", "summarise"]

SUMMARY_SCHEMA = "wmark-audit-summary/1"
LEVELS = (0.05, 0.01, 0.001)
COLUMNS = ("row", "found", "issuer", "key_id", "log10_p", "decoy_log10_p", "error_class", *(
    "read_seconds", "decode_seconds", "seconds"
))  # fmt: skip


def summarise(run: Run) -> dict[str, Any]:
    """Read the rows of a run that is done, and write what they say together; returns the summary.

    Raises:
        OSError: If a file cannot be read or written.
    """
    rows, log10_p = [], []
    names, errors, stages = Counter(), Counter(), Counter()
    decoys, counts = Decoys(run.settings.decoys), Counts()
    for shard in run.shards:
        counts += run.done(shard) or Counts()
        table = run.rows(shard, COLUMNS)
        errors.update(table["error_class"].drop_null().to_pylist())
        for stage in ("read_seconds", "decode_seconds", "seconds"):
            stages[stage] += pc.sum(table[stage]).as_py() or 0.0
        looked = table.filter(pc.is_valid(table["log10_p"]))
        rows.append(looked["row"].to_numpy())
        log10_p.append(looked["log10_p"].to_numpy())
        found = looked.filter(looked["found"])
        names.update(zip(found["issuer"].to_pylist(), found["key_id"].to_pylist(), strict=True))
        tested = looked["decoy_log10_p"].drop_null()
        if len(tested) and run.settings.decoys:
            decoys.add(np.stack(tested.to_pylist()))
    p = np.concatenate([np.empty(0), *log10_p])
    family, discovery = family_wise(p), false_discovery(p)
    write_corrections(run.folder, np.concatenate([np.empty(0, np.int64), *rows]), family, discovery)
    looked_at = len(p)
    summary = {
        "schema": SUMMARY_SCHEMA,
        "specification": run.digest,
        "sources": {"count": len(run.arguments), "first": list(run.arguments[:20])},
        "settings": asdict(run.settings),
        "totals": {
            "images": counts.images,
            "looked_at": looked_at,
            "found": counts.found,
            "failed": counts.failed,
            "unforeseen": counts.unforeseen,
        },
        "names": [
            {"issuer": issuer, "key_id": key_id, **share(count, looked_at)}
            for (issuer, key_id), count in sorted(names.items(), key=lambda item: (-item[1], str(item[0])))
        ],
        "issuers": [{"issuer": issuer, **share(count, looked_at)} for issuer, count in issuers(names).most_common()],
        "errors": dict(errors.most_common()),
        "chance": {
            "fpr": run.settings.fpr,
            "expected_false": looked_at * run.settings.fpr,
            "yekutieli_log10": yekutieli(looked_at),
            "family_wise": {str(level): int((family <= math.log10(level)).sum()) for level in LEVELS},
            "false_discovery": {str(level): int((discovery <= math.log10(level)).sum()) for level in LEVELS},
        },
        "decoys": said_of(decoys) if decoys.images and run.settings.decoys else None,
        "seconds": {
            "read": stages["read_seconds"],
            "decode": stages["decode_seconds"],
            "verdict": stages["seconds"],
            "workers": counts.seconds,
        },
    }
    write_atomically(run.folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode(), mode=0o600)
    return summary


def share(count: int, total: int) -> dict[str, float]:
    """A count, its share, and the 95% interval of that (Clopper and Pearson)."""
    low, high = clopper_pearson(count, total)
    return {"count": count, "share": count / total if total else 0.0, "low": low, "high": high}


def issuers(names: Counter) -> Counter:
    found = Counter()
    for (issuer, _), count in names.items():
        found[issuer] += count
    return found


def said_of(decoys: Decoys) -> dict[str, Any]:
    """What keys that nothing carries say of p-values on this corpus."""
    depth = int(math.log10(decoys.images * len(decoys.tail))) if decoys.images else 0
    return {
        "count": len(decoys.tail),
        "images": decoys.images,
        "rates": [decoys.rate(decade) for decade in range(1, max(2, min(depth + 1, 7)))],
        "distances": [round(distance, 5) for distance in decoys.distances()],
        "histogram": decoys.uniform.sum(0).reshape(50, -1).sum(1).tolist(),
    }


def write_corrections(folder: Path, rows: np.ndarray, family: np.ndarray, discovery: np.ndarray) -> None:
    table = pa.table({"row": rows, "log10_p_family": family, "log10_q": discovery})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(folder / "corrections.parquet", buffer.getbuffer(), mode=0o600)
