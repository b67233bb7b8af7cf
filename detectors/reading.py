"""Recovered noise -> where each key stands in it: at the place it was planted, or anywhere on a grid of alignments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..inversion.chain import Recovered
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import mask_coordinates
from .alignment import IDENTITY, Alignment, AlignmentSearch, padded_spectrum
from .geometry import Canvas, Size
from .statistic import cosine
from .verdict import Evidence

__all__ = ["KeyGroup", "Standing", "evidence", "group_by_pattern", "prepare", "read_as_planted", "search"]


class Standing(NamedTuple):
    """Where a key stands best in one reading of one image."""

    cosine: float
    alignment: Alignment
    canvas: Size


class KeyGroup:
    """Keys of one and the same pattern, with what does not depend on the image computed once.

    What is computed is as secret as the keys: neither `repr` nor `vars` shows it.

    Arguments:
        keys: The keys, one at least.
    """

    __slots__ = ("_directions", "_planted", "keys", "pattern")

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.pattern = self.keys[0].pattern
        self._directions: np.ndarray | None = None
        self._planted: Tensor | None = None

    def __repr__(self) -> str:
        return f"KeyGroup({list(self.keys)})"

    @property
    def directions(self) -> np.ndarray:
        """Their directions, with shape (K, d), float64."""
        if self._directions is None:
            self._directions = np.stack([key.direction for key in self.keys])
        return self._directions

    @property
    def planted(self) -> Tensor:
        """Their masked coordinates, complex, with shape (K, channels, n)."""
        if self._planted is None:
            lifted = torch.stack([self.pattern.lift(key.direction) for key in self.keys])
            self._planted = torch.view_as_complex(lifted.contiguous()).to(torch.complex64)
        return self._planted


def group_by_pattern(keys: Iterable[Key]) -> list[KeyGroup]:
    """Keys by their patterns, in the order in which these come."""
    groups: dict[Pattern, list[Key]] = {}
    for key in keys:
        groups.setdefault(key.pattern, []).append(key)
    return [KeyGroup(members) for members in groups.values()]


def prepare(recovered: Recovered, pattern: Pattern) -> Tensor:
    """What was recovered, (B, C, h, w), as a pattern is read from it."""
    return recovered.reading if pattern.searchable else recovered.noise.nan_to_num()


def read_as_planted(noise: Tensor, group: KeyGroup, canvas: Size, mean: Tensor | None = None) -> list[list[Standing]]:
    """Each key where it was planted, image by image.

    Arguments:
        noise: Prepared noise with shape (B, C, h, w).
        group: The keys.
        canvas: Height and width in latent pixels of the noise that they were planted in.
        mean: What unmarked readings have in common, with shape (C, h, w); projected out.
    """
    if canvas == tuple(noise.shape[-2:]):
        masked = mask_coordinates(noise, group.pattern)
        if mean is not None and mean.shape == noise.shape[1:]:
            masked = without(masked, mask_coordinates(mean[None].to(noise.device), group.pattern))
    else:
        masked = torch.stack([aligned(one, group.pattern, canvas) for one in noise])
    coordinates = group.pattern.project(masked.double().cpu()).numpy()
    cosines = cosine(coordinates, group.directions)
    return [[Standing(float(value), IDENTITY, canvas) for value in row] for row in cosines]


def without(coordinates: Tensor, direction: Tensor) -> Tensor:
    """Masked coordinates (B, channels, n, 2) less their part along a direction (1, channels, n, 2).

    Pictures resemble each other, and so do their readings: a key that stands close to what they share would be close to
    all of them. One dimension is given up, whatever the key, so the test stays exact.
    """
    along = (coordinates * direction).sum((1, 2, 3), keepdim=True)
    return coordinates - along * direction / direction.square().sum().clamp_min(1e-30)


def search(noise: Tensor, group: KeyGroup, canvases: Sequence[Canvas]) -> tuple[list[list[Standing]], int]:
    """The best alignment of each key over all canvases, image by image, and how many alignments were tried.

    Arguments:
        noise: Prepared noise with shape (B, C, h, w).
        group: The keys, of a searchable pattern.
        canvases: Those that they may have been planted in.
    """
    searches = [alignment_search(canvas) for canvas in canvases]
    spectra = [padded_spectrum(one, group.pattern) for one in noise]
    found = [
        [[Standing(*best, grid.canvas) for best in row] for row in grid.best(spectra, group.planted, group.pattern)]
        for grid in searches
    ]
    best = [
        [max(standings, key=lambda s: s.cosine) for standings in zip(*rows, strict=True)]
        for rows in zip(*found, strict=True)
    ]
    return best, sum(grid.count for grid in searches)


def aligned(noise: Tensor, pattern: Pattern, canvas: Size, alignment: Alignment = IDENTITY) -> Tensor:
    """Masked coordinates (channels, n, 2) of one image's prepared noise (C, h, w) on a canvas, an alignment undone."""
    if alignment == IDENTITY and canvas == tuple(noise.shape[-2:]):
        return mask_coordinates(noise[None], pattern)[0]
    return alignment_search(Canvas(canvas)).coordinates(noise, pattern, alignment)


def evidence(noise: Tensor, key: Key, standing: Standing) -> Evidence:
    """What is seen of a key in one image's prepared noise (C, h, w)."""
    pattern = key.pattern
    coordinates = aligned(noise, pattern, standing.canvas, standing.alignment)
    (planted,) = KeyGroup([key]).planted
    surface = alignment_search(Canvas(standing.canvas)).surface(noise, planted, pattern, standing.alignment)
    return Evidence(coordinates.double().cpu().numpy(), surface.cpu().numpy())


@lru_cache(maxsize=32)
def alignment_search(canvas: Canvas) -> AlignmentSearch:
    """The search over a canvas, its grid kept from image to image."""
    return AlignmentSearch(canvas.size, **({"angle_step": canvas.angle_step} if canvas.angle_step else {}))
