"""Coordinates -> address -> a few numbers -> the one whose name is there.

The place and the sign at which the address stands out most are chosen by the address; names are tested there and
nowhere else. As nothing before knows a name, that is a test of the names at a place chosen without them, and pays for
how many there are. The address pays for all 2^40 of them, for both signs and every place.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...watermark.names import Names
from ...watermark.numbers import NUMBERS
from ...watermark.sections import Sections
from ..plan import SIGNS
from ..statistic import corrected, hypercone_log10_p
from .addresses import likeliest
from .places import Place, Places
from .statements import Statement, Statements

__all__ = ["MOST", "WIDTH", "identify"]

WIDTH = 2048
"""Addresses that are followed."""

MOST = 64
"""Names that are tested in one look, at most."""


class Closest(NamedTuple):
    """The name that stands closest: its number, its cosine, and log10 p of one test."""

    number: int | None
    cosine: float
    log10_p: float


def identify(places: Places, names: Names, looks: int, fpr: float) -> Statements:
    """The three statements of one look at one image.

    Arguments:
        places: Where it is read.
        names: The names.
        looks: Looks that the image is allowed.
        fpr: Largest p-value of a statement that counts as found.
    """
    place, sign, scores = outstanding(places, names.sections)
    addresses = names.sections.numbers_of(likeliest(sign * scores, WIDTH))
    tried = addresses[names.given(addresses)][:MOST]
    nobody = Closest(None, place.cosine(names.pilot.direction)[0], 0.0)
    closest = min((of_name(place, sign, names, int(one)) for one in tried), key=lambda c: c.log10_p, default=nobody)
    series = of_address(place, sign, names.sections, int(addresses[0]))

    def statement(log10_p: float) -> Statement:
        return Statement(float(log10_p), bool(log10_p <= math.log10(fpr)))

    return Statements(
        presence=statement(corrected(places.presence, looks)),
        series=statement(corrected(series, NUMBERS * SIGNS * len(places.places) * looks)),
        identity=statement(corrected(closest.log10_p, max(1, len(tried)) * looks)),
        addressed=int(addresses[0]),
        named=None if closest.number is None else names.identity(closest.number),
        names_tested=len(tried),
        places_tested=len(places.places),
        cosine=closest.cosine,
        alignment=place.alignment,
        canvas=place.canvas,
        placement=place.placement,
    )


def outstanding(places: Places, sections: Sections) -> tuple[Place, int, np.ndarray]:
    """The place and the sign at which the best address stands out most, and the scores (S, M) there."""
    scores = sections.scores(np.stack([place.coordinates for place in places.places]))
    norms = [np.linalg.norm(place.coordinates) or 1.0 for place in places.places]
    best = np.stack([scores.max(-1).sum(-1), (-scores).max(-1).sum(-1)], axis=-1) / np.array(norms)[:, None]
    at, negative = np.unravel_index(best.argmax(), best.shape)
    return places.places[at], -1 if negative else 1, scores[at]


def of_address(place: Place, sign: int, sections: Sections, number: int) -> float:
    """log10 p of one address at one sign."""
    block = np.concatenate(sections.addressed)
    t, dimension = place.cosine(sections.address(number)[block], block)
    return float(hypercone_log10_p(sign * t, dimension))


def of_name(place: Place, sign: int, names: Names, number: int) -> Closest:
    """One name at one sign."""
    t, dimension = place.cosine(names.name(number), names.sections.named)
    return Closest(number, t, float(hypercone_log10_p(sign * t, dimension)))
