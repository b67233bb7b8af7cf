"""A found picture moved a little, to where the registered one explains it best.

Verification knows where a picture stands to a few pixels, and the cells of a maze or of a starry sky have other colours
a few pixels on. The displacement is affine in the position p, six numbers theta: the best of some shifts first, then
Gauss and Newton's steps of

    min over theta and beta of |y + sum_b theta_b g_b - T beta|^2,    g_b = (grad y) d_b(p), in cells

with the terms T of which the colours y are a function.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["settled"]

SHIFTS = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Pixels, in both directions."""

ROUNDS = 3
STEP, FARTHEST = 2.0, 6.0
"""Pixels that one round, and all of them, may move a corner in each of the six ways."""

RIDGE = 1e-3


def settled(found: np.ndarray, cells: Callable[[np.ndarray], np.ndarray], terms: np.ndarray) -> Iterator[np.ndarray]:
    """Colours (N, 3) of the found picture's cells, moved ever closer.

    Arguments:
        found: The picture, with shape (H, W, 3).
        cells: From a picture to the colours (N, 3) of the cells that are compared.
        terms: What they may be a sum of, with shape (N, k).
    """
    basis, _ = np.linalg.qr(terms)

    def unexplained(colours: np.ndarray) -> np.ndarray:
        return colours - basis @ (basis.T @ colours)

    def error(theta: np.ndarray) -> float:
        colours = cells(moved(found, theta))
        return float(np.square(unexplained(colours)).sum() / max(1e-9, np.square(colours - colours.mean(0)).sum()))

    theta = min((np.array([x, y, 0, 0, 0, 0]) for x, y in itertools.product(SHIFTS, SHIFTS)), key=error)
    yield cells(moved(found, theta))
    x, y = positions(found)
    for _ in range(ROUNDS):
        picture = moved(found, theta)
        down, right = np.gradient(picture, axis=(0, 1))
        ways = [right, down, right * x, right * y, down * x, down * y]
        g = np.stack([unexplained(cells(way)).ravel() for way in ways], axis=1)
        normal = g.T @ g
        normal += RIDGE * (np.trace(normal) / len(normal) + 1e-9) * np.eye(len(normal))
        step = np.linalg.solve(normal, g.T @ unexplained(cells(picture)).ravel())
        theta = np.clip(theta - np.clip(step, -STEP, STEP), -FARTHEST, FARTHEST)
        yield cells(moved(found, theta))


def moved(picture: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) by (t0 + t2 x + t3 y, t1 + t4 x + t5 y) pixels, its edges repeated."""
    from scipy.ndimage import map_coordinates

    x, y = positions(picture)
    rows, columns = np.indices(picture.shape[:2], dtype=np.float64)
    rows += theta[1] + theta[4] * x[..., 0] + theta[5] * y[..., 0]
    columns += theta[0] + theta[2] * x[..., 0] + theta[3] * y[..., 0]
    channels = [map_coordinates(part, [rows, columns], order=1, mode="nearest") for part in np.moveaxis(picture, 2, 0)]
    return np.stack(channels, axis=-1)


def positions(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of its pixels in [-1, 1], with shapes (1, W, 1) and (H, 1, 1)."""
    height, width = picture.shape[:2]
    return np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
