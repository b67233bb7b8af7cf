"""Initial noise -> the rotation, scale, mirror and shift at which a key's pattern stands.

A rotated, cropped or mirrored image inverts to noise that is rotated, cropped or mirrored, and zero-filled. Rotation
and scale act on the Fourier transform by a linear map of frequencies, so undoing them means sampling the transform of
the recovered noise at `nu = M k` instead of `k` (bilinear in an 8-fold zero-padded transform, origin at the centre).
A shift `tau` multiplies coefficient `k` by `exp(2 pi i k tau)`, so the correlation with a key at every shift of the
canvas is one inverse FFT:

    score(M, tau) = Re sum_k F(M k) conj V(k) exp(2 pi i k tau),      cos = score / |F(M .)|.

Turning the recovered noise rather than the key's pattern serves every key with one set of samples, and leaves the
corners that a rotation lost empty. Each aligned vector is computed without the key, so the hypercone test holds for
each of the `G` alignments tried, and a union bound pays for taking the best. Frequencies that a canvas does not hold
are left out on it, of the keys as of the noise. The best is the largest |cos|: both signs of a key are evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..watermark.patterns import Pattern
from .geometry import Size

__all__ = ["IDENTITY", "Alignment", "AlignmentSearch", "Spectrum", "padded_spectrum"]

PADDING = 8
CHUNK = 1200


@dataclass(frozen=True)
class Alignment:
    """How the image was turned since the key was planted: mirrored, magnified, rotated, then shifted.

    Attributes:
        angle: Rotation in degrees, counter-clockwise.
        scale: Magnification of the content; 1.25 after a crop to 80% that was scaled back up.
        mirror: Whether left and right were swapped.
        shift: Displacement (y, x) of the pattern as a fraction of the canvas, in [0, 1).
    """

    angle: float = 0.0
    scale: float = 1.0
    mirror: bool = False
    shift: tuple[float, float] = (0.0, 0.0)


IDENTITY = Alignment()


class Spectrum(NamedTuple):
    """Transform of one image's noise, zero-padded, origin at the pixel right of the centre.

    Attributes:
        values: Coefficients of a pattern's channels, the first row and column once more at the end, with shape
            (N + 1, N + 1, channels): what is sampled together lies together.
        size: Height and width of the noise.
    """

    values: Tensor
    size: Size


def padded_spectrum(noise: Tensor, pattern: Pattern) -> Spectrum:
    """The spectrum of noise (C, h, w) that alignments are sampled from, whatever the canvas."""
    height, width = noise.shape[-2:]
    n = PADDING * max(height, width)
    padded = noise.new_zeros(len(pattern.channels), n, n)
    padded[:, :height, :width] = noise[list(pattern.channels)].float()
    values = torch.fft.fft2(torch.roll(padded, (-(height // 2), -(width // 2)), (1, 2)))
    values = torch.cat([values, values[:, :1]], dim=1)
    values = torch.cat([values, values[:, :, :1]], dim=2)
    return Spectrum(values.permute(1, 2, 0).contiguous(), (height, width))


@dataclass(frozen=True)
class AlignmentSearch:
    """A grid of alignments.

    Arguments:
        canvas: Height and width in latent pixels of the noise that keys were planted in.
        angle_step: Degrees between rotations.
        scale_step: Ratio between magnifications, minus one.
        scale_range: Smallest and largest magnification.
    """

    canvas: Size = (64, 64)
    angle_step: float = 1.8
    scale_step: float = 0.03
    scale_range: tuple[float, float] = (0.67, 1.45)

    @cached_property
    def placements(self) -> list[Alignment]:
        """Every mirror, scale and angle of the grid; the shifts come on top."""
        low, high = (round(math.log(bound) / math.log1p(self.scale_step)) for bound in self.scale_range)
        angles = [self.angle_step * i for i in range(round(360 / self.angle_step))]
        scales = [(1 + self.scale_step) ** i for i in range(low, high + 1)]
        return [Alignment(a, s, m) for m in (False, True) for s in scales for a in angles]

    @property
    def count(self) -> int:
        """Number G of alignments tried, shifts included: what the union bound pays."""
        return len(self.placements) * self.canvas[0] * self.canvas[1]

    def best(
        self, spectra: Sequence[Spectrum], planted: Tensor, pattern: Pattern
    ) -> list[list[tuple[float, Alignment]]]:
        """Cosine of each key where it is largest over the whole grid, whatever its sign, and that alignment, by image.

        Arguments:
            spectra: Recovered noise of images of one size, which may differ from the canvas.
            planted: Masked coordinates of the keys on this canvas, complex, with shape (K, channels, n).
            pattern: The pattern of all these keys, a searchable one, fitted to the canvas.
        """
        size, device = spectra[0].size, spectra[0].values.device
        keys = planted.to(device, torch.complex64).conj()
        best = [[(0.0, IDENTITY)] * len(keys) for _ in spectra]
        for start in range(0, len(self.placements), CHUNK):
            points = _points(self, size, pattern, start, device)
            for found, spectrum in zip(best, spectra, strict=True):
                samples = _samples(spectrum, points)
                length = samples.abs().square().sum((1, 2)).sqrt().clamp_min(1e-30)
                for i, key in enumerate(keys):
                    scores = self._scores(samples, key, pattern).flatten(1) / length[:, None]
                    least, most = (float(bound) for bound in scores.aminmax())
                    cosine = most if most >= -least else least
                    if abs(cosine) > abs(found[i][0]):
                        peak = int(scores.argmax() if cosine == most else scores.argmin())
                        where, shift = divmod(peak, scores.shape[1])
                        y, x = divmod(shift, self.canvas[1])
                        p = self.placements[start + where]
                        shift_yx = (y / self.canvas[0], x / self.canvas[1])
                        found[i] = (cosine, Alignment(p.angle, p.scale, p.mirror, shift_yx))
        return best

    def coordinates(self, spectrum: Spectrum, pattern: Pattern, alignment: Alignment) -> Tensor:
        """Masked coordinates (channels, n, 2) of an image's noise, an alignment undone; the pattern fits the canvas."""
        samples = self.samples(spectrum, pattern, alignment)
        phase = torch.from_numpy(pattern.lattice @ np.array(alignment.shift)) * 2 * math.pi
        return torch.view_as_real(samples * torch.polar(torch.ones_like(phase), phase).to(samples.device))

    def surface(self, samples: Tensor, planted: Tensor, pattern: Pattern) -> Tensor:
        """Cosine with a key at every shift (y, x) of the canvas, with shape `canvas`.

        Arguments:
            samples: Masked coordinates of noise, everything but a shift undone, complex, with shape (channels, n).
            planted: Those of the key on this canvas.
            pattern: Its pattern, fitted to the canvas.
        """
        key = planted.to(samples).conj()
        return self._scores(samples[None], key, pattern)[0] / samples.abs().square().sum().sqrt().clamp_min(1e-30)

    def samples(self, spectrum: Spectrum, pattern: Pattern, alignment: Alignment) -> Tensor:
        """Coefficients (channels, n) at M k for one alignment, its shift left as it is."""
        maps = _frequency_maps([alignment])
        return _samples(spectrum, _locate(pattern, self.canvas, spectrum.size, maps, spectrum.values.device))[0]

    def _scores(self, samples: Tensor, key: Tensor, pattern: Pattern) -> Tensor:
        """Correlation with a key, conjugated, at every shift, with shape (placements, *canvas)."""
        height, width = self.canvas
        product = (samples * key).sum(1)
        rows, columns, axis, mirrored = _half_plane(pattern, height, product.device)
        # Columns beyond the radius are empty: no transform along y is needed there, and the one along x supplies them.
        spectrum = product.new_zeros(len(product), height, int(columns.max()) + 1)
        spectrum[:, rows, columns] = product
        spectrum[:, mirrored, 0] = product[:, axis].conj()
        along_y = torch.fft.ifft(spectrum, dim=1, norm="forward")
        return torch.fft.irfft(along_y, n=width, dim=2, norm="forward") / 2


