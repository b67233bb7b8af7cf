"""A pilot and recovered noise, each by its frequencies, the origin at the centre.

Positions are latent pixels from the centre, (x, y), of the picture `x` and of the canvas `y`; frequencies `kappa` are
cycles a pixel. With the pilot `P(y) = Re sum_k V(k) exp(2 pi i kappa y)` and the noise's transform
`F(nu) = sum_x n(x) exp(-2 pi i nu x)`, the noise's correlation with the pilot laid out by `y = L x + t` is

    S(L, t) = sum_x n(x) P(L x + t) = Re sum_k conj V(k) F(L^T kappa) exp(-2 pi i kappa t),

one transform of the noise for all `L`, sampled at `L^T kappa`, and one small transform over `k` for all `t`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from ...watermark.keys import Key
from ..geometry import Size

__all__ = ["PADDING", "Spectrum", "Template", "index", "length_of", "spectrum"]

PADDING = 4
"""Length of the transform over that of the noise: the nearest sample is then right to 1/8 of a cycle a picture."""


@dataclass(frozen=True, eq=False)
class Template:
    """A pilot on a canvas, as a rectangle of frequencies `0 <= k_x <= r, |k_y| <= r`, zero where it has none.

    Arguments:
        values: Coefficients V, complex, with shape (r + 1, 2 r + 1, channels).
        canvas: Height and width of the canvas in latent pixels.
        channels: Indices of the latent channels.
    """

    values: Tensor
    canvas: Size
    channels: tuple[int, ...]

    @classmethod
    def of(cls, pilot: Key, canvas: Size) -> Template:
        """A pilot's template on a canvas."""
        pattern = pilot.pattern.fitted(canvas)
        y, x = pattern.lattice.T
        r = int(np.abs(pattern.lattice).max())
        values = np.zeros((r + 1, 2 * r + 1, len(pattern.channels)), dtype=np.complex64)
        lifted = torch.view_as_complex(pattern.lift(pattern.restrict(pilot.direction)).contiguous()).numpy()
        turn = np.exp(1j * np.pi * (y * (canvas[0] - 1) / canvas[0] + x * (canvas[1] - 1) / canvas[1]))
        values[x, y + r] = (lifted * turn).T
        return cls(torch.from_numpy(values), canvas, pattern.channels)

    def to(self, device: torch.device) -> Template:
        """The same on a device."""
        return self if self.values.device == device else Template(self.values.to(device), self.canvas, self.channels)

    @property
    def radius(self) -> int:
        """Largest frequency r in either direction, cycles a side."""
        return len(self.values) - 1

    def within(self, radius: int) -> Template:
        """Its low frequencies."""
        return self if radius >= self.radius else within(self, radius)

    @cached_property
    def frequencies(self) -> Tensor:
        """kappa = (k_x / w, k_y / h) of each value, cycles a pixel, with shape ((r + 1) (2 r + 1), 2)."""
        r, (height, width) = self.radius, self.canvas
        x, y = torch.meshgrid(torch.arange(r + 1) / width, torch.arange(-r, r + 1) / height, indexing="ij")
        return torch.stack([x, y], dim=-1).reshape(-1, 2).to(self.values.device)

    @cached_property
    def used(self) -> Tensor:
        """1 where there is a value and 0 elsewhere, with shape ((r + 1) (2 r + 1),)."""
        return (self.values.abs().sum(-1) > 0).float().flatten()

    @cached_property
    def weights(self) -> Tensor:
        """Real and imaginary part of `sum_c F_c conj V_c` from those of F, with shape (frequencies, 2 channels, 2)."""
        return weights(self.values)

    @cached_property
    def symmetries(self) -> Tensor:
        """The turns and mirrors S of the canvas that take its frequencies to each other, with shape (8, 2, 2), or
        (4, 2, 2) where it is not square."""
        signs = torch.tensor([[x, y] for x in (1, -1) for y in (1, -1)], dtype=torch.long)
        straight = torch.diag_embed(signs)
        both = torch.cat([straight, straight.flip(2)]) if self.canvas[0] == self.canvas[1] else straight
        return both.to(self.values.device)

    @cached_property
    def symmetric(self) -> Tensor:
        """Weights of the pilots `V(S kappa)` side by side, for the real and for the imaginary part, with shape
        (2, frequencies, 2 channels, symmetries).

        One that is turned or mirrored by S, `y = S L x + t`, scores as `V(S kappa)` does with L at `S^T t`, for
        `F((S L)^T kappa) = F(L^T S^T kappa)`: what is sampled for one map serves all of them.
        """
        r = self.radius
        plane = torch.zeros(2 * r + 1, *self.values.shape[1:], dtype=self.values.dtype, device=self.values.device)
        plane[r:] = self.values
        plane = plane + plane.flip(0, 1).conj()
        x, y = torch.meshgrid(torch.arange(r + 1), torch.arange(-r, r + 1), indexing="ij")
        k = torch.stack([x, y], dim=-1).to(self.values.device)
        turned = [(k[..., None, :] * one).sum(-1) + r for one in self.symmetries]  # GPUs have no product of integers.
        used = self.used.reshape(r + 1, 2 * r + 1, 1)
        every = torch.stack([weights(plane[at[..., 0], at[..., 1]] * used) for at in turned], dim=-1)
        return every.movedim(2, 0).contiguous()

    @cached_property
    def dimension(self) -> int:
        """Real coordinates."""
        return 2 * int(self.used.sum()) * len(self.channels)

    @cached_property
    def length(self) -> float:
        """Euclidean norm of the values."""
        return float(self.values.abs().square().sum().sqrt())

    def waves(self, positions: Tensor, axis: int) -> Tensor:
        """`exp(-2 pi i kappa t)` along x (axis 0) or y (axis 1) for positions (T,), with shape (T, frequencies)."""
        r, n = self.radius, self.canvas[1 - axis]
        k = torch.arange(0 if axis == 0 else -r, r + 1, device=positions.device)
        angle = (-2 * math.pi / n) * positions[:, None] * k
        return torch.polar(torch.ones_like(angle), angle)


