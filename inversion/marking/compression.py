"""JPEG as a function that has a gradient: what it does to a change, it does to the change's gradient.

Blocks of 8x8 pixels, the discrete cosine transform, the standard tables at a quality, and rounding that is replaced by
`round(q) + (q - round(q))^3` (Shin and Song, 2017): coefficients that JPEG rounds to 0 hardly count. Chroma is halved.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

__all__ = ["soft_jpeg"]

LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip
"""Annex K of the standard (ITU-T T.81), row by row."""

TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def soft_jpeg(image: Tensor, quality: int) -> Tensor:
    """What JPEG makes of pictures (B, 3, H, W) in [-1, 1], of the same shape; differentiable.

    Arguments:
        image: The pictures.
        quality: From 1 to 100.
    """
    height, width = image.shape[-2:]
    levels = (pad(image, (0, -width % 16, 0, -height % 16), mode="replicate") + 1) * 127.5
    matrix = image.new_tensor(TO_YCBCR)
    colours = torch.einsum("ij,bjhw->bihw", matrix, levels)
    luma = _quantised(colours[:, :1] - 128, _table(LUMA, quality)) + 128
    chroma = _quantised(avg_pool2d(colours[:, 1:], 2), _table(CHROMA, quality))
    chroma = interpolate(chroma, scale_factor=2, mode="bilinear")
    back = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(matrix), torch.cat([luma, chroma], dim=1))
    return (back / 127.5 - 1).clamp(-1, 1)[..., :height, :width]


def _quantised(channels: Tensor, table: Tensor) -> Tensor:
    basis, table = _basis().to(channels), table.to(channels)
    batch, depth, height, width = channels.shape
    blocks = channels.reshape(batch, depth, height // 8, 8, width // 8, 8)
    scaled = torch.einsum("ui,bcyixj,vj->bcyuxv", basis, blocks, basis) / table[:, None, :]
    whole = scaled.detach().round()
    soft = (whole + (scaled - whole) ** 3) * table[:, None, :]
    return torch.einsum("ui,bcyuxv,vj->bcyixj", basis, soft, basis).reshape(channels.shape)


@lru_cache(maxsize=1)
def _basis() -> Tensor:
    """The orthonormal discrete cosine transform of 8 numbers."""
    k = torch.arange(8, dtype=torch.float64)
    rows = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows.float()


def _table(values: tuple[int, ...], quality: int) -> Tensor:
    """A table at a quality, with shape (8, 8), as libjpeg scales it."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(values).reshape(8, 8) * scale + 50) / 100).floor().clamp(1, 255)
