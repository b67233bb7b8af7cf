"""A run's folder -> the sums over all its rows, and the few of them that a page shows.

The rows are read twice: a few columns of all, to add up and to choose, then all columns of those chosen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..audit.run import Run
from ..audit.schema import COLUMNS as ALL_COLUMNS
from ..audit.shards import Shard
from ..audit.summary import COLUMNS, Tally, summary_of

__all__ = ["Bounds", "Findings", "findings"]

ADDED_UP = (*COLUMNS, "transplant", "manifest", "identity_number")
SHOWN = tuple(column.name for column in ALL_COLUMNS if column.name not in ("decoy_log10_p", "searched_log10_p"))
KINDS = 50
"""Kinds of errors of which examples are chosen."""


@dataclass(frozen=True)
class Bounds:
    """How many rows are shown, at most.

    Attributes:
        found, failed, others: Of those that carry a mark, those that could not be looked at, and the rest.
        copies: Numbers that stand on several images.
        pictures: Rows of the gallery.
    """

    found: int = 1000
    failed: int = 400
    others: int = 400
    copies: int = 20
    pictures: int = 48


@dataclass(frozen=True)
class Findings:
    """What is known of a run.

    Attributes:
        run: The run.
        done: Its shards that are done.
        tally: Sums over all rows.
        summary: What they say together, as `summary.json` has it.
        rows: Those that are shown, in order, each with `log10_p_family` and `log10_q` beside its columns.
        gallery: Numbers of rows whose pictures are shown: `transplants`, `found` (from the weakest on), `closest`.
        manifests: How often each state of a manifest was met.
        transplants: How many marks were carried over to another picture; None if nobody looked.
        copies: Numbers that several images carry: the number, how many, and the row of one.
        available: How many rows there are of those that are found, failed and others.
    """

    run: Run
    done: tuple[Shard, ...]
    tally: Tally
    summary: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    gallery: Mapping[str, Sequence[int]]
    manifests: Mapping[str, int]
    transplants: int | None
    copies: Sequence[tuple[int, int, int]]
    available: Mapping[str, int]


class Choice:
    """Notes of every row what decides whether it is shown."""

    def __init__(self) -> None:
        self.found: list[np.ndarray] = []
        self.failed: dict[str, list[int]] = defaultdict(list)
        self.transplants: list[int] = []
        self.named: list[np.ndarray] = []
        self.manifests: Counter[str] = Counter()
        self.compared = False

    def add(self, table: pa.Table) -> None:
        """Rows of a shard."""
        looked = table.filter(pc.is_valid(table["log10_p"]))
        self.found.append(looked["found"].fill_null(False).to_numpy())
        wrong = table.filter(pc.is_valid(table["error_class"]))
        for row, kind in zip(wrong["row"].to_pylist(), wrong["error_class"].to_pylist(), strict=True):
            self.failed[kind].append(row)
        self.compared |= table["transplant"].null_count < len(table)
        self.transplants += table.filter(table["transplant"])["row"].to_pylist()
        self.manifests.update(table["manifest"].drop_null().to_pylist())
        carries = looked.filter(looked["identity"])
        named = carries.filter(pc.is_valid(carries["identity_number"]))
        self.named.append(np.stack([named["identity_number"].to_numpy(), named["row"].to_numpy()]))

    def copies(self, most: int) -> list[tuple[int, int, int]]:
        """Numbers on more than one image, the most frequent first: number, count, and the first row."""
        number, row = np.concatenate([np.empty((2, 0), np.int64), *self.named], axis=1)
        numbers, first, counts = np.unique(number, return_index=True, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:most]
        return [(int(numbers[i]), int(counts[i]), int(row[first[i]])) for i in order if counts[i] > 1]


def findings(run: Run, bounds: Bounds | None = None) -> Findings:
    """Read what there is of a run.

    Arguments:
        run: The run, whether it is finished or not.
        bounds: How many rows are chosen.

    Raises:
        AuditError: If rows of it are damaged.
    """
    bounds = bounds or Bounds()
    tally, choice, done = Tally(run), Choice(), []
    for shard in run.shards:
        if (counts := run.done(shard)) is not None:
            table = run.rows(shard, ADDED_UP)
            tally.add(table, counts)
            choice.add(table)
            done.append(shard)
    family, discovery = tally.corrected()
    found = np.concatenate([np.empty(0, bool), *choice.found])
    gallery = chosen_pictures(tally, found, choice.transplants, bounds.pictures)
    copies = choice.copies(bounds.copies)
    hits, rest = tally.numbers[found], tally.numbers[~found]
    wanted = {
        *evenly(hits, bounds.found),
        *evenly(rest, bounds.others),
        *chosen_failures(choice.failed, bounds.failed),
        *evenly(choice.transplants, bounds.found),
        *(row for rows in gallery.values() for row in rows),
        *(row for _, _, row in copies),
    }
    rows = [*read(run, done, np.array(sorted(wanted), np.int64))]
    places = {int(row): i for i, row in zip(*located(tally.numbers, wanted), strict=True)}
    for row in rows:
        place = places.get(row["row"])
        row["log10_p_family"], row["log10_q"] = (
            (None, None) if place is None else (float(family[place]), float(discovery[place]))
        )
    return Findings(
        run,
        tuple(done),
        tally,
        summary_of(run, tally, family, discovery),
        rows,
        gallery,
        choice.manifests,
        len(choice.transplants) if choice.compared else None,
        copies,
        {"found": len(hits), "failed": sum(map(len, choice.failed.values())), "others": len(rest)},
    )


def located(numbers: np.ndarray, wanted: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where some rows stand among all, and which those are that do; `numbers` ascend."""
    rows = np.array(sorted(wanted), np.int64)
    places = np.searchsorted(numbers, rows)
    inside = places < len(numbers)
    places, rows = places[inside], rows[inside]
    same = numbers[places] == rows
    return places[same], rows[same]


