"""Initial noise -> the rotation, scale, mirror and shift at which a key's pattern stands.

A rotated, cropped or mirrored image inverts to noise that is rotated, cropped or mirrored, and zero-filled. Rotation
and scale act on the Fourier transform by a linear map of frequencies, so undoing them means sampling the transform of
the recovered noise at `nu = M k` instead of `k` (bilinear in an 8-fold zero-padded transform, origin at the centre).
A shift `tau` multiplies coefficient `k` by `exp(2 pi i k tau)`, so the correlation with a key at every shift of the
canvas is one inverse FFT:

    score(M, tau) = Re sum_k F(M k) conj V(k) exp(2 pi i k tau),      cos = score / |F(M .)|.

Turning the recovered noise rather than the key's pattern serves every key with one set of samples, and leaves the
corners that a rotation lost empty. Each aligned vector is computed without the key, so the hypercone test holds for
each of the `G` alignments tried, and a union bound pays for taking the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..watermark.keys import Key
from ..watermark.patterns import Pattern

__all__ = ["IDENTITY", "Alignment", "AlignmentSearch"]

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

    def to_json(self) -> dict:
        return {**asdict(self), "shift": list(self.shift)}


IDENTITY = Alignment()


@dataclass(frozen=True)
class AlignmentSearch:
    """A grid of alignments.

    Arguments:
        canvas: Height and width in latent pixels of the noise that keys were planted in.
        angle_step: Degrees between rotations.
        scale_step: Ratio between magnifications, minus one.
        scale_range: Smallest and largest magnification.
    """

    canvas: tuple[int, int] = (64, 64)
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

    def best(self, noise: Tensor, keys: Sequence[Key]) -> list[tuple[float, Alignment]]:
        """Best cosine of each key over the whole grid, and the alignment where it stands.

        Arguments:
            noise: Recovered noise of one image, with shape (C, h, w); its size may differ from the canvas.
            keys: Keys of one and the same pattern, a searchable one.
        """
        pattern = keys[0].pattern
        patterns = torch.stack([torch.view_as_complex(pattern.lift(key.direction)) for key in keys]).to(torch.complex64)
        best = [(-1.0, IDENTITY)] * len(keys)
        transform = self._padded_transform(noise, pattern)
        for start in range(0, len(self.placements), CHUNK):
            placements = self.placements[start : start + CHUNK]
            samples = self._samples(transform, noise.shape[-2:], pattern, placements)
            length = samples.abs().square().sum((1, 2)).sqrt().clamp_min(1e-30)
            for i, key_pattern in enumerate(patterns):
                scores = self._scores(samples, key_pattern, pattern).flatten(1) / length[:, None]
                peak = int(scores.argmax())
                where, shift = divmod(peak, scores.shape[1])
                cosine = float(scores[where, shift])
                if cosine > best[i][0]:
                    y, x = divmod(shift, self.canvas[1])
                    p = placements[where]
                    shift_yx = (y / self.canvas[0], x / self.canvas[1])
                    best[i] = (cosine, Alignment(p.angle, p.scale, p.mirror, shift_yx))
        return best

    def coordinates(self, noise: Tensor, pattern: Pattern, alignment: Alignment) -> Tensor:
        """Masked coordinates of noise (C, h, w) with an alignment undone, with shape (channels, n, 2)."""
        transform = self._padded_transform(noise, pattern)
        samples = self._samples(transform, noise.shape[-2:], pattern, [alignment])[0]
        phase = torch.from_numpy(pattern.lattice @ np.array(alignment.shift)) * 2 * math.pi
        return torch.view_as_real(samples * torch.polar(torch.ones_like(phase), phase))

    def surface(self, noise: Tensor, key: Key, alignment: Alignment) -> Tensor:
        """Cosine with a key at every shift (y, x) of the canvas, everything else undone, with shape `canvas`."""
        samples = self._samples(self._padded_transform(noise, key.pattern), noise.shape[-2:], key.pattern, [alignment])
        key_pattern = torch.view_as_complex(key.pattern.lift(key.direction)).to(samples.dtype)
        return self._scores(samples, key_pattern, key.pattern)[0] / samples.abs().square().sum().sqrt().clamp_min(1e-30)

    def _padded_transform(self, noise: Tensor, pattern: Pattern) -> Tensor:
        """Transform of zero-padded noise, origin at the pixel right of the centre, with shape (channels, N, N)."""
        height, width = noise.shape[-2:]
        n = PADDING * max(height, width)
        padded = torch.zeros(len(pattern.channels), n, n)
        padded[:, :height, :width] = noise[list(pattern.channels)].float().cpu()
        return torch.fft.fft2(torch.roll(padded, (-(height // 2), -(width // 2)), (1, 2)))

    def _samples(self, transform: Tensor, shape: Sequence[int], pattern: Pattern, placements) -> Tensor:
        """Coefficients at M k for each placement, (placements, channels, n), origin at the canvas' corner."""
        height, width = shape
        k = torch.from_numpy(pattern.lattice / np.array(self.canvas)).float()
        frequencies = k @ _frequency_maps(placements).transpose(1, 2)

        n = transform.shape[-1]
        position = frequencies * n
        corner = position.floor()
        (y, x), (v, u) = corner.long().unbind(-1), (position - corner).unbind(-1)
        flat = transform.flatten(1)

        def at(rows: Tensor, columns: Tensor) -> Tensor:
            return flat[:, (rows % n) * n + columns % n]

        values = (1 - v) * ((1 - u) * at(y, x) + u * at(y, x + 1)) + v * ((1 - u) * at(y + 1, x) + u * at(y + 1, x + 1))
        centre = torch.tensor([(height - 1) / 2 - height // 2, (width - 1) / 2 - width // 2])
        canvas_centre = (torch.tensor(self.canvas) - 1) / 2
        phase = 2 * math.pi * (frequencies @ centre - k @ canvas_centre)
        return (values * torch.polar(torch.ones_like(phase), phase)).transpose(0, 1)

    def _scores(self, samples: Tensor, key_pattern: Tensor, pattern: Pattern) -> Tensor:
        """Correlation with a key at every shift, with shape (placements, *canvas)."""
        height, width = self.canvas
        product = (samples * key_pattern.conj()).sum(1)
        y, x = torch.from_numpy(pattern.lattice.T.copy())
        spectrum = torch.zeros(len(product), height, width // 2 + 1, dtype=product.dtype)
        spectrum[:, y % height, x] = product
        axis = x == 0
        spectrum[:, -y[axis] % height, 0] = product[:, axis].conj()
        return torch.fft.irfft2(spectrum, s=self.canvas, norm="forward") / 2


def _frequency_maps(placements: Sequence[Alignment]) -> Tensor:
    """Matrices M on (y, x) frequencies, with shape (placements, 2, 2)."""
    angle = torch.tensor([math.radians(p.angle) for p in placements])
    scale = torch.tensor([p.scale for p in placements])
    flip = torch.tensor([-1.0 if p.mirror else 1.0 for p in placements])
    cos, sin = angle.cos() / scale, angle.sin() / scale
    return torch.stack([cos, -sin * flip, sin, cos * flip], dim=1).reshape(-1, 2, 2)
