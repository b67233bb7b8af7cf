"""Whether the picture that a name was found in is the one that was registered under it, or the name was transplanted.

Whoever recovers the noise of a marked image can sample it with another prompt, and whoever knows a model can press that
noise into another picture: the name is found, and no test of noise can tell. What the picture looked like can. After
the found one, y, was brought back to where the registered one, r, stood, whatever light, colours or codec did to it is
nearly a function of the colour alone, and of the distance from the middle, where light falls off. So one of two holds,
over cells i of 32x32 at p_i with their pixels k, f cubic in red, green and blue (and of y what is clipped), g linear:

    y_i ~ f(r_i) + |p_i|^2 g(r_i)
    r_i ~ mean over k of f(y_k) + |p_i|^2 g(y_i)    where pixels were clipped or turned to a few colours

    unlikeness = max(mean over blocks of 4x4 cells of (mean of what is left)^2 - kept - allowed, 0) / (variance + floor)

for the one that fits better, over all cells or the 60% that fit best. What codecs, noise and few colours leave differs
from cell to cell, and a block's mean keeps a sixteenth of its square, which is taken off (kept; half as much again for
neighbours that are not quite independent); what another prompt paints differs from block to block. Of a part, which
has few blocks, f is simpler or the blocks are smaller, lest there be enough parameters to explain anything. So
unlikeness is 0 for negatives, turned hues, vignettes, and where a third of the picture is covered; another picture,
even one of the same composition, has no such function; where it has blocks of one colour, and any function does, too
much is left of its cells. What left the picture (crops) is not compared, nor what is black
or white now and was not. What seems another picture is moved a little, to where it fits best (:mod:`.settling`).

How alike it must be depends on how well the name is read: whatever leaves the evidence leaves the colours, too. The
registered picture's unlikeness is at most .55 / -log10 p of the identity (:func:`least_alike`); a replay, which has all
the evidence of a picture that nothing was done to, can be .99 alike where the model is small. In a picture of few
colours what is a little less alike is not told.
"""

from __future__ import annotations

import math
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

__all__ = ["COMPARISON", "Likeness", "aligned", "is_registered", "least_alike", "likeness"]

COMPARISON = 3
"""Of which version the comparison is: with another, benchmarks ask anew."""

MOST, TIMES_EVIDENCE = 0.015, 0.55
"""Unlikeness that the registered picture has at most, and that times -log10 p of the identity (over the share of the
picture that is in view). `wmark bench transplants` says how often that errs."""

COMPARED = 256
LARGEST = 512
KEPT, ROUNDS = 0.6, 5
BLOCKS = (4, 3, 2, 1)
"""Cells a side."""

ALONE = 1.5 / BLOCKS[0] ** 2
"""Share of the squared error of cells by themselves that a block's mean keeps; neighbours are not quite independent."""

LINEAR, QUADRATIC = 4, 10
"""How many of the terms are 1 and the colours, and those with their squares and products."""

FLATTER = 0.25
"""Variance of the cells that fit, over that of all, against the same of what they are told by; below it they are flat
parts, a function of anything."""

UNEXPLAINED, PALE = 0.15, 0.002
"""Share of the variance of cells, and this much variance, that may be left for each by itself."""

FLOOR = 0.03
"""Variance of colours in [-1, 1] below which a picture is as good as flat."""

ROUNDING, DISPLACED = 5e-5, 0.25
"""Squared error of a block's colour, and pixels of 256 that count as none."""

