"""Where a pilot leads to keys: one search for all of them, and a test of each where the pilot stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .geometry import Canvas
from .reading import KeyGroup, Standing, closest
from .registration.placement import Placement
from .registration.search import QUARTERS, THOROUGH, Effort, reads, search
from .statistic import cosine

__all__ = ["lead"]


def lead(noise: Tensor, group: KeyGroup, canvases: Sequence[Canvas]) -> tuple[list[list[Standing]], int]:
    """The best placement of each key among those that their pilot leads to, image by image, and how many these are.

    Arguments:
        noise: Prepared noise with shape (B, C, h, w).
        group: Keys of one pilot.
        canvases: Those that they may have been planted in.
    """
    size = tuple(noise.shape[-2:])
    paid = sum(reads(size, canvas.size, effort_of(canvas)) for canvas in canvases)
    return [[closest(row) for row in zip(*standings(one, group, canvases), strict=True)] for one in noise], paid


def standings(noise: Tensor, group: KeyGroup, canvases: Sequence[Canvas]) -> list[list[Standing]]:
    """All keys at each placement in one image's noise (C, h, w)."""
    pilot = group.keys[0].pilot
    return [
        keys_at(noise, group, place)
        for canvas in canvases
        for found in search(noise, pilot, canvas.size, effort_of(canvas))
        for place in found.placements
    ]


def keys_at(noise: Tensor, group: KeyGroup, placement: Placement) -> list[Standing]:
    part = group.fitted(placement.canvas)
    coordinates = placement.coordinates(noise, group.pattern.whole)
    cosines = cosine(part.pattern.project(coordinates[None])[0].numpy(), part.directions)
    alignment, dimension = placement.alignment, part.pattern.dimension
    return [
        Standing(float(value), alignment, placement.canvas, dimension, placement) for value in np.atleast_1d(cosines)
    ]


def effort_of(canvas: Canvas) -> Effort:
    """Every placement of the canvas, or quarter turns alone where no other angles are tried."""
    return QUARTERS if canvas.angle_step else THOROUGH
