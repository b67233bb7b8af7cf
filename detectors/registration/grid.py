"""The coarse grid: maps so close to each other that low frequencies of the pilot tell the next one from it.

Maps that differ by a quarter turn or a mirror image of the canvas share what they sample (:attr:`.Template.symmetric`),
so one of them is listed for all.

A map that is wrong by `d` at the rim of what the picture shows of the pilot, `e` latent pixels of the canvas from the
centre, turns the phases of frequency `k` there by `2 pi k d e / 64`. So what counts is the *reach* `r e`: a grid needs
steps of `STEP / (r e)` in scale, angle and squeeze, and sees the pilot with `r e / 32^2` of its deviations. A crop
shows less of the pilot, enlarged: `e = 32 / scale`, so its frequencies may go up with the scale for the same steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .maps import evenly, maps
from .template import Template, index

__all__ = ["COARSE", "HALF", "QUARTERS", "STEP", "Grid", "rows"]

STEP = 24.0
"""Steps times reach, in latent pixels: 1.5 radians from one map to the next where they differ most."""

HALF = 32.0
BANDS = (1.1, 1.5, 2.1, 3.1)
"""Scales up to which frequencies go equally far."""


@dataclass(frozen=True)
class Grid:
    """Maps that turn, scale and squeeze in all combinations, mirrored or not.

    Arguments:
        reach: Frequencies at scale 1, in cycles a side.
        scales: Smallest and largest magnification of the content.
        squeezes: (b, g) of each squeeze, see :mod:`.maps`.
        tilt: Largest angle to a quarter turn, in degrees; 45 stands for all angles.
        kept: Maps that are looked at again, the best.
    """

    reach: float
    scales: tuple[float, float]
    squeezes: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    tilt: float = 45.0
    kept: int = 150

    def bands(self, radius: int, quarters: int = 1) -> Iterator[tuple[int, Tensor]]:
        """Frequencies used, at most the radius, and the maps (G, 2, 2) that they are used with, one for all that the
        canvas' symmetries make of it.

        Arguments:
            radius: Largest frequency of the pilot.
            quarters: Quarter turns that are listed one by one: 2 where the canvas is not square.
        """
        size = STEP / (HALF * self.reach)
        scales = evenly(*(math.log(bound) for bound in self.scales), size)
        for low, high in itertools.pairwise((0.0, *BANDS)):
            band = [s for s in scales if low <= math.exp(s) < high]
            if band:
                yield min(radius, math.ceil(self.reach * max(1.0, high))), self._maps(band, size, quarters)

    def _maps(self, scales: Sequence[float], size: float, quarters: int) -> Tensor:
        tilt = math.radians(self.tilt)
        tilts = evenly(-tilt, tilt - (1e-6 if self.tilt == 45 else 0), math.pi / 2 / math.ceil(math.pi / 2 / size))
        angles = [turn * math.pi / 2 + angle for turn in range(quarters) for angle in tilts]
        squeeze, scale, angle = zip(*itertools.product(self.squeezes, scales, angles), strict=True)
        return maps(torch.tensor(angle), torch.tensor(scale), torch.zeros(len(angle)) > 0, torch.tensor(squeeze))


def ring(aspect: float, count: int) -> tuple[tuple[float, float], ...]:
    """Squeezes by one aspect in every direction."""
    b, angles = math.log(aspect) / 2, [2 * math.pi * i / count for i in range(count)]
    return tuple((b * math.cos(angle), b * math.sin(angle)) for angle in angles)


UPRIGHT = tuple((b, g) for b in (-0.2, -0.13, -0.065, 0.0, 0.065, 0.13, 0.2) for g in (-0.08, 0.0, 0.08) if b or g)

COARSE = (
    Grid(12.0, (0.5, 2.6), kept=90),
    Grid(11.0, (0.7, 1.5), UPRIGHT, 4.0, kept=45),
    Grid(7.0, (0.7, 1.5), ring(1.25, 6), kept=30),
)
"""Content that was turned, scaled and mirrored; that was stretched along its sides or sheared, upright or in quarter
turns; and, less closely, that was turned and stretched in any direction. Some 16,000 maps."""

QUARTERS = (Grid(10.0, (0.5, 2.0), tilt=0.0, kept=24),)
"""Quarter turns alone, for canvases of other shapes."""


@lru_cache(maxsize=16)
def rows(grid: Grid, template: Template, length: int, cells: int) -> list[tuple[Template, Tensor, list[Tensor]]]:
    """A grid's maps by bands: the low frequencies used, the maps, and rows (frequencies, G) of spectra of a length, as
    many at once as cells (:data:`~.scores.CELLS`) allow. The canvas' symmetries come on top.

    They do not depend on the noise, so they are kept.
    """
    found = []
    for radius, some in grid.bands(template.radius, 8 // len(template.symmetries)):
        low, some = template.within(radius), some.to(template.values.device)
        chunk = max(1, cells // (radius**2 * len(template.symmetries)))
        every = [index(low.frequencies, part, length) for part in some.split(chunk)]
        found.append((low, some, every))
    return found
