"""Whether two files show the same picture: a hash that scaling and compression hardly change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SAME", "perceptual_hash"]

SAME = 8
"""Bits of the 128 in which the hashes of the same picture may differ."""


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """Signs of the horizontal and vertical differences of a small grey version, with shape (128,), bool."""
    import numpy as np

    grey = np.asarray(image.convert("L").resize((9, 9), Image.Resampling.BOX), dtype=np.float32)
    return np.concatenate([(np.diff(grey, axis=1)[:8] > 0).ravel(), (np.diff(grey, axis=0)[:, :8] > 0).ravel()])