@lru_cache(maxsize=32)
def _half_plane(pattern: Pattern, height: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where a pattern's frequencies stand in a real transform: rows and columns of all; of those with x = 0, which the
    transform holds twice, their indices and the rows of their mirror images."""
    y, x = torch.from_numpy(pattern.lattice.T.copy())
    (axis,) = torch.nonzero(x == 0, as_tuple=True)
    return tuple(index.to(device) for index in (y % height, x, axis, -y[axis] % height))


class _Points(NamedTuple):
    """Where placements sample a padded transform: bilinear between four coefficients, then turned.

    Attributes:
        corner: Flat index of the first of the four, with shape (placements, n).
        rest: How far into the cell, (v, u), each with shape (placements, n).
        turn: Phase factor, with shape (placements, n).
    """

    corner: Tensor
    rest: tuple[Tensor, Tensor]
    turn: Tensor


@lru_cache(maxsize=32)
def _points(search: AlignmentSearch, size: Size, pattern: Pattern, start: int, device: torch.device) -> _Points:
    """The points of a chunk of a search's placements; they do not depend on the image, so they are kept."""
    maps = _frequency_maps(search.placements[start : start + CHUNK])
    return _locate(pattern, search.canvas, size, maps, device)


def _locate(pattern: Pattern, canvas: Size, size: Size, maps: Tensor, device: torch.device) -> _Points:
    """The points `M k` in the padded transform of noise of a size, for frequencies k of a canvas and maps M."""
    height, width = size
    k = torch.from_numpy(pattern.lattice / np.array(canvas)).float()
    frequencies = k @ maps.transpose(1, 2)

    n = PADDING * max(size)
    position = frequencies * n
    corner = position.floor()
    (y, x), (v, u) = corner.long().unbind(-1), (position - corner).unbind(-1)
    first = (y % n) * (n + 1) + x % n

    centre = torch.tensor([(height - 1) / 2 - height // 2, (width - 1) / 2 - width // 2])
    canvas_centre = (torch.tensor(canvas) - 1) / 2
    phase = 2 * math.pi * (frequencies @ centre - k @ canvas_centre)
    turn = torch.polar(torch.ones_like(phase), phase)
    return _Points(first.to(device), (v.to(device), u.to(device)), turn.to(device))


def _samples(spectrum: Spectrum, points: _Points) -> Tensor:
    """Coefficients at the points, (placements, channels, n), origin at the canvas' corner."""
    width = len(spectrum.values)
    rows = torch.view_as_real(spectrum.values).reshape(width**2, -1)
    first = points.corner.flatten()
    v, u = (part.reshape(-1, 1) for part in points.rest)
    # In real numbers: a complex product with a weight costs twice as much.
    a, b, c, d = (rows.index_select(0, first + step) for step in (0, 1, width, width + 1))
    above, below = a.mul_(1 - u).add_(b.mul_(u)), c.mul_(1 - u).add_(d.mul_(u))
    values = above.mul_(1 - v).add_(below.mul_(v))
    values = torch.view_as_complex(values.reshape(*points.corner.shape, -1, 2))
    return (values * points.turn[..., None]).transpose(1, 2).contiguous()


def _frequency_maps(placements: Sequence[Alignment]) -> Tensor:
    """Matrices M on (y, x) frequencies, with shape (placements, 2, 2)."""
    angle = torch.tensor([math.radians(p.angle) for p in placements])
    scale = torch.tensor([p.scale for p in placements])
    flip = torch.tensor([-1.0 if p.mirror else 1.0 for p in placements])
    cos, sin = angle.cos() / scale, angle.sin() / scale
    return torch.stack([cos, -sin * flip, sin, cos * flip], dim=1).reshape(-1, 2, 2)
