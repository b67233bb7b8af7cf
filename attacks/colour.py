"""Changes of light and colour, pixel by pixel."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .detail import from_unit, unit
from .kind import pixels

__all__ = ["KINDS"]

GREY = (0.299, 0.587, 0.114)
SEPIA = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))
ORDERS = list(permutations(range(3)))[1:]


@pixels("colour", unit="times", span=(0, 10), sweep=(0.5, 2, 3), training=(0.3, 3.5))
def brightness(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """All values multiplied."""
    return ImageEnhance.Brightness(image).enhance(factor)


@pixels("colour", unit="times", span=(0, 10), sweep=(0.5, 2, 3), training=(0.4, 3))
def contrast(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """Distances to the mean grey multiplied."""
    return ImageEnhance.Contrast(image).enhance(factor)


@pixels("colour", unit="exponent", span=(0.1, 10), sweep=(0.5, 2), training=(0.4, 2.5))
def gamma(image: Image.Image, exponent: float, rng: np.random.Generator) -> Image.Image:
    """All values to a power."""
    return image.point([round(255 * (v / 255) ** exponent) for v in range(256)] * 3)


@pixels("colour", unit="times", span=(0, 10), sweep=(0.25, 3), training=(0, 3))
def saturation(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """Distances to the grey of the same light multiplied."""
    return ImageEnhance.Color(image).enhance(factor)


@pixels("colour", training=(0, 0))
def grey(image: Image.Image, strength: None, rng: np.random.Generator) -> Image.Image:
    """Without colours."""
    return ImageOps.grayscale(image).convert("RGB")


@pixels("colour", training=(0, 0))
def sepia(image: Image.Image, strength: None, rng: np.random.Generator) -> Image.Image:
    """In the browns of an old photograph."""
    return from_unit(unit(image) @ np.array(SEPIA).T)


@pixels("colour", unit="degrees", span=(-360, 360), sweep=(30, 90, 180), training=(-180, 180))
def hue(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    """The wheel of colours turned."""
    h, s, v = image.convert("HSV").split()
    turned = [(i + round(degrees * 256 / 360)) % 256 for i in range(256)]
    return Image.merge("HSV", (h.point(turned), s, v)).convert("RGB")


@pixels("colour", training=(0, 0))
def invert(image: Image.Image, strength: None, rng: np.random.Generator) -> Image.Image:
    """The negative."""
    return ImageOps.invert(image)


@pixels("colour", unit="level", span=(0, 255), sweep=(64, 128, 192), training=(64, 255), whole=True)
def solarize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """The negative of what is brighter than a level."""
    return ImageOps.solarize(image, int(level))


@pixels("colour", unit="bits", span=(1, 8), sweep=(1, 2, 3), training=(2, 4), whole=True)
def posterize(image: Image.Image, bits: float, rng: np.random.Generator) -> Image.Image:
    """So few bits a channel."""
    return ImageOps.posterize(image, int(bits))


@pixels("colour", training=(0, 0))
def equalise(image: Image.Image, strength: None, rng: np.random.Generator) -> Image.Image:
    """The histogram of each channel levelled."""
    return ImageOps.equalize(image)


@pixels("colour", unit="% of the pixels", span=(0, 49), sweep=(5,), training=(0, 10))
def autocontrast(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Each channel spread over the full range, so many clipped at each end."""
    return ImageOps.autocontrast(image, cutoff=percent)


@pixels("colour", unit="order", span=(1, 5), sweep=(1, 2, 3, 4, 5), training=(1, 5), whole=True)
def swap_channels(image: Image.Image, order: float, rng: np.random.Generator) -> Image.Image:
    """Red, green and blue exchanged: RBG, GRB, GBR, BRG, BGR."""
    channels = image.split()
    return Image.merge("RGB", [channels[i] for i in ORDERS[int(order) - 1]])


@pixels("colour", unit="% of red over blue", span=(-90, 90), sweep=(-40, 40), training=(-40, 40))
def warmth(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Red raised and blue lowered, or the other way about, as by a wrong white balance."""
    return from_unit(unit(image) * (1 + np.array([1, 0, -1]) * percent / 100))


@pixels("colour", unit="% of the light at the corners", span=(0, 100), sweep=(70,), training=(0, 80))
def vignette(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Darker towards the corners, by so much there."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    return from_unit(unit(image) * (1 - percent / 100 * (x * x + y * y) / 2)[..., None])


@pixels("colour", unit="% white", span=(0, 100), sweep=(40, 70), training=(0, 60))
def fade(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Mixed with white, as in haze."""
    return from_unit(unit(image) + (1 - unit(image)) * percent / 100)


@pixels("colour", unit="level", span=(1, 255), sweep=(128,), whole=True)
def threshold(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """Black below a level of grey, white from it on."""
    return from_unit(np.repeat(unit(image) @ np.array(GREY) >= level / 255, 3).reshape(image.height, image.width, 3))


KINDS = (
    brightness, contrast, gamma, saturation, grey, sepia, hue, invert, solarize, posterize, equalise, autocontrast,
    swap_channels, warmth, vignette, fade, threshold,
)  # fmt: skip
