"""What images go through before a left inverse sees them: in training at random, in its evaluation as named."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from ..images import to_image, to_tensor

__all__ = ["DAMAGES", "damage"]


def damage(image: Tensor, draw: Callable[[], float], generator: torch.Generator) -> Tensor:
    """Compression, noise, or a loss of detail, each of a random strength."""
    kind = draw()
    if kind < 0.5:
        return jpeg(image, quality=int(10 + 85 * draw()))
    if kind < 0.8:
        return noisy(image, 0.2 * draw(), generator)
    height, width = image.shape[1:]
    factor = 1 + 3 * draw()
    smaller = to_image(image).resize((int(width / factor), int(height / factor)), Image.Resampling.LANCZOS)
    return to_tensor(smaller.resize((width, height), Image.Resampling.BICUBIC))


def jpeg(image: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    to_image(image).save(buffer, "JPEG", quality=quality)
    return to_tensor(Image.open(buffer))


def noisy(image: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """White noise of a standard deviation given in units of the full range, 1."""
    return image + 2 * std * torch.randn(image.shape, generator=generator)


DAMAGES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": lambda image, generator: image,
    "jpeg-25": lambda image, generator: jpeg(image, 25),
    "noise-0.1": lambda image, generator: noisy(image, 0.1, generator),
}
"""What a left inverse is evaluated on."""