def chosen_pictures(tally: Tally, found: np.ndarray, transplants: Sequence[int], most: int) -> dict[str, list[int]]:
    """Rows whose pictures are shown: half of them found, evenly over p from the weakest on; the rest closest to it, and
    transplants."""
    numbers, p = tally.numbers, tally.p
    by_p = np.argsort(p, kind="stable")
    hits, rest = by_p[found[by_p]], by_p[~found[by_p]]
    carried = evenly(transplants, most // 4)
    taken = {*carried}
    return {
        "transplants": carried,
        "found": [row for row in evenly(numbers[hits[::-1]], most // 2) if row not in taken],
        "closest": [int(row) for row in numbers[rest[: most // 4]]],
    }


def chosen_failures(failed: Mapping[str, Sequence[int]], most: int) -> list[int]:
    """Of every kind of error a share as large as its own, and three at least."""
    kinds = sorted(failed.items(), key=lambda item: -len(item[1]))[:KINDS]
    total = sum(len(rows) for _, rows in kinds)
    return [row for _, rows in kinds for row in evenly(rows, max(3, most * len(rows) // total))]


def evenly(rows: Sequence[int] | np.ndarray, most: int) -> list[int]:
    """So many rows at most, spread evenly over all, in their order."""
    if len(rows) <= most:
        return [int(row) for row in rows]
    return [int(rows[i]) for i in np.linspace(0, len(rows) - 1, most).round().astype(int)] if most else []


def read(run: Run, shards: Sequence[Shard], wanted: np.ndarray) -> Iterable[dict[str, Any]]:
    """Rows by their numbers, which ascend."""
    for shard in sorted(shards, key=lambda shard: shard.row):
        low, high = np.searchsorted(wanted, [shard.row, shard.row + shard.count])
        if high > low:
            table = run.rows(shard, SHOWN)
            yield from table.filter(pc.is_in(table["row"], pa.array(wanted[low:high]))).to_pylist()
