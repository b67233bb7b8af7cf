"""Verdicts on files: a bad one costs only its own line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..images import open_image

if TYPE_CHECKING:
    from .chain import Detector
    from .verdict import Verdict

__all__ = ["verify_files"]


def verify_files(
    paths: Sequence[Path], make_detector: Callable[[], Detector], *, batch_size: int = 8
) -> Iterator[tuple[Path, Verdict | ImageError]]:
    """Verify image files in batches.

    Arguments:
        paths: Image files.
        make_detector: Called once, when the first readable image is at hand.
        batch_size: Images verified together.

    Yields:
        Each path, in order, with its verdict or with what is wrong with it.
    """
    detector = None
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        outcomes: dict[int, Verdict | ImageError] = {}
        images = {}
        for i, path in enumerate(batch):
            try:
                images[i] = open_image(path)
                detector = detector or make_detector()
                detector.working_size(images[i])
            except ImageError as error:
                text = str(error)
                outcomes[i] = error if str(path) in text else ImageError(f"image {str(path)!r}: {text}")
                images.pop(i, None)
        if images:
            outcomes |= dict(zip(images, detector.verify_batch(list(images.values())), strict=True))
        yield from ((path, outcomes[i]) for i, path in enumerate(batch))
