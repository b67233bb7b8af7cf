"""Verdicts on files: a bad one costs only its own line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..files import shown
from ..images import open_image

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from .detector import Detector
    from .verdict import Verdict

__all__ = ["verify_files"]


def verify_files(
    paths: Sequence[Path], make_detector: Callable[[], Detector], *, batch_size: int = 8
) -> Iterator[tuple[Path, Verdict | ImageError]]:
    """Verify image files in batches. Each is reduced to its working size before the next is opened.

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
        pixels: dict[int, Tensor] = {}
        for i, path in enumerate(batch):
            try:
                image = open_image(path)
                detector = detector or make_detector()
                pixels[i] = reduced(image, detector, path)
            except ImageError as error:
                outcomes[i] = error
            image = None
        if pixels:
            outcomes |= dict(zip(pixels, detector.judge(list(pixels.values())), strict=True))
        yield from ((path, outcomes[i]) for i, path in enumerate(batch))


def reduced(image: Image.Image, detector: Detector, path: Path) -> Tensor:
    try:
        return detector.pixels(image)
    except ImageError as error:
        raise ImageError(f"image '{shown(path)}': {error}") from error
