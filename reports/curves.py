"""How often p is at most x, of the images and of decoys, beside the uniform law, for which the answer is x.

The p-values of images are corrected for what was searched in each, so those of images that carry nothing lie below the
uniform law; those of decoys pay for nothing and lie on it, if chance does on this corpus what it should.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..audit.statistics import TAIL
from ..audit.summary import Tally

__all__ = ["Curves", "Share", "curves"]

STEP = 0.1
"""Decades between points."""


@dataclass(frozen=True)
class Share:
    """Decoys' p-values of at most 10^log10_p: how many, as a share, with its 95% interval over the decoys."""

    log10_p: int
    count: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Curves:
    """What is drawn.

    Attributes:
        left: log10 of the smallest p that is drawn, and of the smallest share.
        fpr: log10 of the false-positive rate.
        images: (log10 p, log10 of the share at most that), from the left on.
        beyond: Images whose p is smaller than all that is drawn.
        smallest: log10 of the smallest p; None without images.
        decoys: Their shares, decade by decade, from p = 0.1 on as far as there are any.
    """

    left: int
    fpr: float
    images: Sequence[tuple[float, float]]
    beyond: int
    smallest: float | None
    decoys: Sequence[Share]


def curves(tally: Tally) -> Curves:
    """The curves of what was added up."""
    p, fpr = np.sort(tally.p), math.log10(tally.fpr)
    tests = tally.decoys.images * len(tally.decoys.tail)
    reach = min(fpr, -math.log10(max(tests, len(p), 10)))
    left = max(-TAIL, math.floor(reach) - 1)
    grid = np.round(np.arange(left, STEP / 2, STEP), 6)
    counts = np.searchsorted(p, grid + 1e-9, side="right")
    images = [(float(x), round(math.log10(count / len(p)), 4)) for x, count in zip(grid, counts, strict=True) if count]
    decoys = []
    for decade in range(1, -left + 1) if tests else ():
        rate = tally.decoys.rate(decade)
        if rate["count"]:
            decoys.append(Share(-decade, rate["count"], rate["share"], rate["low"], rate["high"]))
    beyond = int(np.searchsorted(p, left, side="left"))
    return Curves(left, fpr, images, beyond, float(p[0]) if len(p) else None, decoys)
