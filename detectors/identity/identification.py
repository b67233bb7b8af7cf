"""Coordinates -> address -> a few numbers -> the one whose name is there.

The place and the sign at which the address stands out most are chosen by the address; names are tested there and
nowhere else, at both signs, since whoever knows the sections may push an address past zero and leave the name. As
nothing before knows a name, that is a test of the names at a place chosen without them, and pays for how many there
are. Numbers that are expected for other reasons are tested at every place, and pay for that: they are found where the
address was wiped out. The address pays for all 2^40 of them, both signs and every place.
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


class Tested(NamedTuple):
    """The closest name at one place: log10 p of either sign, its cosine, the place, its number."""

    log10_p: float
    cosine: float
    place: Place
    number: int | None


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
    candidates = [(place, addresses[names.given(addresses)][:MOST])]
    candidates += [(one, np.array(names.expected)) for one in places.places if names.expected]
    tests = [closest_name(*one, names) for one in candidates if len(one[1])]
    nobody = Tested(0.0, float(place.cosine(names.pilot.direction)[0]), place, None)
    closest = min(tests, key=lambda one: one.log10_p, default=nobody)
    count = sum(len(numbers) for _, numbers in candidates)
    series = of_address(place, sign, int(addresses[0]), names.sections)

    def statement(log10_p: float, trials: float) -> Statement:
        paid = float(corrected(log10_p, max(1.0, trials) * looks))
        return Statement(paid, paid <= math.log10(fpr))

    return Statements(
        presence=statement(places.presence, 1),
        series=statement(series, float(NUMBERS) * SIGNS * len(places.places)),
        identity=statement(closest.log10_p, SIGNS * count),
        addressed=int(addresses[0]),
        named=None if closest.number is None else names.identity(closest.number),
        revoked=None if closest.number is None else names.issuer(closest.number).revoked,
        names_tested=count,
        places_tested=len(places.places),
        cosine=closest.cosine,
        alignment=closest.place.alignment,
        canvas=closest.place.canvas,
        placement=closest.place.placement,
    )


def outstanding(places: Places, sections: Sections) -> tuple[Place, int, np.ndarray]:
    """The place and the sign at which the best address stands out most, and the scores (S, M) there."""
    scores = sections.scores(np.stack([place.coordinates for place in places.places]))
    norms = [float(np.linalg.norm(place.coordinates, axis=-1)) or 1.0 for place in places.places]
    best = np.stack([scores.max(-1).sum(-1), (-scores).max(-1).sum(-1)], axis=-1) / np.array(norms)[:, None]
    at, negative = np.unravel_index(best.argmax(), best.shape)
    return places.places[at], -1 if negative else 1, scores[at]


def of_address(place: Place, sign: int, number: int, sections: Sections) -> float:
    """log10 p of one address at one place and sign."""
    block = np.concatenate(sections.addressed)
    t, dimension = place.cosine(sections.address(number)[block], block)
    return float(hypercone_log10_p(sign * t, dimension))


def closest_name(place: Place, numbers: np.ndarray, names: Names) -> Tested:
    """The closest of the names of numbers (n,) at one place, at either sign."""
    t, dimension = place.cosine(np.stack([names.name(int(number)) for number in numbers]), names.sections.named)
    at = np.abs(t).argmax()
    return Tested(float(hypercone_log10_p(abs(t[at]), dimension)), float(t[at]), place, int(numbers[at]))
