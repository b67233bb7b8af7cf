"""Geometric damage as a value: where each point of the damaged picture comes from.

    p' = f(p),    p, p' in [-1, 1]²,  (x, y) with x to the right and y down, the edges of the picture at -1 and 1

`f` takes positions in the output to positions in the input, as `grid_sample` wants them. It knows nothing of pixels, so
that one and the same map bends a picture of 512x512 and the noise of 64x64 behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..images import to_image, to_tensor

__all__ = ["UNMOVED", "Warp", "affine", "displaced", "rotated_by", "warp", "warped"]

BLACK = -1.0


@dataclass(frozen=True)
class Warp:
    """Where each point of the output comes from.

    Arguments:
        source: From positions (..., 2) in the output to positions (..., 2) in the input.
    """

    source: Callable[[Tensor], Tensor]

    def __call__(self, positions: Tensor) -> Tensor:
        return self.source(positions)

    def then(self, other: Warp) -> Warp:
        """This one first, the other on its result."""
        return Warp(lambda positions: self.source(other.source(positions)))

    def grid(self, height: int, width: int, device: torch.device | str | None = None, *, every: int = 1) -> Tensor:
        """Where each pixel of an output of a size comes from, with shape (1, height, width, 2); see :func:`warp`.

        Arguments:
            height, width: The size in pixels.
            device: Where it is needed.
            every: Pixels from one that is computed to the next; those between are interpolated, as smooth maps allow.
        """
        size = height, width
        counts = [max(2, n // every) for n in size] if every > 1 else size
        y, x = (
            (torch.arange(count, device=device) * ((n - 1) / max(1, count - 1)) + 0.5) * (2 / n) - 1
            for n, count in zip(size, counts, strict=True)
        )
        y, x = torch.meshgrid(y, x, indexing="ij")
        grid = self.source(torch.stack([x, y], dim=-1))[None]
        if every == 1:
            return grid
        return functional.interpolate(grid.movedim(3, 1), size, mode="bilinear", align_corners=True).movedim(1, 3)


UNMOVED = Warp(lambda positions: positions)


def warp(values: Tensor, grid: Tensor, *, fill: float = 0.0, mode: str = "bilinear") -> Tensor:
    """Pictures, latents or noise bent by a grid.

    Arguments:
        values: With shape (B, C, H, W).
        grid: Of :meth:`Warp.grid`, with shape (B, h, w, 2), or (1, h, w, 2) for all.
        fill: What is beyond the edges: 0 of noise, -1 (black) of pictures in [-1, 1].
        mode: `bilinear`, `bicubic` or `nearest`.

    Returns:
        With shape (B, C, h, w).
    """
    grid = grid.expand(len(values), -1, -1, -1)
    return functional.grid_sample(values - fill, grid, mode=mode, padding_mode="zeros", align_corners=False) + fill


def warped(image: Image.Image, moved: Warp) -> Image.Image:
    """An image bent on its own canvas, bicubic, black beyond its edges."""
    grid = moved.grid(image.height, image.width)
    return to_image(warp(to_tensor(image)[None], grid, fill=BLACK, mode="bicubic")[0])


def affine(matrix: Sequence[Sequence[float]], shift: Sequence[float] = (0, 0)) -> Warp:
    """`p -> matrix p + shift`."""
    m, s = torch.tensor(matrix, dtype=torch.float32), torch.tensor(shift, dtype=torch.float32)
    return Warp(lambda positions: positions @ m.T.to(positions.device) + s.to(positions.device))


def rotated_by(degrees: float, size: tuple[int, int], zoom: float = 1) -> Warp:
    """The picture turned anticlockwise about its centre on a canvas of (H, W) pixels, and enlarged by a factor."""
    height, width = size
    c, s = math.cos(math.radians(degrees)) / zoom, math.sin(math.radians(degrees)) / zoom
    return affine([[c, -s * height / width], [s * width / height, c]])


def displaced(field: np.ndarray, size: tuple[int, int]) -> Warp:
    """Each point moved by a smooth field.

    Arguments:
        field: Displacements (x, y) in pixels on a coarse grid over the picture, with shape (2, rows, columns).
        size: Height and width (H, W) in pixels.
    """
    height, width = size
    scale = np.array([2 / width, 2 / height]).reshape(2, 1, 1)
    coarse = torch.from_numpy((field * scale).astype(np.float32))[None]

    def source(positions: Tensor) -> Tensor:
        flat = positions.reshape(1, 1, -1, 2)
        moved = functional.grid_sample(
            coarse.to(positions.device), flat, mode="bicubic", padding_mode="border", align_corners=True
        )
        return positions + moved[0, :, 0].T.reshape(positions.shape)

    return Warp(source)
