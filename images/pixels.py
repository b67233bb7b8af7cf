"""Decoded images of any mode as 8-bit RGB, and RGB images as tensors.

Depth and transparency are settled here, the same for every caller:

    16-bit grey       v -> round(v / 257), which takes 65535 to 255
    float grey        [0, 1] -> [0, 255]; values above 1 count as 8-bit values already
    transparency      dropped where nothing is transparent, otherwise laid over white

A large image is converted strip by strip, so that it is never in memory more than twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import ImageError, UnfitImage

if TYPE_CHECKING:
    import torch

__all__ = ["checksum", "rounded", "to_image", "to_pixels", "to_rgb", "to_tensor", "to_unit"]

STRIP = 1 << 22  # pixels


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The rows of an image in copies of a few megapixels each, from the top, each with the row that it begins at."""
    width, height = image.size
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def checksum(image: Image.Image) -> int:
    """A number that differs between images of one mode and size that are not the same."""
    total = 0
    for _, strip in strips(image):
        total = zlib.crc32(strip.tobytes(), total)
    return total


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert a decoded image of any mode to a new one of mode RGB.

    Arguments:
        image: The image.
        name: What errors call it.

    Raises:
        ImageError: If its values have no 8-bit meaning.
    """
    convert = conversion(image, name)
    if image.width * image.height <= STRIP:
        picture = convert(image)
        picture.info = {}
        return picture
    picture = Image.new("RGB", image.size)
    for top, strip in strips(image):
        picture.paste(convert(strip), (0, top))
    return picture


def conversion(image: Image.Image, name: str) -> Callable[[Image.Image], Image.Image]:
    """What takes a strip of this image to RGB."""
    if image.mode.startswith(("I", "F")):
        return grey_levels(image, name)
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
        return lambda strip: ImageCms.applyTransform(strip, transform)
    if image.has_transparency_data:
        return over_white
    return lambda strip: strip.convert("RGB")


def over_white(strip: Image.Image) -> Image.Image:
    """A transparent image laid over white."""
    straight = strip.convert("LA") if strip.mode == "La" else strip
    straight = straight.convert("RGBA")
    if straight.getchannel("A").getextrema() == (255, 255):
        return straight.convert("RGB")
    white = Image.new("RGBA", straight.size, "white")
    return Image.alpha_composite(white, straight).convert("RGB")


def grey_levels(image: Image.Image, name: str) -> Callable[[Image.Image], Image.Image]:
    """What takes a strip of a grey image of 16-bit, 32-bit or float values to 8-bit levels."""
    import numpy as np

    extremes = [(values.min(), values.max()) for values in (np.asarray(strip) for _, strip in strips(image))]
    low, high = np.min(extremes), np.max(extremes)
    if image.mode == "F":
        if not 0 <= low <= high <= 255:  # False for NaN as well.
            raise UnfitImage(f"{name} has values from {low:g} to {high:g}: scale them to [0, 1]")
        scale = 255 if high <= 1 else 1
        return lambda strip: Image.fromarray(np.rint(np.asarray(strip) * scale).astype(np.uint8)).convert("RGB")
    if not 0 <= low <= high <= 65535:
        raise UnfitImage(f"{name} has values from {low} to {high}: scale them to 16 bits")
    transparent = image.info.get("transparency")

    def convert(strip: Image.Image) -> Image.Image:
        values = np.asarray(strip)
        grey = (values.astype(np.int64) + 128) // 257
        if isinstance(transparent, int):
            grey[values == transparent] = 255
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")

    return convert


def to_pixels(image: Image.Image) -> torch.Tensor:
    """The 8-bit pixels of an RGB image, with shape (3, H, W)."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """8-bit pixels of any shape as float32 values in [-1, 1], on the same device."""
    return pixels.float() / 127.5 - 1


def rounded(image: torch.Tensor) -> torch.Tensor:
    """An image in [-1, 1], of any shape, as a file of 8 bits holds it: clipped, and rounded to its levels."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def to_tensor(image: Image.Image) -> torch.Tensor:
    """The pixels of an RGB image as a float32 tensor in [-1, 1], with shape (3, H, W)."""
    return to_unit(to_pixels(image))


def to_image(pixels: torch.Tensor) -> Image.Image:
    """The 8-bit RGB image of a tensor, values rounded and those outside [-1, 1] clipped.

    Arguments:
        pixels: An image in [-1, 1], with shape (3, H, W).

    Raises:
        ImageError: If the shape is another, or a value is not finite.
    """
    if pixels.ndim != 3 or len(pixels) != 3:
        raise ImageError(f"a tensor of shape {tuple(pixels.shape)} is no image: pass one of shape (3, H, W)")
    pixels = pixels.detach().float().cpu()
    if not pixels.isfinite().all():
        raise ImageError("the image has values that are not finite: run the model in float32")
    levels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
