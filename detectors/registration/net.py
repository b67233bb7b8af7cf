"""What a search pays: the number of placements that it can tell apart.

A placement that was fitted to the pilot cannot be tested as if it had been chosen without it. So it is rounded to a net
of placements that was laid out before, and tested there. The net's steps, a third of a latent pixel at the rim of the
canvas in scale, angle and squeeze and a third of one in each shift, lose some 5% of the cosine; the union bound pays
for every point of the net within reach, and nothing else has to be argued: whatever led to a point, the test there is
one of those that are paid. Two nets share the bound: one of placements that are turned, scaled, mirrored and shifted
alone, which has fewer points, and the whole. Bends are not tested: they serve the keys, which know nothing of the pilot
and pay for the placements that they are read at alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ..geometry import Size
from .bend import Bend
from .maps import maps

__all__ = ["REACH", "Decomposed", "count", "decomposed", "rounded"]

RIM = 32.0
STEP = 1 / 3 / RIM
SHIFT = 1 / 3


@dataclass(frozen=True)
class Reach:
    """How far a search goes.

    Attributes:
        scales: Smallest and largest magnification.
        squeeze: Largest |b| and |g|; exp(2 |b|) is the ratio of the sides of what was square.
    """

    scales: tuple[float, float] = (0.4, 3.2)
    squeeze: float = 0.25


REACH = Reach()


@dataclass(frozen=True)
class Decomposed:
    """A linear map's parts, as :mod:`.maps` names them: angle a, log scale s, mirrored, squeeze (b, g)."""

    angle: float
    log_scale: float
    mirrored: bool
    squeeze: tuple[float, float]

    @property
    def turn(self) -> float:
        """Degrees, anticlockwise, from -180 to 180, that content was turned by after it was mirrored, if it was."""
        return math.degrees(-self.angle if self.mirrored else self.angle)

    @property
    def map(self) -> Tensor:
        """L, with shape (2, 2)."""
        parts = (torch.tensor([part]) for part in (self.angle, self.log_scale, self.mirrored, self.squeeze))
        return maps(*parts)[0]


def decomposed(linear: Tensor) -> Decomposed:
    """The parts of L (2, 2)."""
    m = linear.detach().cpu().double()
    mirrored = bool(torch.linalg.det(m) < 0)
    if mirrored:
        m = m @ torch.diag(torch.tensor([-1.0, 1.0], dtype=m.dtype))
    u, s, vh = torch.linalg.svd(m)
    turn = u @ vh
    log = u @ torch.diag(s.log()) @ u.T
    b, g = float(log[0, 0] - log[1, 1]) / 2, float(log[0, 1])
    return Decomposed(math.atan2(float(turn[1, 0]), float(turn[0, 0])), -float(log.trace()) / 2, mirrored, (b, g))


def rounded(bend: Bend, canvas: Size) -> Iterator[tuple[Bend, float]]:
    """Points of the nets next to an affine placement, each with the number of placements that its net counts, twice.

    None where it lies beyond the reach.
    """
    parts = decomposed(bend.linear)
    low, high = (math.log(bound) for bound in REACH.scales)
    if not low <= parts.log_scale <= high or max(map(abs, parts.squeeze)) > REACH.squeeze:
        return
    similar, every = count(bend.size, canvas)
    shift = (bend.shift / SHIFT).round() * SHIFT
    turns = round(2 * math.pi / STEP)
    angle = round(parts.angle * turns / (2 * math.pi)) * 2 * math.pi / turns
    scale = round(parts.log_scale / STEP) * STEP
    squeezes = {(0.0, 0.0): similar, tuple(round(part / STEP) * STEP for part in parts.squeeze): every}
    for squeeze, trials in squeezes.items():
        linear = Decomposed(angle, scale, parts.mirrored, squeeze).map.to(bend.linear)
        yield replace(bend, linear=linear, shift=shift, coefficients=None), 2.0 * trials


@lru_cache(maxsize=64)
def count(size: Size, canvas: Size) -> tuple[float, float]:
    """Points of the net of similar placements, and of the whole one, of noise of a size that a canvas shows in.

    Every shift that leaves some of the canvas in the noise counts.
    """
    low, high = (math.ceil(math.log(bound) / STEP) for bound in REACH.scales)
    shifts = sum(
        math.prod((math.hypot(*size) * math.exp(-s * STEP) + side) / SHIFT + 1 for side in canvas)
        for s in range(low, high + 1)
    )
    similar = 2.0 * round(2 * math.pi / STEP) * shifts
    return similar, similar * (2 * round(REACH.squeeze / STEP) + 1) ** 2
