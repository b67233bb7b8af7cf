"""Where names are read in recovered noise: where they were planted, or where the pilot leads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...watermark.keys import Key
from ...watermark.patterns import Pattern
from ..geometry import Size
from ..plan import SIGNS
from ..reading import Standing, masked_as_planted
from ..registration.search import tested
from ..statistic import corrected, cosine, hypercone_log10_p

__all__ = ["Place", "place", "presence"]


@dataclass(frozen=True, eq=False)
class Place:
    """Coordinates read at one place, without any knowledge of addresses and names.

    Attributes:
        coordinates: All of the pattern's, with shape (d,), zeros where the canvas has none, float64.
        held: Which the canvas has, boolean, with shape (d,).
    """

    coordinates: np.ndarray
    held: np.ndarray

    @classmethod
    def of(cls, masked: Tensor, pattern: Pattern, canvas: Size) -> Place:
        """From masked coordinates (channels, n, 2) of a pattern on a canvas."""
        part = pattern.fitted(canvas)
        held = part.left if part.canvas else np.ones(pattern.dimension, dtype=bool)
        coordinates = np.zeros(pattern.dimension)
        coordinates[held] = part.project(masked[None].double().cpu()).numpy()[0]
        return cls(coordinates, held)

    def log10_p(self, vector: np.ndarray, block: np.ndarray | slice = slice(None)) -> tuple[float, float]:
        """Cosine with a vector that lives on some coordinates, and log10 p of one this close at its sign."""
        held = self.held[block]
        own = vector[held] / (np.linalg.norm(vector[held]) or 1.0)
        t = float(cosine(self.coordinates[block][held], own))
        return t, float(hypercone_log10_p(abs(t), int(held.sum())))


def place(noise: Tensor, pilot: Key, standing: Standing, common: Tensor | None = None) -> Place:
    """What is read where a pilot stands.

    Arguments:
        noise: Prepared noise of one image, with shape (C, h, w).
        pilot: The pilot.
        standing: Where it stands: as planted, or where it led to.
        common: What unmarked readings have in common, with shape (K, C, h', w'); projected out where it was planted.
    """
    pattern, canvas = pilot.pattern, standing.canvas
    if standing.placement:
        masked = standing.placement.coordinates(noise, pattern)
    else:
        (masked,) = masked_as_planted(noise[None], pattern.fitted(canvas), canvas, common)
    return Place.of(masked, pattern, canvas)


def presence(noise: Tensor, pilot: Key, standing: Standing, here: Place, canvases: int) -> float:
    """log10 p of a pilot, paid for both signs and for where it was looked for.

    Arguments:
        noise, pilot, standing: As of :func:`place`.
        here: What is read there.
        canvases: How many it was looked for in.
    """
    if standing.placement:
        return float(corrected(tested(noise, pilot, standing.placement), canvases))
    return float(corrected(here.log10_p(pilot.direction)[1], SIGNS))