def weights(values: Tensor) -> Tensor:
    v = values.flatten(0, 1)
    real = torch.stack([v.real, v.imag], dim=-1).flatten(1)
    imaginary = torch.stack([-v.imag, v.real], dim=-1).flatten(1)
    return torch.stack([real, imaginary], dim=-1).contiguous()


@lru_cache(maxsize=64)
def within(template: Template, radius: int) -> Template:
    middle = slice(template.radius - radius, template.radius + radius + 1)
    return Template(template.values[: radius + 1, middle].contiguous(), template.canvas, template.channels)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """F on a grid of frequencies from -N/2 to N/2, the last of which, beyond the Nyquist, hold zeros.

    Arguments:
        rows: Real and imaginary part of each channel, with shape ((N + 1)^2, 2 channels).
        power: Sum of their squares, with shape ((N + 1)^2,).
        length: N.
    """

    rows: Tensor
    power: Tensor
    length: int


def index(frequencies: Tensor, maps: Tensor, length: int) -> Tensor:
    """Rows of a spectrum nearest to `L^T kappa`, with shape (n, G), for frequencies (n, 2) and maps (G, 2, 2)."""
    half = length // 2
    # Laid out so that one frequency of all maps lies together; what is beyond the Nyquist ends up in the zeros.
    x, y = (
        torch.addcmul(frequencies[:, :1] * maps[:, 0, i], frequencies[:, 1:], maps[:, 1, i])
        .mul_(length)
        .round_()
        .clamp_(-half, half)
        for i in (0, 1)
    )
    return y.add_(half).mul_(length + 1).add_(x).add_(half).to(torch.int32)


def spectrum(noise: Tensor, channels: Sequence[int], padding: int = PADDING) -> Spectrum:
    """The spectrum of noise (C, h, w)."""
    chosen = noise[list(channels)].float().permute(1, 2, 0)
    height, width = chosen.shape[:2]
    n = length_of((height, width), padding)
    y, x = (torch.fft.fftshift(turns(n, side, noise.device)) for side in (height, width))
    # Signs that alternate put the origin in the middle. One side after the other: most of what the second would
    # transform is padding.
    odd = sum(torch.meshgrid(*(torch.arange(side, device=noise.device) for side in (height, width)), indexing="ij")) % 2
    values = torch.fft.fft(chosen * (1 - 2 * odd)[..., None], n, dim=1) * x[:, None]
    values = torch.fft.fft(values, n, dim=0)
    rows = values.real.new_zeros(n + 1, n + 1, 2 * len(channels))
    inside = slice(1, n)
    complex_rows = torch.view_as_complex(rows.unflatten(2, (-1, 2)))
    torch.mul(values[inside, inside], y[inside, None, None], out=complex_rows[inside, inside])
    rows = rows.flatten(0, 1)
    return Spectrum(rows, rows.square().sum(1), n)


def length_of(size: Size, padding: int = PADDING) -> int:
    """N for noise of a size."""
    return padding * (-(-max(size) // 16) * 16)


def turns(n: int, side: int, device: torch.device) -> Tensor:
    """Factors that move a transform's origin to the centre of a side, with shape (N,)."""
    angle = math.pi * (side - 1) * torch.fft.fftfreq(n, device=device)
    return torch.polar(torch.ones_like(angle), angle)
