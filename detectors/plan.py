"""Which looks an image is given, what each pays, and when to stop.

A *look* is one way of recovering the noise, read in one way: where the key was planted (`identity`) or over the whole
grid of alignments (`search`). Every p-value is paid for all looks that the image was allowed, all keys and all
alignments, by the union bound; the first look that is decisive is the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import WmarkError
from ..inversion.recovery import Recovery

__all__ = ["ALIGN", "Look", "Plan", "plan"]

ALIGN: dict[str, tuple[str, ...]] = {"off": ("identity",), "auto": ("identity", "search"), "full": ("search",)}
"""Readings by what the user says of alignment: as planted, then searched, or searched at once."""


@dataclass(frozen=True)
class Look:
    """One way of recovering noise, and of reading it."""

    recovery: Recovery
    reading: str

    @property
    def name(self) -> str:
        """What verdicts call it."""
        return f"{self.recovery.name}/{self.reading}"


@dataclass(frozen=True)
class Plan:
    """Looks in their order.

    Attributes:
        looks: The looks.
        fpr: False-positive rate of a verdict.
    """

    looks: tuple[Look, ...]
    fpr: float

    def trials(self, keys_tested: int, alignments_tested: int) -> float:
        """What the union bound pays for one p-value."""
        return float(keys_tested) * alignments_tested * len(self.looks)

    def found(self, log10_p: float) -> bool:
        """Whether a corrected p-value is decisive."""
        return log10_p <= math.log10(self.fpr)


def plan(recoveries: Sequence[Recovery], align: str, fpr: float, searchable: bool) -> Plan:
    """Every recovery in every reading.

    Arguments:
        recoveries: How the noise is recovered, the cheapest first.
        align: A name in :data:`ALIGN`.
        fpr: False-positive rate of a verdict, in (0, 1).
        searchable: Whether an alignment of any key can be searched for.

    Raises:
        WmarkError: If there is no such alignment, or the rate is out of its range.
    """
    if align not in ALIGN:
        raise WmarkError(f"align {align!r} is not one of {', '.join(ALIGN)}")
    if not 0 < fpr < 1:  # False for NaN as well.
        raise WmarkError(f"the false-positive rate {fpr!r} is not between 0 and 1")
    readings = ALIGN[align] if searchable else ("identity",)
    return Plan(tuple(Look(recovery, reading) for recovery in recoveries for reading in readings), fpr)
