"""The coarse grid: maps so close to each other that low frequencies of the pilot tell the next one from it.

A map that is wrong by `d` at the rim of what the picture shows of the pilot, `e` latent pixels of the canvas from the
centre, turns the phases of frequency `k` there by `2 pi k d e / 64`. So what counts is the *reach* `r e`: a grid needs
steps of `STEP / (r e)` in scale, angle and squeeze, and sees the pilot with `r e / 32^2` of its deviations. A crop
shows less of the pilot, enlarged: `e = 32 / scale`, so its frequencies may go up as far as the scale for the same steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..geometry import Size
from .maps import evenly, maps
from .template import Template, index

__all__ = ["COARSE", "Grid", "rows", "step"]

STEP = 24.0
"""Steps times reach, in latent pixels: 1.5 radians from one map to the next where they differ most."""

HALF = 32.0
BANDS = (1.1, 1.5, 2.1, 3.1)
"""Scales up to which frequencies go equally far."""


def step(reach: float) -> float:
    """The step in scale, angle and squeeze at a reach in cycles a canvas, e = 32."""
    return STEP / (HALF * reach)


@dataclass(frozen=True)
class Grid:
    """Mirrored and not, all angles, scales, and squeezes.

    Arguments:
        reach: Frequencies at scale 1, in cycles a side.
        scales: Smallest and largest magnification of the content.
        aspect: Largest over smallest magnification of squeezed content.
        squeezes: Directions in which it is squeezed; none leaves it as it is.
    """

    reach: float
    scales: tuple[float, float]
    aspect: float = 1.0
    squeezes: int = 0

    def bands(self, radius: int) -> Iterator[tuple[int, Tensor]]:
        """Frequencies used, at most the radius, and the maps (G, 2, 2) that they are used with."""
        size = step(self.reach)
        scales = evenly(*(math.log(bound) for bound in self.scales), size)
        for low, high in itertools.pairwise((0.0, *BANDS)):
            band = [s for s in scales if low <= math.exp(s) < high]
            if band:
                r = min(radius, math.ceil(self.reach * max(1.0, high)))
                yield r, self._maps(band, size)

    def _maps(self, scales: Sequence[float], size: float) -> Tensor:
        turns = math.ceil(2 * math.pi / size)
        angles = [2 * math.pi * i / turns for i in range(turns)]
        every = itertools.product((False, True), self._squeezes(), scales, angles)
        mirrored, squeeze, scale, angle = zip(*every, strict=True)
        return maps(torch.tensor(angle), torch.tensor(scale), torch.tensor(mirrored), torch.tensor(squeeze))

    def _squeezes(self) -> list[tuple[float, float]]:
        """None, or a ring of them at the logarithm of half the aspect, in every direction."""
        if not self.squeezes:
            return [(0.0, 0.0)]
        b, angles = math.log(self.aspect) / 2, [2 * math.pi * i / self.squeezes for i in range(self.squeezes)]
        return [(b * math.cos(angle), b * math.sin(angle)) for angle in angles]


COARSE = (Grid(10.0, (0.5, 2.7)), Grid(9.0, (0.7, 1.5), 1.25, 8))
"""Content that was turned, scaled and mirrored; and, less closely, content that was stretched or sheared as well."""


@lru_cache(maxsize=16)
def rows(grid: Grid, template: Template, length: int, chunk: int) -> list[tuple[Template, Tensor, list[Tensor]]]:
    """A grid's maps by bands: the low frequencies used, the maps, and rows (frequencies, G) of spectra of a length.

    They do not depend on the noise, so they are kept.
    """
    found = []
    for radius, some in grid.bands(template.radius):
        low = template.within(radius)
        every = [index(low.frequencies, part, length) for part in some.split(chunk)]
        found.append((low, some, every))
    return found
