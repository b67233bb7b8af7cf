"""Recovered noise -> where each key stands in it: at the place it was planted, or anywhere on a grid of alignments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..inversion.chain import Recovered
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import mask_coordinates
from .alignment import IDENTITY, Alignment, AlignmentSearch, Spectrum, padded_spectrum
from .geometry import Canvas, Size
from .registration.placement import Placement
from .statistic import cosine, hypercone_log10_p
from .verdict import Evidence

__all__ = [
    "KeyGroup",
    "Standing",
    "evidence",
    "group_by_pattern",
    "log10_p",
    "masked_as_planted",
    "prepare",
    "read_as_planted",
    "search",
]


SEARCHED = 16
"""Largest frequency in either direction, in cycles per side, by which a search finds alignments: higher ones fall off
with every degree and per cent that the grid stands beside the truth."""


class Standing(NamedTuple):
    """Where a key stands best in one reading of one image.

    Attributes:
        cosine: Cosine with its direction on the canvas; the largest without its sign.
        alignment: How the image was turned.
        canvas: Height and width in latent pixels of the noise that the key was planted in.
        dimension: That of the key space on the canvas.
        placement: Where a pilot led to it; None without one.
    """

    cosine: float
    alignment: Alignment
    canvas: Size
    dimension: int
    placement: Placement | None = None


class KeyGroup:
    """Keys of one and the same pattern, with what does not depend on the image computed once.

    What is computed is as secret as the keys: neither `repr` nor `vars` shows it.

    Arguments:
        keys: The keys, one at least.
        pattern: Their pattern, or what a canvas holds of it; the whole one if not given.
    """

    __slots__ = ("_directions", "_fitted", "_planted", "keys", "pattern")

    def __init__(self, keys: Iterable[Key], pattern: Pattern | None = None) -> None:
        self.keys = tuple(keys)
        self.pattern = pattern or self.keys[0].pattern
        self._directions: np.ndarray | None = None
        self._planted: Tensor | None = None
        self._fitted: dict[Pattern, KeyGroup] = {self.pattern: self}

    def __repr__(self) -> str:
        return f"KeyGroup({list(self.keys)})"

    @property
    def directions(self) -> np.ndarray:
        """Their directions in the pattern, with shape (K, d), float64."""
        if self._directions is None:
            self._directions = self.pattern.restrict(np.stack([key.direction for key in self.keys]))
        return self._directions

    @property
    def planted(self) -> Tensor:
        """Their masked coordinates, complex, with shape (K, channels, n)."""
        if self._planted is None:
            lifted = torch.stack([self.pattern.lift(direction) for direction in self.directions])
            self._planted = torch.view_as_complex(lifted.contiguous()).to(torch.complex64)
        return self._planted

    def fitted(self, canvas: Size) -> KeyGroup:
        """The same keys, as far as a canvas holds them."""
        pattern = self.pattern.fitted(canvas)
        if pattern not in self._fitted:
            self._fitted[pattern] = KeyGroup(self.keys, pattern)
        return self._fitted[pattern]


def group_by_pattern(keys: Iterable[Key]) -> list[KeyGroup]:
    """Keys by their patterns and pilots, in the order in which these come."""
    groups: dict[tuple[Pattern, Key | None], list[Key]] = {}
    for key in keys:
        groups.setdefault((key.pattern, key.pilot), []).append(key)
    return [KeyGroup(members) for members in groups.values()]


def prepare(recovered: Recovered, pattern: Pattern) -> Tensor:
    """What was recovered, (B, C, h, w), as a pattern is read from it."""
    return recovered.reading if pattern.searchable else recovered.noise.nan_to_num()


def read_as_planted(noise: Tensor, group: KeyGroup, canvas: Size, common: Tensor | None = None) -> list[list[Standing]]:
    """Each key where it was planted, image by image.

    Arguments:
        noise: Prepared noise with shape (B, C, h, w).
        group: The keys.
        canvas: Height and width in latent pixels of the noise that they were planted in.
        common: What unmarked readings have in common, with shape (K, C, h', w'); projected out.
    """
    group = group.fitted(canvas)
    pattern = group.pattern
    masked = masked_as_planted(noise, pattern, canvas, common)
    cosines = cosine(pattern.project(masked.double().cpu()).numpy(), group.directions)
    return [[Standing(float(value), IDENTITY, canvas, pattern.dimension) for value in row] for row in cosines]


def masked_as_planted(noise: Tensor, pattern: Pattern, canvas: Size, common: Tensor | None = None) -> Tensor:
    """Masked coordinates (B, channels, n, 2) where they were planted.

    Arguments:
        noise: Prepared noise with shape (B, C, h, w).
        pattern: Where to read, fitted to the canvas.
        canvas, common: As of :func:`read_as_planted`.
    """
    if canvas != tuple(noise.shape[-2:]):
        return torch.stack([aligned(one, pattern, canvas) for one in noise])
    masked = mask_coordinates(noise, pattern)
    if common is None:
        return masked
    return without(masked, mask_coordinates(resampled(common, canvas), pattern).to(masked))


def without(coordinates: Tensor, directions: Tensor) -> Tensor:
    """Masked coordinates (B, channels, n, 2) less what of them lies in the span of directions (K, channels, n, 2).

    Pictures resemble each other, and so do their readings: a key that stands close to what they share would be close to
    all of them. A few dimensions are given up, whatever the key, so the test stays exact.
    """
    basis, flat = torch.linalg.qr(directions.flatten(1).T).Q, coordinates.flatten(1)
    return (flat - (flat @ basis) @ basis.T).reshape(coordinates.shape)


def resampled(noise: Tensor, size: Size) -> Tensor:
    """Noise-like tensors (K, C, h, w) at another size, if they are of another."""
    return noise if noise.shape[-2:] == size else interpolate(noise, size, mode="bicubic", antialias=True)


def search(noise: Tensor, group: KeyGroup, canvases: Sequence[Canvas]) -> tuple[list[list[Standing]], int]:
    """The best alignment of each key over all canvases, image by image, and how many readings were allowed.

    Low frequencies find it; where a key stands best by them, all of its frequencies are read once more. Either reading
    may be of any alignment, so both are counted for each.

    Arguments:
        noise: Prepared noise with shape (B, C, h, w).
        group: The keys, of a searchable pattern.
        canvases: Those that they may have been planted in.
    """
    searches = [alignment_search(canvas) for canvas in canvases]
    spectra = [padded_spectrum(one, group.pattern) for one in noise]
    found, allowed = [], 0
    for grid in searches:
        low, whole = group.fitted(tuple(min(side, 2 * SEARCHED + 1) for side in grid.canvas)), group.fitted(grid.canvas)
        rows = grid.best(spectra, low.planted, low.pattern)
        found.append([[Standing(*best, grid.canvas, low.pattern.dimension) for best in row] for row in rows])
        allowed += grid.count * (2 if low.pattern.dimension < whole.pattern.dimension else 1)
    best = [[closest(standings) for standings in zip(*rows, strict=True)] for rows in zip(*found, strict=True)]
    return [
        [read_whole(spectrum, group, index, standing) for index, standing in enumerate(row)]
        for spectrum, row in zip(spectra, best, strict=True)
    ], allowed


def read_whole(spectrum: Spectrum, group: KeyGroup, index: int, standing: Standing) -> Standing:
    """A key of a group in all its frequencies, aligned as it stands in some; or as it stands, if that says more."""
    whole = group.fitted(standing.canvas)
    if whole.pattern.dimension == standing.dimension:
        return standing
    grid = alignment_search(Canvas(standing.canvas))
    masked = grid.coordinates(spectrum, whole.pattern, standing.alignment)
    value = cosine(whole.pattern.project(masked[None].double().cpu()).numpy(), whole.directions[index])
    return closest([standing, standing._replace(cosine=float(value[0]), dimension=whole.pattern.dimension)])


def closest(standings: Sequence[Standing]) -> Standing:
    """The one that chance explains least, whatever the dimensions: by its p-value, then by its cosine."""
    p = log10_p(standings)
    return standings[min(range(len(standings)), key=lambda i: (p[i], -abs(standings[i].cosine)))]


def log10_p(standings: Sequence[Standing]) -> np.ndarray:
    """log10 of the p-values of one sign, uncorrected: of a direction as close to the key or to its opposite."""
    cosines, dimensions = np.array([(s.cosine, s.dimension) for s in standings]).T
    return hypercone_log10_p(np.abs(cosines), dimensions)


def aligned(noise: Tensor, pattern: Pattern, canvas: Size, alignment: Alignment = IDENTITY) -> Tensor:
    """Masked coordinates (channels, n, 2) of one image's prepared noise (C, h, w) on a canvas, an alignment undone."""
    if alignment == IDENTITY and canvas == tuple(noise.shape[-2:]):
        return mask_coordinates(noise[None], pattern)[0]
    return alignment_search(Canvas(canvas)).coordinates(
        padded_spectrum(noise, pattern), pattern.fitted(canvas), alignment
    )


def evidence(noise: Tensor, key: Key, standing: Standing) -> Evidence:
    """What is seen of a key, and of its pilot, in one image's prepared noise (C, h, w)."""
    pattern, grid = key.pattern.fitted(standing.canvas), alignment_search(Canvas(standing.canvas))
    if standing.placement:
        coordinates = standing.placement.coordinates(noise, key.pattern)
        samples = torch.view_as_complex(coordinates).to(torch.complex64)
    else:
        coordinates = aligned(noise, key.pattern, standing.canvas, standing.alignment)
        samples = grid.samples(padded_spectrum(noise, pattern), pattern, standing.alignment)

    def surface(one: Key) -> np.ndarray:
        return grid.surface(samples, KeyGroup([one]).fitted(standing.canvas).planted[0], pattern).cpu().numpy()

    return Evidence(coordinates.double().cpu().numpy(), surface(key), surface(key.pilot) if key.pilot else None)


@lru_cache(maxsize=32)
def alignment_search(canvas: Canvas) -> AlignmentSearch:
    """The search over a canvas, its grid kept from image to image."""
    return AlignmentSearch(canvas.size, **({"angle_step": canvas.angle_step} if canvas.angle_step else {}))
