"""Whether the picture that a name was found in is the one that was registered under it, or the name was transplanted.

Whoever recovers the noise of a marked image can sample it with another prompt, and whoever knows a model can press that
noise into another picture: the name is found, and no test of noise can tell. What the picture looked like can. After
the found one, y, was brought back to where the registered one, r, stood, whatever light, colours or codec did to it is
nearly a function of the colour alone, and of the distance from the middle, where light falls off:

    y_i ~ f(r_i) + |p_i|^2 g(r_i)  over cells i of 32x32 at p_i, f cubic in red, green and blue, g linear
    likeness = (var y - max(var(y - f - g) - allowed, 0)) / (var y + floor)

over all cells, or the 60% that fit best: what is higher. Allowed is what rounding and half a pixel of 256 may do. What
seems another picture is moved a little first, to where it fits best (:mod:`.settling`). So it is 1 for negatives,
turned hues, vignettes, and where a third of the picture is covered; another picture, even one of the same composition,
has no such function. What left the picture (crops) is not compared, nor what is black or white now and was not.

How alike it must be depends on how well the name is read (:func:`least_alike`): what leaves nearly all of the evidence
leaves the colours, and only what leaves little of it may have turned them to a few. A replay of a small model's noise
can be .99 alike, with the evidence of an undamaged picture.
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

__all__ = ["STRICTER", "THRESHOLD", "Likeness", "aligned", "is_registered", "least_alike", "likeness"]

THRESHOLD = 0.93
"""Likeness below which a picture is not the registered one, however little of the name is left."""

STRICTER = ((-450.0, 0.992), (-150.0, 0.975))
"""log10 p of the identity, divided by the share of the picture that is in view, and the threshold from there down.
`wmark bench transplants` says how often that errs."""

COMPARED = 256
LARGEST = 512
KEPT, ROUNDS = 0.6, 5
FLOOR = 5e-5
ROUNDING, DISPLACED = 1e-4, 0.5
"""Squared error of a colour, in units of [-1, 1], and pixels of 256 that count as none."""

RIDGE = 1e-2
FLAT = 5e-4
"""Variance of colours below which there is nothing to tell by."""

EXTREME = 0.95
LEAST = 0.1
"""Share of the cells without which nothing is told."""

FROM_MIDDLE = np.square(np.stack(np.meshgrid(*2 * [(np.arange(SIDE) + 0.5) * 2 / SIDE - 1]), axis=-1)).sum(-1)
"""Squared distances of cells from the middle, in half sides."""


@dataclass(frozen=True)
class Likeness:
    """How alike a found picture and the registered one are.

    Attributes:
        score: At most 1; None where there is nothing to tell by.
        compared: Share of the registered picture that was compared.
        threshold: Score from which on it is the registered picture.
    """

    score: float | None
    compared: float
    threshold: float = THRESHOLD

    @property
    def same(self) -> bool | None:
        """Whether it is the registered picture; None if that cannot be told."""
        return None if self.score is None else self.score >= self.threshold


def is_registered(row: Row, image: Image.Image, undoing: Warp | None = None, log10_p: float = 0.0) -> Likeness | None:
    """Compare a found picture with the one that was registered.

    Arguments:
        row: The row of the name that was found in it.
        image: The found picture.
        undoing: From positions in the marked picture to those in this one (`Placement.undoing`); None if it stands
            where it stood.
        log10_p: Evidence of the identity; 0 asks for no more likeness than where next to none is left.

    Returns:
        How alike they are; None if the row has no fingerprint.
    """
    if row.fingerprint is None:
        return None
    back, visible = aligned(image, undoing)
    return likeness(row.fingerprint, back, visible, least_alike(log10_p / max(LEAST, visible.mean())))


def least_alike(log10_p: float) -> float:
    """Likeness below which a picture is not the registered one, by the evidence that all of it would have."""
    return next((threshold for level, threshold in STRICTER if log10_p <= level), THRESHOLD)


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


def likeness(print_: bytes, image: Image.Image, visible: np.ndarray, threshold: float = THRESHOLD) -> Likeness:
    """How alike a registered picture and an aligned one are.

    Arguments:
        print_: Fingerprint of the registered one.
        image: The found one, brought back, 256x256.
        visible: Which of its pixels are seen, boolean, with shape (256, 256).
        threshold: Score from which on it is the registered picture.
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
    if share < LEAST or min(spread(y), spread(r)) < FLAT or one_colour(y):
        return Likeness(None, share, threshold)
    allowed = ROUNDING + displaced(registered)[uncovered].mean()
    terms = lit(cubic(r), r, FROM_MIDDLE[uncovered])
    score = explained(terms, y, allowed)
    if score < threshold:  # Or it stands a little off.
        score = max(score, *(explained(terms, one, allowed) for one in settled(found, colours, terms)))
    return Likeness(score, share, threshold)


def explained(terms: np.ndarray, y: np.ndarray, allowed: float) -> float:
    """Share of the variance of colours (N, 3) that a sum of terms (N, k) explains, where it fits best.

    Arguments:
        terms: The terms.
        y: The colours.
        allowed: Variance that need not be explained.
    """
    kept, best = np.ones(len(y), dtype=bool), 0.0
    for _ in range(ROUNDS):
        part = terms[kept]
        normal = part.T @ part + RIDGE * np.eye(part.shape[1])
        errors = ((y - terms @ np.linalg.solve(normal, part.T @ y[kept])) ** 2).sum(1)
        total = spread(y[kept])
        best = max(best, float((total - max(errors[kept].mean() - allowed, 0)) / (total + FLOOR)))
        kept = errors <= np.quantile(errors, KEPT)
    return best


def lit(terms: np.ndarray, r: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Terms (N, k), and those of a light that falls off with the squared distance (N,) from the middle."""
    return np.concatenate([terms, distance[:, None] * np.concatenate([np.ones((len(r), 1)), r], axis=1)], axis=1)


def displaced(registered: np.ndarray) -> np.ndarray:
    """Squared error that a displacement in any direction leaves in a cell, with shape (32, 32)."""
    down, right = np.gradient(registered, axis=(0, 1))
    return (DISPLACED * SIDE / COMPARED) ** 2 / 2 * (down**2 + right**2).sum(-1)


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
