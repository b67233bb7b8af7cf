"""Compression: through the bytes of a file and back."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..errors import WmarkError
from .kind import pixels

__all__ = ["KINDS", "jpeg_coded"]


def coded(image: Image.Image, form: str, **options) -> Image.Image:
    """What a file of a format holds of an image.

    Raises:
        WmarkError: If this Pillow does not write the format, or not at this size.
    """
    buffer = io.BytesIO()
    try:
        image.save(buffer, form, **options)
        return Image.open(buffer).convert("RGB")
    except KeyError:
        raise WmarkError(f"this Pillow does not write {form}: pip install 'wmark[bench]'") from None
    except (OSError, ValueError) as error:
        raise WmarkError(f"an image of {image.width} x {image.height} pixels cannot be written as {form}") from error


def jpeg_coded(image: Image.Image, quality: float) -> Image.Image:
    """An image as a JPEG of Pillow's settings holds it."""
    return coded(image, "JPEG", quality=int(quality))


@pixels("codec", unit="quality", span=(1, 100), sweep=(5, 10, 25, 50, 75), training=(5, 95), whole=True)
def jpeg(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    """JPEG, its colours at half the resolution."""
    return jpeg_coded(image, quality)


@pixels("codec", unit="quality", span=(0, 100), sweep=(5, 20, 50), training=(5, 95), whole=True)
def webp(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    """WebP."""
    return coded(image, "WEBP", quality=int(quality))


@pixels("codec", unit="quality", span=(0, 100), sweep=(5, 20, 50), whole=True)
def avif(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    """AVIF, at a fast setting."""
    return coded(image, "AVIF", quality=int(quality), speed=8)


@pixels("codec", unit="quality", span=(1, 99), sweep=(10, 30, 60), whole=True)
def jpeg_xl(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    """JPEG XL, at a fast setting."""
    try:
        import pillow_jxl  # noqa: F401  Registers the format.
    except ImportError:
        raise WmarkError("JPEG XL needs a plugin of Pillow: pip install 'wmark[bench]'") from None
    return coded(image, "JXL", quality=int(quality), effort=3)


@pixels("codec", unit="times smaller", span=(1, 1000), sweep=(30, 100))
def jpeg_2000(image: Image.Image, ratio: float, rng: np.random.Generator) -> Image.Image:
    """JPEG 2000, to a rate."""
    return coded(image, "JPEG2000", quality_mode="rates", quality_layers=[ratio])


@pixels("codec", unit="rounds", span=(1, 50), sweep=(5, 20), training=(1, 5), whole=True)
def jpeg_rounds(image: Image.Image, rounds: float, rng: np.random.Generator) -> Image.Image:
    """JPEG time and again, at qualities from 40 to 80."""
    for _ in range(int(rounds)):
        image = jpeg_coded(image, rng.integers(40, 80))
    return image


@pixels("codec", unit="colours", span=(2, 256), sweep=(8, 32), whole=True)
def palette(image: Image.Image, colours: float, rng: np.random.Generator) -> Image.Image:
    """So few colours of its own, dithered, as in a GIF."""
    chosen = image.quantize(int(colours), Image.Quantize.FASTOCTREE)
    return image.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")


KINDS = (jpeg, webp, avif, jpeg_xl, jpeg_2000, jpeg_rounds, palette)
