"""What a reader returns of a marked picture, without model and picture: noise that was warped, weakened and drowned.

    n = keep w + sqrt(1 - keep^2) e,      w = warp(planted noise, each frequency weakened as readers weaken it)

with white noise e, and a tenth of it where the picture has nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..attacks.warping import Warp, warp
from ..detectors.geometry import Size

__all__ = ["pasted", "simulated_reading"]

KNOTS = 3.0
CORRELATIONS = torch.tensor(
    [
        [0.46, 0.52, 0.56, 0.56, 0.55, 0.55, 0.56, 0.56, 0.56, 0.58, 0.60],
        [0.60, 0.68, 0.74, 0.75, 0.76, 0.77, 0.77, 0.77, 0.77, 0.77, 0.77],
        [0.77, 0.81, 0.84, 0.86, 0.87, 0.86, 0.85, 0.855, 0.86, 0.865, 0.87],
        [0.64, 0.72, 0.78, 0.78, 0.78, 0.62, 0.47, 0.34, 0.21, 0.22, 0.23],
    ]
)
"""Correlation of recovered with true noise by channel and frequency (every `KNOTS` cycles a side), of clean pictures of
the embedded model."""


def simulated_reading(planted: Tensor, moved: Warp, keep: float, seed: int, size: Size | None = None) -> Tensor:
    """A reading with shape (4, h, w).

    Arguments:
        planted: Initial noise with shape (4, H, W).
        moved: What happened to the picture.
        keep: Correlation with what there was to see, in [0, 1].
        seed: Seed of the noise that comes in.
        size: Height and width of the reading in latent pixels; None takes those of the noise.
    """
    grid = moved.grid(*(size or planted.shape[-2:]))
    seen = warp(weakened(planted)[None], grid, mode="bicubic")[0]
    white = torch.randn(seen.shape, generator=torch.Generator().manual_seed(seed))
    inside = (grid[0].abs() <= 1).all(-1)
    return torch.where(inside, keep * seen + (1 - keep**2) ** 0.5 * white, 0.1 * white)


def weakened(noise: Tensor) -> Tensor:
    """Noise (4, h, w) with each frequency as weak as readers return it, scaled back to variance 1."""
    height, width = noise.shape[-2:]
    y, x = (torch.fft.fftfreq(n) * n for n in (height, width))
    place = (torch.hypot(y[:, None], x) / KNOTS).clamp_max(CORRELATIONS.shape[1] - 1.001)
    low = place.long()
    rest = place - low
    gain = CORRELATIONS[:, low] * (1 - rest) + CORRELATIONS[:, low + 1] * rest
    seen = torch.fft.ifft2(torch.fft.fft2(noise.float()) * gain).real
    return seen / seen.std()


def pasted(readings: list[tuple[Tensor, tuple[int, int]]], size: Size, seed: int) -> Tensor:
    """The reading (4, h, w) of a larger picture of unmarked content, parts of which are others' readings.

    Arguments:
        readings: Each with its upper left corner (y, x) in latent pixels.
        size: Height and width in latent pixels.
        seed: Seed of the rest.
    """
    field = torch.randn(4, *size, generator=torch.Generator().manual_seed(seed))
    for reading, (top, left) in readings:
        height, width = reading.shape[1:]
        field[:, top : top + height, left : left + width] = reading
    return field
