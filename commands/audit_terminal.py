"""What `wmark audit` shows: a bar or a line a shard while it works, and a page in words at the end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import shown
from ..progress import Progress, progress
from .terminal import say

if TYPE_CHECKING:
    from ..audit.run import Run, Step

__all__ = ["Display", "say_summary"]


class Display:
    """How far a run has come: a bar on a terminal, a line a shard elsewhere, both on standard error.

    Attributes:
        counts: What became of all images so far.
        shards: How many shards are done.
    """

    def __init__(self, run: Run) -> None:
        from ..audit.run import Counts

        known = [counts for shard in run.shards if (counts := run.done(shard)) is not None]
        self.counts = sum(known, Counts())
        self.shards, self.of, self.total = len(known), len(run.shards), run.images
        self.looked_at = 0

    def __enter__(self) -> Display:
        self.begin = time.perf_counter()
        self.bars = progress(self.total, "image")
        self.bar: Progress = self.bars.__enter__()
        self.bar.bar.n = self.bar.bar.initial = self.counts.images
        return self

    def __exit__(self, *exception: object) -> None:
        self.bars.__exit__(*exception)

    def show(self, step: Step) -> None:
        """One shard more."""
        self.counts += step.change
        self.shards += step.change.images > 0
        self.looked_at += step.counts.images
        rate = self.looked_at / (time.perf_counter() - self.begin)
        self.bar.bar.set_postfix_str(f"{self.counts.found:,} found, {self.counts.failed:,} failed")
        self.bar.update(step.change.images)
        if not sys.stderr.isatty():
            left = (self.total - self.counts.images) / rate
            self.bar.complain(
                f"shard {step.shard.number}: {step.counts.images} images, {step.counts.found} found, "
                f"{step.counts.failed} failed, {step.counts.seconds:.1f} s; in all {self.counts.images:,} of "
                f"{self.total:,}, {self.counts.found:,} found, {self.counts.failed:,} failed, {rate:.2f} images/s, "
                f"{clock(left)} left"
            )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def share(counted: dict[str, Any]) -> str:
    """A count with its share and the interval of that."""
    return (
        f"{counted['count']:,}, {counted['share']:.2%} of those looked at "
        f"({counted['low']:.2%} to {counted['high']:.2%})"
    )


def say_summary(summary: dict[str, Any], folder: Path) -> None:
    """What came of a run, in a few lines on standard output."""
    totals, chance, decoys = summary["totals"], summary["chance"], summary["decoys"]
    say(
        f"{totals['images']:,} images: {totals['found']:,} found, {totals['looked_at'] - totals['found']:,} not found, "
        f"{totals['failed']:,} could not be looked at"
    )
    for statement, said in summary["statements"].items():
        say(f"  {statement}  {share(said)}")
    for what, rows in (("key", summary["keys"]), ("issuer", summary["issuers"])):
        for row in rows[:20]:
            say(f"  {what} {row['key_id' if what == 'key' else 'issuer']}  {share(row)}")
        if len(rows) > 20:
            say(f"  and {len(rows) - 20:,} more, in summary.json")
    for kind, count in summary["errors"].items():
        say(f"  {kind}  {count:,}")
    say(f"by chance alone {chance['expected_false']:.2g} would be found at a false-positive rate of {chance['fpr']:g}")
    if decoys:
        rate = decoys["rates"][min(1, len(decoys["rates"]) - 1)]
        say(
            f"{decoys['count']} decoys on these images: {rate['share']:.2%} of their p-values below {rate['p']:g} "
            f"({rate['low']:.2%} to {rate['high']:.2%} over decoys)"
        )
    if searched := summary["searched_decoys"]:
        found = searched[f"{chance['fpr']:g}"]
        say(f"{searched['tests']:,} searches for decoys: {found:,} found")
    say(f"rows in {shown(folder / 'shards')}, corrections over the run and the summary beside them")
