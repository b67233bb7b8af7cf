"""Loss of detail: resampling, blurs, mosaics; and noise."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from .kind import pixels

__all__ = ["KINDS", "from_unit", "rescaled", "unit"]

Resampling = Image.Resampling


def unit(image: Image.Image) -> np.ndarray:
    """Values in [0, 1], with shape (H, W, 3)."""
    return np.asarray(image) / 255


def from_unit(values: np.ndarray) -> Image.Image:
    """The image of values (H, W, 3) in [0, 1], those beyond clipped."""
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))


def rescaled(image: Image.Image, factor: float, how: Resampling = Resampling.LANCZOS) -> Image.Image:
    """An image enlarged by a factor, its sides whole pixels."""
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), how)


def there_and_back(image: Image.Image, factor: float, down: Resampling, up: Resampling) -> Image.Image:
    return rescaled(image, 1 / factor, down).resize(image.size, up)


@pixels("resampling", unit="times smaller", span=(1, 32), sweep=(2, 4, 8), training=(1, 8))
def downscale(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """Smaller and back, Lanczos then bicubic."""
    return there_and_back(image, factor, Resampling.LANCZOS, Resampling.BICUBIC)


@pixels("resampling", unit="times smaller", span=(1, 32), sweep=(2, 4, 8), training=(1, 8))
def downscale_bilinear(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """Smaller and back, bilinear both ways."""
    return there_and_back(image, factor, Resampling.BILINEAR, Resampling.BILINEAR)


@pixels("resampling", unit="times smaller", span=(1, 32), sweep=(2, 4), training=(1, 4))
def downscale_nearest(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """Smaller and back, the nearest pixel both ways."""
    return there_and_back(image, factor, Resampling.NEAREST, Resampling.NEAREST)


@pixels("resampling", unit="% of the size", span=(5, 400), sweep=(50, 75, 150))
def rescale(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Smaller or larger, and left so."""
    return rescaled(image, percent / 100)


@pixels("blur", unit="pixels", span=(0.1, 64), sweep=(1, 2, 4, 8), training=(0.1, 6))
def blur(image: Image.Image, radius: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian, of a standard deviation."""
    return image.filter(ImageFilter.GaussianBlur(radius))


@pixels("blur", unit="pixels of radius", span=(0.1, 64), sweep=(2, 6), training=(0.1, 5))
def box_blur(image: Image.Image, radius: float, rng: np.random.Generator) -> Image.Image:
    """The mean of a square."""
    return image.filter(ImageFilter.BoxBlur(radius))


@pixels("blur", unit="pixels of radius", span=(1, 9), sweep=(1, 3), whole=True)
def median(image: Image.Image, radius: float, rng: np.random.Generator) -> Image.Image:
    """The median of a square."""
    return image.filter(ImageFilter.MedianFilter(2 * int(radius) + 1))


@pixels("blur", unit="pixels", span=(1, 128), sweep=(9, 21), training=(1, 21))
def motion_blur(image: Image.Image, length: float, rng: np.random.Generator) -> Image.Image:
    """Along a straight line of a random direction."""
    angle, reach = rng.uniform(0, math.pi), math.ceil(length / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = (x * math.cos(angle) - y * math.sin(angle)), (x * math.sin(angle) + y * math.cos(angle))
    return convolved(image, np.clip((length + 1) / 2 - abs(along), 0, 1) * np.clip(1 - abs(across), 0, 1))


@pixels("blur", unit="pixels of radius", span=(0.5, 32), sweep=(3, 6), training=(0.5, 6))
def defocus(image: Image.Image, radius: float, rng: np.random.Generator) -> Image.Image:
    """The mean of a disc, as of a lens out of focus."""
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return convolved(image, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def convolved(image: Image.Image, kernel: np.ndarray) -> Image.Image:
    """An image convolved with a kernel of an odd side, its edges repeated."""
    from scipy.signal import fftconvolve

    reach = len(kernel) // 2
    values = np.pad(unit(image).astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    kernel = (kernel / kernel.sum()).astype(np.float32)[..., None]
    return from_unit(fftconvolve(values, kernel, mode="valid", axes=(0, 1)))


@pixels("blur", unit="% of the edges added", span=(1, 1000), sweep=(150, 400), training=(1, 300))
def sharpen(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Unsharp mask of radius 2."""
    return image.filter(ImageFilter.UnsharpMask(2, round(percent), 0))


@pixels("mosaic", unit="pixels a side", span=(2, 128), sweep=(4, 8, 16), training=(2, 8), whole=True)
def pixelate(image: Image.Image, side: float, rng: np.random.Generator) -> Image.Image:
    """The whole picture in squares of one colour."""
    return there_and_back(image, side, Resampling.BOX, Resampling.NEAREST)


@pixels("mosaic", unit="% of each side", span=(1, 100), sweep=(40,), training=(10, 50))
def censor(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A rectangle of so much of each side, placed at random, in squares of 24 pixels."""
    from .geometry import corner

    x, y, w, h = corner(percent, rng, image.size[::-1])
    covered = image.copy()
    covered.paste(pixelate.apply(image.crop((x, y, x + w, y + h)), 24, rng), (x, y))
    return covered


@pixels("noise", unit="of the full range", span=(0, 2), sweep=(0.05, 0.1, 0.2, 0.3), training=(0, 0.25))
def noise(image: Image.Image, std: float, rng: np.random.Generator) -> Image.Image:
    """White Gaussian noise of a standard deviation."""
    return from_unit(unit(image) + rng.normal(0, std, (image.height, image.width, 3)))


@pixels("noise", unit="% of the pixels", span=(0, 100), sweep=(2, 5, 15), training=(0, 10))
def salt_and_pepper(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Pixels turned black or white."""
    drawn = rng.uniform(0, 100, (image.height, image.width, 1))
    return from_unit(np.where(drawn < percent, drawn < percent / 2, unit(image)))


@pixels("noise", unit="of the value", span=(0, 2), sweep=(0.1, 0.3), training=(0, 0.3))
def speckle(image: Image.Image, std: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian noise of a standard deviation in proportion to the light."""
    return from_unit(unit(image) * (1 + rng.normal(0, std, (image.height, image.width, 3))))


@pixels("noise", unit="photons at white", span=(1, 10_000), sweep=(30, 100), training=(30, 300))
def shot(image: Image.Image, photons: float, rng: np.random.Generator) -> Image.Image:
    """Photon noise, as of a camera in the dark."""
    return from_unit(rng.poisson(unit(image) * photons) / photons)


KINDS = (
    downscale, downscale_bilinear, downscale_nearest, rescale, blur, box_blur, median, motion_blur, defocus, sharpen,
    pixelate, censor, noise, salt_and_pepper, speckle, shot,
)  # fmt: skip
