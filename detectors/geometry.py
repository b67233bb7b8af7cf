"""Sizes: at which an image is inverted, and of the noise that its key may have been planted in. Pure functions.

A *canvas* is the latent that a key was planted in, height and width in latent pixels. It need not be the size at which
an image is looked at: that is a turned, cropped or padded canvas as well.
"""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image

from ..errors import UnfitImage

__all__ = ["Canvas", "Size", "canvases", "fit", "working_size"]

Size = tuple[int, int]
"""Height and width."""

LONGEST_ASPECT = 4
ALIKE = 0.5, 2.0
"""Areas, over the expected one, of images that may have been generated at the size they have."""

COMMON_ASPECTS = (5 / 4, 4 / 3, 3 / 2, 16 / 9)
"""Long side over short side of the pictures that people generate beside square ones, the short side the model's own."""

QUARTER_TURNS = 90.0


class Canvas(NamedTuple):
    """A canvas to search, and in how many rotations.

    Attributes:
        size: Height and width in latent pixels.
        angle_step: Degrees between the rotations that are tried on it; None takes the search's own.
    """

    size: Size
    angle_step: float | None = None


def working_size(image: Size, expected: Size, multiple: int) -> Size:
    """Height and width in pixels at which an image is inverted; it keeps its shape.

    Its own size, if it may have been generated at it (sides that are multiples, area from 1/2 to 2 times the expected
    one). Else the largest of its aspect ratio that fits into the expected size, held upright or across like the image.

    Arguments:
        image: Height and width of the image in pixels.
        expected: Those it was generated at, stated by the user or the model's own.
        multiple: Of which sides are multiples: the model's downsampling factor.

    Raises:
        ImageError: If the image is longer than 4:1.
    """
    height, width = image
    if max(image) > LONGEST_ASPECT * min(image):
        raise UnfitImage(f"an image of {width}x{height} pixels is too narrow: crop it to less than {LONGEST_ASPECT}:1")
    least, most = ALIKE
    alike = least <= height * width / (expected[0] * expected[1]) <= most
    if height % multiple == 0 and width % multiple == 0 and alike:
        return height, width
    box = expected if (height > width) == (expected[0] > expected[1]) else expected[::-1]
    ratio = min(box[0] / height, box[1] / width)
    return tuple(max(multiple, round(side * ratio / multiple) * multiple) for side in image)


def canvases(noise: Size, native: Size, stated: Size | None) -> list[Canvas]:
    """The canvases that are searched, the likeliest first.

    Only the stated one if one was stated. Else the noise's own and the model's in every rotation, and those of common
    aspect ratios, upright and across, in quarter turns: a wide picture that was turned on its side, or cut or padded to
    a square, still has its frequencies.

    Arguments:
        noise: Height and width of the recovered noise.
        native: The model's own canvas.
        stated: The canvas that the user stated.
    """
    if stated:
        return [Canvas(stated)]
    short = min(native)
    long = [round(short * aspect) for aspect in COMMON_ASPECTS]
    turned = [noise[::-1], *((short, side) for side in long), *((side, short) for side in long)]
    full = list(dict.fromkeys([noise, native]))
    quarter = [size for size in dict.fromkeys(turned) if size not in full]
    return [*(Canvas(size) for size in full), *(Canvas(size, QUARTER_TURNS) for size in quarter)]


def fit(image: Image.Image, size: Size) -> Image.Image:
    """The image resized to (height, width) pixels, if it is not of that size."""
    height, width = size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