FEW = 0.05
"""Share that a block's mean may keep of what rounding to few colours does to a pixel."""

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
        unsure: How far below the threshold that cannot be told, for the picture has few colours.
    """

    score: float | None
    compared: float
    threshold: float = 1 - MOST
    unsure: float = 0.0

    @property
    def same(self) -> bool | None:
        """Whether it is the registered picture; None if that cannot be told."""
        if self.score is None or self.threshold - self.unsure <= self.score < self.threshold:
            return None
        return self.score >= self.threshold


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
    threshold = least_alike(log10_p / max(LEAST, float(visible.mean())))
    return likeness(row.fingerprint, back, visible, threshold, rounding(image))


def least_alike(log10_p: float) -> float:
    """Likeness below which a picture is not the registered one, by the evidence that all of it would have."""
    return 1 - min(MOST, TIMES_EVIDENCE / max(1.0, -log10_p))


def rounding(image: Image.Image) -> float:
    """Squared error, in [-1, 1], of colours rounded to as many levels as a picture has in red, green and blue."""
    taken = (np.flatnonzero(channel.histogram()) / 127.5 for channel in image.convert("RGB").split())
    return float(sum((np.ptp(values) / max(1, len(values) - 1)) ** 2 / 12 for values in taken))


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


def likeness(
    print_: bytes, image: Image.Image, visible: np.ndarray, threshold: float = 1 - MOST, rounded: float = 0.0
) -> Likeness:
    """How alike a registered picture and an aligned one are.

    Arguments:
        print_: Fingerprint of the registered one.
        image: The found one, brought back, 256x256.
        visible: Which of its pixels are seen, boolean, with shape (256, 256).
        threshold: Score from which on it is the registered picture.
        rounded: Squared error of its colours, if there are few (:func:`rounding`).
    """
    registered, found = levels(print_) * 2 - 1, np.asarray(image, dtype=np.float64) / 127.5 - 1
    best = Likeness(None, 0.0, threshold)
    covered = visible & newly_extreme(registered, found)
    for seen in (visible & ~covered, visible) if covered.any() else (visible,):
        one = compared(registered, found, seen, threshold, rounded)
        best = one if best.score is None or (one.score or 0.0) > best.score else best
        if best.same:
            break
    return best


def compared(registered: np.ndarray, found: np.ndarray, seen: np.ndarray, threshold: float, rounded: float) -> Likeness:
    """How alike pictures (32, 32, 3) and (256, 256, 3) in [-1, 1] are, where this one is seen; else as above."""
    share_of = pooled(seen.astype(float)[..., None])[..., 0]
    cells = share_of > 0.5
    share = float(cells.mean())

    def means(values: np.ndarray) -> np.ndarray:
        return (pooled(values * seen[..., None]) / np.maximum(share_of, 1e-6)[..., None])[cells]

    y, r = means(found), registered[cells]
    if share < LEAST or min(spread(y), spread(r)) < FLAT or one_colour(y):
        return Likeness(None, share, threshold)
    where, distance = np.nonzero(cells), FROM_MIDDLE[cells]
    allowed = ROUNDING + float(displaced(registered)[cells].mean())
    clipped = np.concatenate([cubic(found), found > EXTREME, found < -EXTREME], axis=-1)
    terms, back = lit(cubic(r), r, distance), lit(means(clipped), y, distance)
    unlike = min(unlikeness(terms, y, where, allowed), unlikeness(back, r, where, allowed))
    if 1 - unlike < threshold:  # Or it stands a little off.
        unlike = min(unlike, *(unlikeness(terms, one, where, allowed) for one in settled(found, means, terms)))
    return Likeness(1 - unlike, share, threshold, FEW * rounded / (spread(y) + FLOOR))


def unlikeness(terms: np.ndarray, colours: np.ndarray, where: tuple[np.ndarray, np.ndarray], allowed: float) -> float:
    """What a sum of terms leaves of colours, where it fits best, block by block and against their variance.

    Arguments:
        terms: The terms of each cell, with shape (N, k): 1 and the colours that it is told by, their squares and
            products, and more; of few blocks the first of them tell as much, and more safely.
        colours: The colours, with shape (N, 3).
        where: Rows and columns of the cells, with shape (N,) each.
        allowed: Squared error that counts as none.
    """
    given, best = terms[:, 1:4], 1.0
    for some in (terms[:, :LINEAR], terms[:, :QUADRATIC], terms):
        kept = np.ones(len(colours), dtype=bool)
        for _ in range(ROUNDS):
            part = some[kept]
            normal = part.T @ part + RIDGE * np.eye(part.shape[1])
            left = colours - some @ np.linalg.solve(normal, part.T @ colours[kept])
            total, errors = spread(colours[kept]), (left**2).sum(1)
            alone = errors[kept].sum() / max(1, len(part) - part.shape[1])
            explained = alone <= UNEXPLAINED * (total + PALE) + 4 * allowed
            flat = total * spread(given) < FLATTER * spread(colours) * spread(given[kept])
            if explained and not flat:
                error = common(left[kept], (where[0][kept], where[1][kept]), part.shape[1])
                best = min(best, max(error - ALONE * float(alone) - allowed, 0.0) / (total + FLOOR))
            kept = errors <= np.quantile(errors, KEPT)
    return best


def common(left: np.ndarray, where: tuple[np.ndarray, np.ndarray], fitted: int) -> float:
    """Squared error (of three colours) that neighbours have in common, made good for so many parameters fitted.

    Arguments:
        left: What is left of the cells' colours, with shape (N, 3).
        where: Their rows and columns.
        fitted: How many parameters were fitted to each colour; blocks are smaller where there are few for them.
    """
    for side in BLOCKS:
        blocks = where[0] // side * SIDE + where[1] // side
        cells = np.bincount(blocks)
        count = int(np.count_nonzero(cells))
        if count >= 2 * fitted:
            sums = np.stack([np.bincount(blocks, channel) for channel in left.T])
            error = (sums**2).sum(0) @ (1 / np.maximum(1, cells)) / len(left)
            return float(error) * count / (count - fitted)
    return math.inf


def lit(terms: np.ndarray, r: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Terms (N, k), and those of a light that falls off with the squared distance (N,) from the middle."""
    return np.concatenate([terms, distance[:, None] * np.concatenate([np.ones((len(r), 1)), r], axis=1)], axis=1)


def displaced(registered: np.ndarray) -> np.ndarray:
    """Squared error that a displacement in any direction leaves in a cell, with shape (32, 32)."""
    down, right = np.gradient(registered, axis=(0, 1))
    return (DISPLACED * SIDE / COMPARED) ** 2 / 2 * (down**2 + right**2).sum(-1)


def cubic(colours: np.ndarray) -> np.ndarray:
    """1, colours (..., 3), their squares and products, and their cubes, with shape (..., 13)."""
    products = colours[..., [0, 0, 1]] * colours[..., [1, 2, 2]]
    return np.concatenate([np.ones_like(colours[..., :1]), colours, colours**2, products, colours**3], axis=-1)


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
