"""What a mark does to pictures: how alike they get, and what they share.

A *twin* has the same prompt and the same white noise, and no mark. Pictures that share a direction are compared with
each other, pair by pair; and what a direction leaves in all of them shows in the mean of `d_i = picture_i - twin_i`,
which chance makes `sqrt(var(d) / n)` large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

__all__ = ["Trace", "correlation", "likeness", "trace"]

BLUR = 4.0
"""Standard deviation in pixels of the blur that a high-pass takes off."""


def unit(picture: Image.Image) -> np.ndarray:
    """Pixels in [0, 1], with shape (H, W, 3)."""
    return np.asarray(picture, dtype=np.float32) / 255


def high_pass(picture: Image.Image) -> np.ndarray:
    return unit(picture) - unit(picture.filter(ImageFilter.GaussianBlur(BLUR)))


def likeness(pictures: Sequence[Image.Image]) -> dict[str, float]:
    """Mean pairwise correlation of pictures, and of their high-pass."""

    def mean_correlation(vectors: Sequence[np.ndarray]) -> float:
        total, count = np.zeros(vectors[0].shape), len(vectors)
        for vector in vectors:
            total += normalised(vector)
        return float((np.square(total).sum() - count) / (count * (count - 1)))

    plain, fine = [unit(p) for p in pictures], [high_pass(p) for p in pictures]
    return {"likeness": mean_correlation(plain), "likeness_high_pass": mean_correlation(fine)}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two arrays of one shape."""
    return float((normalised(one) * normalised(other)).sum())


def normalised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-12)


@dataclass(frozen=True, eq=False)
class Trace:
    """What marked pictures have in common.

    Attributes:
        mean: Mean of the pictures less their twins, with shape (H, W, 3), on the scale of [0, 1].
        rms: Its root mean square.
        chance: The root mean square that it would have if they had nothing in common.
    """

    mean: np.ndarray
    rms: float
    chance: float

    def picture(self) -> Image.Image:
        """The mean, made visible: grey where it is 0, full contrast at 4 times what chance gives."""
        shown = 0.5 + self.mean / (8 * max(self.chance, 1e-6))
        return Image.fromarray((shown.clip(0, 1) * 255).round().astype(np.uint8))


def trace(pictures: Sequence[Image.Image], twins: Sequence[Image.Image]) -> Trace:
    """What pictures (two at least) have in common that their twins have not."""
    differences = [unit(picture) - unit(twin) for picture, twin in zip(pictures, twins, strict=True)]
    mean = np.mean(differences, axis=0)
    spread = np.mean([np.square(d - mean).mean() for d in differences])
    return Trace(mean, float(np.sqrt(np.square(mean).mean())), float(np.sqrt(spread / (len(differences) - 1))))
