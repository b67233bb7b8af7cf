"""What the rows of a run say together, in `summary.json`, and of each row in `corrections.parquet`.

corrections.parquet   row, log10_p_family (Holm), log10_q (Benjamini-Hochberg), one row an image that was looked at
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Sequence
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

__all__ = ["COLUMNS", "SUMMARY_SCHEMA", "Tally", "share", "summarise", "summary_of"]

SUMMARY_SCHEMA = "wmark-audit-summary/1"
LEVELS = (0.05, 0.01, 0.001)
STATEMENTS = ("presence", "series", "identity")
STAGES = ("read_seconds", "decode_seconds", "seconds")
KEY, NAME = ("keyring", "key_id"), ("keyring", "issuer")
COLUMNS = (
    *("row", "found", "keyring", "key_id", "issuer", "log10_p", "decoy_log10_p", "searched_log10_p", "error_class"),
    *STATEMENTS,
    *STAGES,
)


def summarise(run: Run) -> dict[str, Any]:
    """Read the rows of a run that is done, and write what they say together; returns the summary.

    Raises:
        OSError: If a file cannot be read or written.
    """
    tally = Tally(run)
    for shard in run.shards:
        tally.add(run.rows(shard, COLUMNS), run.done(shard) or Counts())
    family, discovery = tally.corrected()
    write_corrections(run.folder, tally.numbers, family, discovery)
    summary = summary_of(run, tally, family, discovery)
    write_atomically(run.folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode(), mode=0o600)
    return summary


def summary_of(run: Run, tally: Tally, family: np.ndarray, discovery: np.ndarray) -> dict[str, Any]:
    """What the rows that were added up say together.

    Arguments:
        run: Their run.
        tally: The sums.
        family, discovery: What :meth:`Tally.corrected` gives.
    """
    p, counts = tally.p, tally.counts
    return {
        "schema": SUMMARY_SCHEMA,
        "specification": run.digest,
        "sources": {"count": len(run.arguments), "first": list(run.arguments[:20])},
        "settings": asdict(run.settings),
        "totals": {
            "images": counts.images,
            "looked_at": len(p),
            "found": counts.found,
            "failed": counts.failed,
            "unforeseen": counts.unforeseen,
        },
        "statements": {name: share(tally.statements[name], len(p)) for name in STATEMENTS if run.settings.names},
        "keys": shares(tally.keys, KEY, len(p)),
        "issuers": shares(tally.issuers, NAME, len(p)),
        "errors": dict(tally.errors.most_common()),
        "chance": {
            "fpr": run.settings.fpr,
            "expected_false": len(p) * run.settings.fpr,
            "yekutieli_log10": yekutieli(len(p)),
            "family_wise": {str(level): int((family <= math.log10(level)).sum()) for level in LEVELS},
            "false_discovery": {str(level): int((discovery <= math.log10(level)).sum()) for level in LEVELS},
        },
        "decoys": said_of(tally.decoys) if tally.decoys.images else None,
        "searched_decoys": tally.searched or None,
        "seconds": {
            "read": tally.stages["read_seconds"],
            "decode": tally.stages["decode_seconds"],
            "verdict": tally.stages["seconds"],
            "workers": counts.seconds,
        },
    }


class Tally:
    """Adds up rows, shard after shard.

    Attributes:
        counts: What became of all images.
        rows, log10_p: Of the images that were looked at, shard by shard.
        keys, issuers, statements, errors: How often each was found, or went wrong.
        stages: Seconds by the columns that hold them.
        decoys: Decoys that were tested where the mark stands.
        searched: Tests of decoys that were searched for, and how many had a p of at most the run's rate, .01 and .1.
    """

    def __init__(self, run: Run) -> None:
        self.fpr, self.counts = run.settings.fpr, Counts()
        self.rows: list[np.ndarray] = []
        self.log10_p: list[np.ndarray] = []
        self.keys, self.issuers, self.statements = Counter(), Counter(), Counter()
        self.errors, self.stages, self.searched = Counter(), Counter(), Counter()
        self.decoys = Decoys(run.settings.decoys)

    @property
    def numbers(self) -> np.ndarray:
        """Rows of the images that were looked at, with shape (m,)."""
        return np.concatenate([np.empty(0, np.int64), *self.rows])

    @property
    def p(self) -> np.ndarray:
        """log10 of their p-values, with shape (m,)."""
        return np.concatenate([np.empty(0), *self.log10_p])

    def corrected(self) -> tuple[np.ndarray, np.ndarray]:
        """The same corrected over the run: family-wise, and as a rate of false discoveries."""
        return family_wise(self.p), false_discovery(self.p)

    def add(self, table: pa.Table, counts: Counts) -> None:
        """Rows of a shard, which hold at least :data:`COLUMNS`, and what its file says of them."""
        self.counts += counts
        self.errors.update(table["error_class"].drop_null().to_pylist())
        for stage in STAGES:
            self.stages[stage] += pc.sum(table[stage]).as_py() or 0.0
        looked = table.filter(pc.is_valid(table["log10_p"]))
        self.rows.append(looked["row"].to_numpy())
        self.log10_p.append(looked["log10_p"].to_numpy())
        self.keys.update(tuples(looked.filter(pc.and_(looked["found"], pc.is_valid(looked["key_id"]))), KEY))
        self.issuers.update(tuples(looked.filter(looked["identity"]), NAME))
        self.statements.update({name: pc.sum(looked[name]).as_py() or 0 for name in STATEMENTS})
        tested = looked["decoy_log10_p"].drop_null()
        if len(tested):
            self.decoys.add(np.stack(tested.to_pylist()))
        searched = np.array(pc.list_flatten(looked["searched_log10_p"]).to_pylist())
        if len(searched):
            self.searched["tests"] += len(searched)
            for rate in {self.fpr, 0.01, 0.1}:
                self.searched[f"{rate:g}"] += int((searched <= math.log10(rate)).sum())


def tuples(table: pa.Table, columns: Sequence[str]) -> list[tuple]:
    """Values of some columns, row by row."""
    return [*zip(*(table[name].to_pylist() for name in columns), strict=True)]


def shares(counts: Counter, names: Sequence[str], total: int) -> list[dict[str, Any]]:
    """What was counted, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [{**dict(zip(names, of, strict=True)), **share(count, total)} for of, count in ordered]


def share(count: int, total: int) -> dict[str, float]:
    """A count, its share, and the 95% interval of that (Clopper and Pearson)."""
    low, high = clopper_pearson(count, total)
    return {"count": count, "share": count / total if total else 0.0, "low": low, "high": high}


def said_of(decoys: Decoys) -> dict[str, Any]:
    """What keys that nothing carries say of p-values on this corpus."""
    depth = int(math.log10(decoys.images * len(decoys.tail)))
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
