"""Whether the picture that a name was found in is the one that was registered under it, or the name was transplanted.

Whoever recovers the noise of a marked image can sample it with another prompt, and whoever knows a model can press that
noise into another picture: the name is found, and no test of noise can tell. What the picture looked like can. After
the found one, y, was brought back to where the registered one, r, stood, whatever light, colours or codec did to it is
nearly a function of the colour alone:

    y_i ~ f(r_i)  over cells i of 32x32,  f cubic in red, green and blue, fitted to those cells that it fits best
    likeness = (var y - var(y - f(r))) / (var y + floor)  over all cells, or the 60% that fit best: what is higher

What seems another picture is moved a little first, to where it fits best (:mod:`.settling`).
So it is 1 for negatives, turned hues, thresholds, and where a third of the picture is covered; another picture, even
one of the same composition, has no such function. What left the picture (crops) is not compared, nor what is black or
white now and was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..images import to_image, to_tensor
from .likeness import SIDE, levels
from .settling import settled

if TYPE_CHECKING:
    from ..attacks.warping import Warp
    from .row import Row

__all__ = ["THRESHOLD", "Likeness", "aligned", "is_registered", "likeness"]

THRESHOLD = 0.93
"""Likeness below which a picture is not the registered one. `wmark bench likeness` says how often that errs."""

COMPARED = 256
LARGEST = 512
KEPT, ROUNDS = 0.6, 5
FLOOR = 5e-4
RIDGE = 1e-2
EXTREME = 0.95
LEAST = 0.1
"""Share of the cells without which nothing is told."""


@dataclass(frozen=True)
class Likeness:
    """How alike a found picture and the registered one are.

    Attributes:
        score: At most 1; None where there is nothing to tell by.
        compared: Share of the registered picture that was compared.
    """

    score: float | None
    compared: float

    @property
    def same(self) -> bool | None:
        """Whether it is the registered picture; None if that cannot be told."""
        return None if self.score is None else self.score >= THRESHOLD


def is_registered(row: Row, image: Image.Image, undoing: Warp | None = None) -> Likeness | None:
    """Compare a found picture with the one that was registered.

    Arguments:
        row: The row of the name that was found in it.
        image: The found picture.
        undoing: From positions in the marked picture to those in this one (`Placement.undoing`); None if it stands
            where it stood.

    Returns:
        How alike they are; None if the row has no fingerprint.
    """
    if row.fingerprint is None:
        return None
    return likeness(row.fingerprint, *aligned(image, undoing))


def aligned(image: Image.Image, undoing: Warp | None = None) -> tuple[Image.Image, np.ndarray]:
    """A found picture brought back to where the registered one stood, 256x256, and which pixels of it are seen.

    Arguments are those of :func:`is_registered`.
    """
    from ..attacks.warping import UNMOVED, warp

    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    grid = (undoing or UNMOVED).grid(COMPARED, COMPARED)
    back = warp(to_tensor(image)[None], grid, mode="bilinear")[0]
    return to_image(back), (grid[0].abs() <= 1).all(-1).numpy()


def likeness(print_: bytes, image: Image.Image, visible: np.ndarray) -> Likeness:
    """How alike a registered picture and an aligned one are.

    Arguments:
        print_: Fingerprint of the registered one.
        image: The found one, brought back, 256x256.
        visible: Which of its pixels are seen, boolean, with shape (256, 256).
    """
    registered = levels(print_) * 2 - 1
    found = np.asarray(image, dtype=np.float64) / 127.5 - 1
    covered = newly_extreme(registered, found)
    seen = pooled(visible.astype(float)[..., None])[..., 0] > 0.5
    cells = pooled((visible & ~covered).astype(float)[..., None])[..., 0]
    uncovered = cells > 0.5
    if uncovered.mean() < LEAST:  # Black and white all over, or next to nothing in view.
        uncovered, covered = seen, np.zeros_like(covered)
        cells = pooled(visible.astype(float)[..., None])[..., 0]
    share = float(uncovered.mean())
    weights = (visible & ~covered)[..., None]

    def colours(picture: np.ndarray) -> np.ndarray:
        return (pooled(picture * weights) / np.maximum(cells, 1e-6)[..., None])[uncovered]

    y, r = colours(found), registered[uncovered]
    if share < LEAST or min(spread(y), spread(r)) < FLOOR or one_colour(y):
        return Likeness(None, share)
    score = explained(r, y)
    if score < THRESHOLD:  # Or it stands a little off.
        score = max(score, *(explained(r, one) for one in settled(found, colours, cubic(r))))
    return Likeness(score, share)


def explained(r: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of colours (N, 3) that a function of other colours (N, 3) explains, where it fits best."""
    terms, kept, best = cubic(r), np.ones(len(r), dtype=bool), 0.0
    for _ in range(ROUNDS):
        part = terms[kept]
        normal = part.T @ part + RIDGE * np.eye(part.shape[1])
        errors = ((y - terms @ np.linalg.solve(normal, part.T @ y[kept])) ** 2).sum(1)
        total = spread(y[kept])
        best = max(best, float((total - errors[kept].mean()) / (total + FLOOR)))
        kept = errors <= np.quantile(errors, KEPT)
    return best


def cubic(r: np.ndarray) -> np.ndarray:
    """1, colours, their squares and products, and their cubes, with shape (N, 13)."""
    products = r[:, [0, 0, 1]] * r[:, [1, 2, 2]]
    return np.concatenate([np.ones((len(r), 1)), r, r**2, products, r**3], axis=1)


def newly_extreme(registered: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Which pixels (256, 256) are black or white in the found picture, and were not nearly so in the registered one."""
    extreme = (found > EXTREME).all(-1) | (found < -EXTREME).all(-1)
    was = np.abs(registered).min(-1) > EXTREME - 0.02
    wide = np.pad(was, 1)
    near = np.any([wide[i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3)], axis=0)
    return extreme & ~near.repeat(COMPARED // SIDE, 0).repeat(COMPARED // SIDE, 1)


def one_colour(y: np.ndarray) -> bool:
    """Whether all but a few cells ended as black, or all but a few as white."""
    return max((y > EXTREME).all(-1).mean(), (y < -EXTREME).all(-1).mean()) > 0.85


def spread(y: np.ndarray) -> float:
    return float(((y - y.mean(0)) ** 2).sum(1).mean())


def pooled(values: np.ndarray) -> np.ndarray:
    """Means over cells, from (256, 256, C) to (32, 32, C)."""
    step = COMPARED // SIDE
    return values.reshape(SIDE, step, SIDE, step, -1).mean((1, 3))
