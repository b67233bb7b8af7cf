"""As much of a change as a PSNR allows: 10 log10(255^2 / MSE) of the pictures as 8-bit files hold them."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ...images import rounded, to_image, to_tensor

__all__ = ["blended", "psnr"]

HALVINGS = 14
LARGEST = 8.0
"""Weight of a change at most, in units of what would do without clipping and rounding."""


def psnr(one: Tensor, other: Tensor) -> float:
    """PSNR in dB of two pictures (3, H, W) in [-1, 1]; infinite for equal ones."""
    error = float((one - other).double().square().mean()) / 4
    return -10 * math.log10(error) if error else math.inf


def blended(image: Image.Image, change: Tensor, least: float) -> Image.Image:
    """A picture with the most of a change that leaves it at a PSNR.

    Arguments:
        image: The picture, RGB, of any size.
        change: What is to be added in units of [-1, 1], with shape (3, h, w); it is scaled to the picture's size.
        least: PSNR in dB at least.
    """
    before = to_tensor(image)
    if change.shape[1:] != before.shape[1:]:
        change = interpolate(change[None].cpu(), size=before.shape[1:], mode="bicubic", antialias=True)[0]
    change = change.float().cpu()
    unit = 2 * 10 ** (-least / 20) / float(change.square().mean().sqrt().clamp_min(1e-12))

    def at(weight: float) -> Tensor:
        return rounded(before + weight * unit * change)

    low, high = 0.0, LARGEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if psnr(at(middle), before) >= least else (low, middle)
    return to_image(at(low))


def radius(shape: torch.Size, least: float) -> float:
    """Length of a change of pictures of a shape (3, H, W) at a PSNR in dB."""
    return 2 * 10 ** (-least / 20) * math.sqrt(math.prod(shape))
