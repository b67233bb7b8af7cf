"""Verdicts on files: a bad one costs only its own line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from PIL import Image

from ..errors import ImageError, WmarkError
from ..files import shown

if TYPE_CHECKING:
    from torch import Tensor

    from .detector import Detector
    from .verdict import Verdict

__all__ = ["Readable", "verify_files"]


class Readable(Protocol):
    """Where an image comes from: a name for errors, and `read`, which raises an :class:`ImageError`."""

    @property
    def name(self) -> str: ...

    def read(self) -> Image.Image: ...


Source = TypeVar("Source", bound=Readable)


def verify_files(
    sources: Sequence[Source], make_detector: Callable[[], Detector], *, batch_size: int = 8
) -> Iterator[tuple[Source, Verdict | Exception]]:
    """Verify images in batches. Each is reduced to its working size before the next is read.

    Arguments:
        sources: Where the images come from.
        make_detector: Called once, when the first readable image is at hand.
        batch_size: Images verified together.

    Yields:
        Each source, in order, with its verdict or with what is wrong with it: an :class:`ImageError`, or any other
        exception, which then nobody foresaw.

    Raises:
        WmarkError: If the model or a key cannot be used, whatever the image.
    """
    detector = None
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        outcomes: dict[int, Verdict | Exception] = {}
        pixels: dict[int, Tensor] = {}
        for i, source in enumerate(batch):
            try:
                image = source.read()
            except Exception as error:
                outcomes[i] = error
                continue
            detector = detector or make_detector()
            try:
                pixels[i] = reduced(image, detector, source.name)
            except ImageError as error:
                outcomes[i] = error
            image = None
        if pixels:
            outcomes |= dict(zip(pixels, judge(detector, list(pixels.values())), strict=True))
        yield from ((source, outcomes[i]) for i, source in enumerate(batch))


def judge(detector: Detector, images: list[Tensor]) -> list[Verdict | Exception]:
    """Verdicts on images of a batch; where it fails, one by one, so that only those are lost that make it fail."""
    try:
        return detector.judge(images)
    except Exception as error:
        if isinstance(error, WmarkError) and not isinstance(error, ImageError):
            raise
        if len(images) == 1:
            return [error]
    return [outcome for image in images for outcome in judge(detector, [image])]


def reduced(image: Image.Image, detector: Detector, name: str) -> Tensor:
    try:
        return detector.pixels(image)
    except ImageError as error:
        raise type(error)(f"image '{shown(name)}': {error}") from error
