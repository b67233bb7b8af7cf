"""Which looks an image is given, what each pays, and when to stop.

A *look* is one way of recovering the noise, read in one way: where the key was planted (`identity`), or over the whole
grid of alignments (`search`); and, where the keys have a pilot, in the picture brought back from where the pilot stands
and read once more (`again`), and in parts of a picture that is larger than the model's (`parts`). Every p-value is paid
for all looks that the image was allowed, all keys, both signs of each and all alignments, by the union bound, whether
they were taken or not; so a look may be left out for any reason. A pilot that leads to keys chooses places and is not
tested itself; what names say of it is a statement of its own (:mod:`.identity`).
Last comes what a learned reader says of the picture with its colours turned half-way round, as planted.

A look is left out once an image is decided, and where the evidence so far makes it futile: what one way of recovering
noise sees nothing of, the next, which may see half as much again, does not bring below the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, WmarkError
from ..inversion.recovery import EFFORTS, EXACT, FAST, LATENT, READER, STEP, TURNED, Recovery

if TYPE_CHECKING:
    from ..models.reader import Reader
    from ..watermark.patterns import Pattern

__all__ = ["ALIGN", "HINT", "SIGNS", "Look", "Plan", "every_reading", "plan", "read_plan", "write_plan"]

SIGNS = 2
"""Signs of a key that are tested: a key that was pushed away past zero stands at a negative cosine."""

READINGS = ("identity", "search")
"""Of every recovery: as planted, then searched."""

FOLLOWING = ("again", "parts")
"""Where a pilot leads on after the first search."""

ALIGN: dict[str, tuple[str, ...]] = {"off": ("identity",), "auto": READINGS, "full": ("search",)}
"""Readings by what the user says of alignment: as planted, then searched, or searched at once."""

HINT = -1.0
"""Largest log10 p so far with which a further recovery is worth its time."""


@dataclass(frozen=True)
class Look:
    """One way of recovering noise, and of reading it.

    Arguments:
        recovery: How the noise is recovered.
        reading: `identity`, `search`, `again` or `parts`.
        after: Largest log10 p so far with which the look is taken; None takes it always.
    """

    recovery: Recovery
    reading: str
    after: float | None = None

    @property
    def name(self) -> str:
        """What verdicts call it."""
        return f"{self.recovery.name}/{self.reading}"

    def taken(self, log10_p: float) -> bool:
        """Whether it is taken with this evidence so far."""
        return self.after is None or log10_p <= self.after


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
        return float(keys_tested) * SIGNS * alignments_tested * len(self.looks)

    def found(self, log10_p: float) -> bool:
        """Whether a corrected p-value is decisive."""
        return log10_p <= math.log10(self.fpr)


def every_reading(recoveries: Iterable[Recovery], after: float | None = None) -> tuple[Look, ...]:
    """Each recovery in every reading; from the second on with the evidence `after`."""
    return tuple(
        Look(recovery, reading, after if i else None) for i, recovery in enumerate(recoveries) for reading in READINGS
    )


WITHOUT_READER = (
    Look(LATENT, "identity"),
    Look(STEP, "identity", HINT),
    Look(FAST, "identity", HINT),
    Look(FAST, "search"),
    Look(EXACT, "identity", HINT),
    Look(EXACT, "search", HINT),
)
"""`auto` for a model that has no learned reader: what turned pictures need is searched in the noise that shows it best
for its time."""


def plan(
    effort: str | Sequence[Recovery],
    align: str,
    fpr: float,
    *,
    patterns: Collection[Pattern],
    reader: Reader | None = None,
    pilots: bool = False,
) -> Plan:
    """The looks that images are given.

    Arguments:
        effort: `fast`, `auto` or `exact`; or how the noise is recovered, each tried in turn.
        align: A name in :data:`ALIGN`.
        fpr: False-positive rate of a verdict, in (0, 1).
        patterns: Those of the keys. One that is not searchable is read from inverted noise, and from nothing else.
        reader: The model's learned reader, if it has one.
        pilots: Whether keys have a pilot.

    Raises:
        WmarkError: If there is no such effort or alignment, or the rate is out of its range.
        ModelError: If the reader's own plan cannot be read.
    """
    if align not in ALIGN:
        raise WmarkError(f"align {align!r} is not one of {', '.join(ALIGN)}")
    if not 0 < fpr < 1:  # False for NaN as well.
        raise WmarkError(f"the false-positive rate {fpr!r} is not between 0 and 1")
    if isinstance(effort, str) and effort not in EFFORTS:
        raise WmarkError(f"effort {effort!r} is not one of {', '.join(EFFORTS)}")
    searchable = [pattern.searchable for pattern in patterns]
    readings = ALIGN[align] if any(searchable) else ("identity",)
    inverted = isinstance(effort, str) and not all(searchable)
    looks = every_reading(EFFORTS[effort]) if inverted else looks_of(effort, reader)
    looks = tuple(look for look in looks if look.reading in readings)
    looks = followed(looks) if pilots else looks
    if "search" in readings and reader and reader.turning and any(look.recovery.needs_reader for look in looks):
        looks = (*looks, Look(TURNED, "identity"))
    return Plan(looks, fpr)


def followed(looks: tuple[Look, ...]) -> tuple[Look, ...]:
    """Looks with those after the first search that a pilot leads to, in the same recovery."""
    first = next((i for i, look in enumerate(looks) if look.reading == "search"), None)
    if first is None:
        return looks
    further = (Look(looks[first].recovery, reading) for reading in FOLLOWING)
    return (*looks[: first + 1], *further, *looks[first + 1 :])


def looks_of(effort: str | Sequence[Recovery], reader: Reader | None) -> tuple[Look, ...]:
    if not isinstance(effort, str):
        return every_reading(effort)
    if effort == "fast" and reader:
        return every_reading([READER])
    if effort == "auto":
        return read_plan(reader.plan) if reader else WITHOUT_READER
    return every_reading(EFFORTS[effort])


def read_plan(entries: Sequence[Mapping[str, Any]]) -> tuple[Look, ...]:
    """Looks from what :func:`write_plan` wrote.

    Raises:
        ModelError: If there are none, or they are of another version.
    """
    try:
        looks = tuple(Look(Recovery(**entry["recovery"]), entry["reading"], entry["after"]) for entry in entries)
    except (KeyError, TypeError, WmarkError) as error:
        raise ModelError("the plan of the model's reader cannot be read: make it again with `wmark tune`") from error
    if {look.reading for look in looks} != {*READINGS}:
        raise ModelError("the plan of the model's reader leaves a reading out: make it again with `wmark tune`")
    return looks


def write_plan(looks: Iterable[Look]) -> list[dict[str, Any]]:
    """Looks as JSON holds them."""
    return [{"recovery": asdict(look.recovery), "reading": look.reading, "after": look.after} for look in looks]
