"""What a picture looked like: 32x32 colours, by which it is found again without its number.

Two pictures are as alike as their levels of grey correlate, slow gradients left out, whatever the sign: a negative is
the same picture. Hashes of libraries (`imagehash`, `pdqhash`) are smaller, but can say no more than how many of their
bits agree; they have nothing to say of a part of a picture, and don't tell a damaged picture from another one of the
same composition (`wmark bench likeness`), which is what :mod:`.transplant` asks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

    from .row import Row

__all__ = ["SIDE", "alike", "fingerprint", "levels", "thumbnail"]

SIDE = 32
ALIKE = 0.6
"""Correlation from which on a picture is told as one that looks alike."""

GREY = (0.299, 0.587, 0.114)
AROUND = 5
AT_ONCE = 1000


def fingerprint(image: Image.Image) -> bytes:
    """Red, green and blue of a small version, row by row, 3072 bytes."""
    return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def levels(print_: bytes) -> np.ndarray:
    """The colours of a fingerprint in [0, 1], with shape (32, 32, 3), float64."""
    import numpy as np

    return np.frombuffer(print_, dtype=np.uint8).reshape(SIDE, SIDE, 3) / 255


def thumbnail(image: Image.Image, side: int = 128) -> bytes:
    """A small version as the bytes of a WebP file."""
    import io

    small, content = image.convert("RGB"), io.BytesIO()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(content, "WEBP", quality=80)
    return content.getvalue()


def alike(rows: Iterable[Row], image: Image.Image, limit: int) -> list[tuple[Row, float]]:
    """The rows whose pictures look like an image, also mirrored or in quarter turns, with how alike: the likest first.

    A picture that was cropped or turned otherwise is not found so, but by its mark.
    """
    turned = [image, *(image.transpose(turn) for turn in Image.Transpose)]
    wanted = edges([fingerprint(one) for one in turned])
    found: list[tuple[float, int, Row]] = []
    for batch in batches(row for row in rows if row.fingerprint and len(row.fingerprint) == 3 * SIDE * SIDE):
        scores = abs(edges([row.fingerprint for row in batch]) @ wanted.T).max(axis=1)
        close = [(float(score), row.number, row) for score, row in zip(scores, batch, strict=True) if score >= ALIKE]
        found = heapq.nlargest(limit, [*found, *close], key=lambda entry: (entry[0], -entry[1]))
    return [(row, score) for score, _, row in found]


def edges(prints: list[bytes]) -> np.ndarray:
    """Levels less their surroundings, of length 1, with shape (N, 1024); zeros of what is flat."""
    import numpy as np

    grey = np.frombuffer(b"".join(prints), dtype=np.uint8).reshape(-1, SIDE, SIDE, 3) @ np.array(GREY, np.float32)
    padded = np.pad(grey, ((0, 0), (AROUND // 2,) * 2, (AROUND // 2,) * 2), mode="edge")
    sums = np.pad(padded.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    boxes = sums[:, AROUND:, AROUND:] - sums[:, :-AROUND, AROUND:] - sums[:, AROUND:, :-AROUND]
    flat = (grey - (boxes + sums[:, :-AROUND, :-AROUND]) / AROUND**2).reshape(len(prints), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1.0)


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, AT_ONCE)):
        yield batch
