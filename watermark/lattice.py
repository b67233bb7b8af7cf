"""Integer frequencies (k_y, k_x), in cycles per side, and those that a canvas holds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["Size", "below_nyquist", "half_plane"]

Size = tuple[int, int]
"""Height and width."""


@lru_cache(maxsize=64)
def half_plane(radius: int, corners: bool, canvas: Size | None) -> np.ndarray:
    """Integer points (y, x) one of each pair (k, -k), by x and then by y; read-only.

    Arguments:
        radius: They have `0 < y^2 + x^2 <= radius^2`, or, with corners, `0 < max(|y|, |x|) <= radius`.
        corners: Which of both.
        canvas: Height and width below whose Nyquist they stand; None for all of them.
    """
    x, y = np.mgrid[0 : radius + 1, -radius : radius + 1]
    inside = ((x > 0) | (y > 0)) & (corners | (x * x + y * y <= radius * radius))
    points = np.stack([y[inside], x[inside]], axis=-1)
    points = points[below_nyquist(points, canvas)]
    points.flags.writeable = False
    return points


def below_nyquist(points: np.ndarray, canvas: Size | None) -> np.ndarray:
    """Which frequencies (n, 2) a canvas of (height, width) holds, boolean, with shape (n,); None holds all."""
    return np.ones(len(points), dtype=bool) if canvas is None else (2 * np.abs(points) < canvas).all(axis=-1)
