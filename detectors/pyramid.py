"""Pictures larger than the model's: at which further sizes they are read, tile by tile.

    the picture's own size, its half, its quarter, ... down to the model's

A marked picture that is a part of a larger one shows at some of these sizes at 0.7 to 1.4 times its own, whatever the
size of the whole. Noise is recovered in tiles that overlap, so that memory does not grow with the picture, and laid
together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from ..images import to_image, to_pixels, to_unit
from ..inversion.chain import Recover, Recovered
from .geometry import Size, fit

__all__ = ["AREAS", "EVERY_AREA", "Levels", "bounded", "field", "sizes"]

AREAS = 16
"""Largest picture that is read at its own size, in areas of the model's; larger ones are reduced to it."""

EVERY_AREA = 64
"""The same where everything is to be searched at once (`--align full`)."""

WORTH = 1.2
"""Areas of the model's from which on a size is read beside the model's."""

TILE = 1.5
"""Side of a tile, over the model's."""

MARGIN = 8
"""Latent pixels along the seams of a tile that are left to its neighbours."""


@dataclass(frozen=True, eq=False)
class Levels:
    """One picture at several sizes.

    Attributes:
        pixels: As it came, uint8, with shape (3, H, W).
        whole: As it is looked at as a whole, uint8, with shape (3, h, w).
        sizes: Height and width in pixels of further levels, the smallest first.
    """

    pixels: Tensor
    whole: Tensor
    sizes: tuple[Size, ...] = ()

    @classmethod
    def of(cls, pixels: Tensor, whole: Size, sizes: tuple[Size, ...]) -> Levels:
        """A picture (3, H, W), uint8, reduced to a size as a whole."""
        return cls(pixels, resized(pixels, whole), sizes)

    def at(self, size: Size) -> Tensor:
        """The picture at a level, uint8, with shape (3, *size)."""
        return self.whole if size == tuple(self.whole.shape[1:]) else resized(self.pixels, size)


def resized(pixels: Tensor, size: Size) -> Tensor:
    return pixels if tuple(pixels.shape[1:]) == size else to_pixels(fit(to_image(to_unit(pixels)), size))


def bounded(image: Size, native: Size, areas: float) -> Size:
    """Height and width in pixels of an image, reduced to so many areas of the model's if it is larger."""
    scale = math.sqrt(areas * math.prod(native) / math.prod(image))
    return image if scale >= 1 else tuple(max(1, math.floor(side * scale)) for side in image)


def sizes(image: Size, native: Size, multiple: int) -> tuple[Size, ...]:
    """Sizes in pixels, multiples of the model's downsampling, that an image is read at beside the model's, the smallest
    first; none for one of about the model's size."""
    found, (height, width) = [], image
    while height * width > WORTH * math.prod(native):
        found.append(tuple(max(multiple, round(side / multiple) * multiple) for side in (height, width)))
        height, width = height / 2, width / 2
    return tuple(reversed(found))


def field(recover: Recover, pixels: Tensor, native: Size, multiple: int) -> Recovered:
    """The initial noise of a picture of any size, uint8, with shape (3, H, W), recovered in tiles.

    Arguments:
        recover: How.
        pixels: The picture; its sides are multiples of the model's downsampling.
        native: The model's own size in pixels.
        multiple: The model's downsampling.
    """
    size = tuple(side // multiple for side in pixels.shape[1:])
    tile = tuple(min(side, round(TILE * own / multiple)) for side, own in zip(size, native, strict=True))
    noise, reading, notes = None, None, {}
    for top, left in itertools.product(*(starts(side, own) for side, own in zip(size, tile, strict=True))):
        bottom, right = top + tile[0], left + tile[1]
        part = pixels[:, top * multiple : bottom * multiple, left * multiple : right * multiple]
        found = recover(part[None])
        notes |= dict.fromkeys(found.fallbacks)
        if noise is None:
            noise, reading = (values.new_zeros(*values.shape[:2], *size) for values in (found.noise, found.reading))
        y, x = MARGIN * (top > 0), MARGIN * (left > 0)
        for whole, values in ((noise, found.noise), (reading, found.reading)):
            whole[..., top + y : bottom, left + x : right] = values[..., y:, x:]
    return Recovered(noise, reading, tuple(notes))


def starts(side: int, tile: int) -> Iterator[int]:
    """Where tiles begin along a side, in latent pixels, the last at its end."""
    count = 1 + math.ceil((side - tile) / (tile - 2 * MARGIN))
    return (round(i * (side - tile) / max(1, count - 1)) for i in range(count))
