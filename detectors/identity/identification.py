"""Coordinates -> address -> a few numbers -> the one whose name is there.

Names are read at one place, which the pilot chose, at the sign at which the address stands out. As nothing before knows
a name, that is a test of the names at a place chosen without them, and pays for how many there are. Numbers that are
expected for other reasons are tested at both signs, and pay for that: they are found where the address was wiped out.
The address pays for all 2^40 of them and for both signs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...watermark.names import Names
from ...watermark.numbers import NUMBERS
from ..plan import SIGNS
from ..statistic import corrected
from .addresses import likeliest
from .place import Place
from .statements import Statement, Statements

__all__ = ["MOST", "WIDTH", "identify"]

WIDTH = 2048
"""Addresses that are followed."""

MOST = 64
"""Names that are tested in one look, at most."""


class Tested(NamedTuple):
    """One name at one sign: log10 p of the test, its cosine, its number."""

    log10_p: float
    cosine: float
    number: int | None


def identify(place: Place, presence: float, names: Names, looks: int, fpr: float) -> Statements:
    """The three statements of one look at one image.

    Arguments:
        place: What is read.
        presence: log10 p of the pilot, paid for where it was looked for.
        names: The names.
        looks: Looks that the image is allowed.
        fpr: Largest p-value of a statement that counts as found.
    """
    sections = names.sections
    scores = sections.scores(place.coordinates)
    sign = 1 if scores.max(-1).sum() >= -scores.min(-1).sum() else -1
    addresses = sections.numbers_of(likeliest(sign * scores, WIDTH))
    candidates = [(int(number), sign) for number in addresses[names.given(addresses)][:MOST]]
    candidates += [(number, both) for number in names.expected for both in (1, -1)]
    nobody = Tested(0.0, place.log10_p(names.pilot.direction)[0], None)
    closest = min((tested(place, names, *one) for one in candidates), key=lambda one: one.log10_p, default=nobody)
    block = np.concatenate(sections.addressed)
    series = place.log10_p(sections.address(int(addresses[0]))[block], block)[1]

    def statement(log10_p: float, trials: float) -> Statement:
        paid = float(corrected(log10_p, max(1.0, trials) * looks))
        return Statement(paid, paid <= math.log10(fpr))

    return Statements(
        presence=statement(presence, 1),
        series=statement(series, float(NUMBERS) * SIGNS),
        identity=statement(closest.log10_p, len(candidates)),
        addressed=int(addresses[0]),
        named=None if closest.number is None else names.identity(closest.number),
        revoked=None if closest.number is None else names.issuer(closest.number).revoked,
        names_tested=len(candidates),
        cosine=closest.cosine,
    )


def tested(place: Place, names: Names, number: int, sign: int) -> Tested:
    """One name at one sign; at the other it is as good as not there."""
    t, log10_p = place.log10_p(names.name(number), names.sections.named)
    return Tested(log10_p if sign * t > 0 else 0.0, t, number)
