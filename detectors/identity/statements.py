"""What is said of an image that may carry a name: three statements, each with a p-value of its own.

    presence    the pilot is there: somebody marked the image who knows the keyring's pilot, or copied it
    series      an address is there: the same of the sections, which all issuers of the keyring know
    identity    a name is there, which nobody but its issuer knows: it is this image, or a copy of its noise

Pilot and sections are on many images, where they can be averaged out of; a name is on one. Identity rests on the name
alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...watermark.layout import Identity
from ..alignment import Alignment
from ..registration.placement import Placement

__all__ = ["STATEMENTS", "Statement", "Statements"]

STATEMENTS = 3
"""How many statements are made, which the bound on any of them being false pays for."""


@dataclass(frozen=True)
class Statement:
    """One statement.

    Attributes:
        log10_p: log10 of its p-value, corrected for all that was tested for it: the probability that an image of which
            it is not true looks at least this much like it.
        found: Whether the p-value is at most the false-positive rate asked for.
    """

    log10_p: float
    found: bool

    def to_json(self, scores: bool = False) -> dict:
        told = self.found or scores
        return {"found": self.found, "log10_p": round(self.log10_p, 3) if told else min(0, math.ceil(self.log10_p))}


@dataclass(frozen=True)
class Statements:
    """The three of them, of one image.

    Attributes:
        presence, series, identity: What each says.
        addressed: The number whose address stands closest.
        named: The identity whose name stands closest; None where no number was given out under the likely addresses.
        revoked: When its issuer was revoked, ISO 8601 in UTC; None if it was not.
        names_tested: Names that the identity paid for, both signs of each, at each place where they were tested.
        places_tested: Places that the series paid for.
        cosine: Cosine of the closest name, or of the pilot where no name was tested.
        alignment, canvas, placement: Where all this was read, as in a verdict.
    """

    presence: Statement
    series: Statement
    identity: Statement
    addressed: int
    named: Identity | None
    revoked: str | None
    names_tested: int
    places_tested: int
    cosine: float
    alignment: Alignment
    canvas: tuple[int, int]
    placement: Placement | None

    @property
    def log10_p(self) -> float:
        """log10 of the probability that any of the three would look at least as true as the best of them does."""
        best = min(self.presence.log10_p, self.series.log10_p, self.identity.log10_p)
        return min(0.0, best + math.log10(STATEMENTS))

    def to_json(self, scores: bool = False) -> dict:
        """The statements as `docs/verdict.md` describes them."""
        named = self.named if self.named and (self.identity.found or scores) else None
        return {
            "presence": self.presence.to_json(scores),
            "series": {
                **self.series.to_json(scores),
                "number": self.addressed if self.series.found or scores else None,
            },
            "identity": {
                **self.identity.to_json(scores),
                "number": named and named.number,
                "issuer": named and named.issuer,
                "issuer_revoked": named and self.revoked,
                "names_tested": self.names_tested,
            },
        }
