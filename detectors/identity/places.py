"""Where names are read in recovered noise: where they were planted, or where the pilot leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...watermark.keys import Key
from ...watermark.patterns import Pattern
from ..alignment import IDENTITY, Alignment
from ..geometry import Size
from ..leading import Led
from ..plan import SIGNS
from ..reading import masked_as_planted
from ..registration.placement import Placement
from ..statistic import corrected, cosine, hypercone_log10_p

__all__ = ["Place", "Places", "as_planted", "followed", "of_pilot"]


@dataclass(frozen=True, eq=False)
class Place:
    """Coordinates read at one place, without any knowledge of addresses and names.

    Attributes:
        coordinates: All of the pattern's, with shape (d,), zeros where the canvas has none, float64.
        held: Which the canvas has, boolean, with shape (d,).
        canvas: Height and width in latent pixels of the noise that was planted.
        alignment, placement: How the picture lies on it.
    """

    coordinates: np.ndarray
    held: np.ndarray
    canvas: Size
    alignment: Alignment = IDENTITY
    placement: Placement | None = None

    @classmethod
    def of(cls, masked: Tensor, pattern: Pattern, canvas: Size, *where) -> Place:
        """From masked coordinates (channels, n, 2) of a pattern on a canvas."""
        part = pattern.fitted(canvas)
        held = part.left if part.canvas else np.ones(pattern.dimension, dtype=bool)
        coordinates = np.zeros(pattern.dimension)
        coordinates[held] = part.project(masked[None].double().cpu()).numpy()[0]
        return cls(coordinates, held, canvas, *where)

    def cosine(self, vectors: np.ndarray, block: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, int]:
        """Cosines (...) with vectors (..., k) that live on k coordinates, and in how many dimensions that is."""
        held = self.held[block]
        own = vectors[..., held]
        norms = np.linalg.norm(own, axis=-1, keepdims=True)
        return cosine(self.coordinates[block][held], own / np.where(norms > 0, norms, 1.0)), int(held.sum())


@dataclass(frozen=True, eq=False)
class Places:
    """Where one image is read.

    Attributes:
        places: The places, one at least.
        presence: log10 p of the pilot, paid for both signs and for where it was looked for.
    """

    places: Sequence[Place]
    presence: float


def as_planted(noise: Tensor, pilot: Key, canvas: Size, common: Tensor | None = None) -> list[Places]:
    """Where it was planted, image by image; arguments as of :func:`..reading.read_as_planted`."""
    found = []
    for masked in masked_as_planted(noise, pilot.pattern.fitted(canvas), canvas, common):
        place = Place.of(masked, pilot.pattern, canvas)
        found.append(Places([place], float(corrected(of_pilot(place, pilot), SIGNS))))
    return found


def followed(led: Led, pattern: Pattern) -> Places:
    """Where the pilot leads in one image."""
    reads = [read for place in led.places for read in place]
    places = [Place.of(coordinates, pattern, one.canvas, one.alignment, one) for coordinates, one in reads]
    return Places(places, led.presence)


def of_pilot(place: Place, pilot: Key) -> float:
    """log10 p of the pilot at one place, one sign."""
    t, dimension = place.cosine(pilot.direction)
    return float(hypercone_log10_p(abs(t), dimension))
