"""Ordinary damage, at the settings of Wen et al. (2023) unless its name says otherwise."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from ..errors import WmarkError

__all__ = ["DAMAGES", "damaged", "find_damage"]

Damage = Callable[[Image.Image, np.random.Generator], Image.Image]


def jpeg(quality: int) -> Damage:
    def apply(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return apply


def blur(radius: float) -> Damage:
    return lambda image, rng: image.filter(ImageFilter.GaussianBlur(radius))


def gaussian_noise(std: float) -> Damage:
    """Noise of a standard deviation in units of the full range."""

    def apply(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(image) / 255 + rng.normal(0, std, (image.height, image.width, 3))
        return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))

    return apply


def brightness(factor: float) -> Damage:
    return lambda image, rng: ImageEnhance.Brightness(image).enhance(factor)


def rotation(angle: float | None) -> Damage:
    """Rotation about the centre on the same canvas, corners black; None draws the angle."""

    def apply(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return image.rotate(rng.uniform(0, 360) if angle is None else angle, Image.Resampling.BICUBIC)

    return apply


def crop_rescale(share: float) -> Damage:
    """A crop to this share of each side, placed at random, scaled back to the old size."""

    def apply(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        x, y = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
        return image.crop((x, y, x + width, y + height)).resize(image.size, Image.Resampling.LANCZOS)

    return apply


def mirror(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


DAMAGES: dict[str, Damage] = {
    "none": lambda image, rng: image,
    "jpeg-25": jpeg(25),
    "blur-4": blur(4),
    "noise-0.1": gaussian_noise(0.1),
    "brightness-2": brightness(2),
    "rotation-75": rotation(75),
    "rotation-random": rotation(None),
    "mirror": mirror,
    "crop-80%": crop_rescale(0.8),
}


def damaged(name: str, image: Image.Image, seed: int) -> Image.Image:
    """The damaged image; the same seed gives the same damage.

    Raises:
        WmarkError: If there is no damage of this name.
    """
    return find_damage(name)(image, np.random.default_rng(seed))


def find_damage(name: str) -> Damage:
    """The damage of a name, or a :class:`WmarkError` that lists them all."""
    if name not in DAMAGES:
        raise WmarkError(f"unknown damage {name!r}: choose one of {', '.join(DAMAGES)}")
    return DAMAGES[name]
