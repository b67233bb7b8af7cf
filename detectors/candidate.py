"""Where keys stand in one look at one image -> the closest of them, and what that is worth after all that was tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..watermark.keys import Key
from .alignment import IDENTITY
from .geometry import Size
from .leading import Led, keys_at
from .reading import KeyGroup, Standing, closest, log10_p
from .registration.parts import apart
from .statistic import corrected
from .verdict import Part

__all__ = ["Candidate", "closest_key", "each_once", "guided"]


class Candidate(NamedTuple):
    """The closest key of one look at one image.

    Attributes:
        log10_p: Of its p-value, corrected.
        key: The key.
        standing: Where it stands.
        alignments_tested: What each key paid for.
        parts: Every place where a key is found, each once, the strongest first.
    """

    log10_p: float
    key: Key
    standing: Standing
    alignments_tested: int
    parts: tuple[Part, ...] = ()


def closest_key(group: KeyGroup, standings: Sequence[Standing], alignments: int, trials: float) -> Candidate:
    """The key of a group that chance explains least.

    Arguments:
        group: The keys.
        standings: Where each stands.
        alignments: What each paid for.
        trials: What the union bound pays, alignments included.
    """
    p = corrected(log10_p(standings), trials)
    # The first of equal p-values, which are many at 1, is the one that stands closest.
    i = np.lexsort((-np.abs([standing.cosine for standing in standings]), p))[0]
    return Candidate(float(p[i]), group.keys[i], standings[i], alignments)


def guided(group: KeyGroup, led: Led, canvas: Size, trials: float, found: Callable[[float], bool]) -> Candidate:
    """The closest of the keys of one pilot where it leads, and each place where one of them is found.

    Arguments:
        group: The keys.
        led: Where the pilot leads; perhaps nowhere.
        canvas: The likeliest canvas.
        trials: What the union bound pays, the placements included.
        found: Whether a corrected log10 p is decisive.
    """
    if not led.places:
        nowhere = Standing(0.0, IDENTITY, canvas, group.fitted(canvas).pattern.dimension)
        return closest_key(group, [nowhere] * len(group.keys), led.paid, trials)
    places = [keys_at(group, place) for place in led.places]
    best = [closest_key(group, row, led.paid, trials) for row in places]
    marked = [Part(one.log10_p, one.standing.cosine, one.standing.placement, one.key.id) for one in best]
    every = [closest(row) for row in zip(*places, strict=True)]
    return closest_key(group, every, led.paid, trials)._replace(parts=each_once(marked, found))


def each_once(parts: Sequence[Part], found: Callable[[float], bool]) -> tuple[Part, ...]:
    """The parts that are found, the strongest first, without those that lie over a stronger one."""
    marked = sorted((part for part in parts if found(part.log10_p)), key=lambda part: part.log10_p)
    kept = set(map(id, apart([part.placement for part in marked])))
    return tuple(part for part in marked if id(part.placement) in kept)
