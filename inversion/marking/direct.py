"""A picture's clean latent, marked without sampling anything: the picture is turned until a reading of it turns.

With r(x) what is read of a picture, the whitened latent of its encoder and what the model's learned reader says, if it
has one, and v the key's direction, climb

    cos(r(x + d)), v)        over        |d| = the length that the PSNR allows

by steps along the gradient's direction with momentum, each followed by a projection back onto the sphere. The first
step is the matched filter J^T v, which spends the length where a pixel's change moves the reading most; marking the
latent and decoding it would spend it evenly. Every step but the last few looks at the picture damaged, by JPEG, by less
resolution, by noise, in turn: what a damage takes away has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...models.latent_diffusion import LatentDiffusion
from ..whitening import whiten
from .blending import radius
from .compression import soft_jpeg
from .towards import Carried, closeness, wanted

__all__ = ["Ascent", "direct"]


@dataclass(frozen=True)
class Ascent:
    """How a picture is turned.

    Arguments:
        iterations: Steps.
        stride: Length of the first step, in units of the change's; it falls to a tenth.
        momentum: Share of the last direction in the next.
        qualities: Of the JPEG that steps look through.
        noise: Standard deviation of the noise, in units of [-1, 1].
    """

    iterations: int = 12
    stride: float = 0.4
    momentum: float = 0.8
    qualities: tuple[int, ...] = (75, 50, 30)
    noise: float = 0.05


def direct(
    model: LatentDiffusion,
    mark: Carried,
    image: Tensor,
    least: float,
    callback: Callable[[int], None] | None = None,
    how: Ascent = Ascent(),
) -> Tensor:
    """The change of a picture that turns what is read of it towards a key.

    Arguments:
        model, mark, image, least, callback: As of :func:`.ways.change_of`.
        how: Settings.
    """
    x = image[None].to(model.device)
    canvas = tuple(side // model.downsampling for side in image.shape[1:])
    pattern, direction = wanted(mark, canvas)
    generator, length = torch.Generator().manual_seed(0), radius(image.shape, least)
    damages = _damages(how, generator)
    change, heading = torch.zeros_like(x), torch.zeros_like(x)
    for k in range(how.iterations):
        at = change.detach().requires_grad_()
        with torch.enable_grad():
            seen = damages[k % len(damages)]((x + at).clamp(-1, 1))
            closer = sum(closeness(reading, pattern, direction).sum() for reading in _readings(model, seen))
        (slope,) = torch.autograd.grad(closer, at)
        heading = how.momentum * heading + slope / slope.norm().clamp_min(1e-20)
        stride = how.stride * (1 - 0.9 * k / how.iterations)
        change = change + stride * length * heading / heading.norm().clamp_min(1e-20)
        change = (x + change * (length / change.norm())).clamp(-1, 1) - x
        if callback:
            callback(k + 1)
    return change[0].detach()


def _readings(model: LatentDiffusion, image: Tensor) -> list[Tensor]:
    """What is read of a picture, differentiable: its whitened latent, and what the learned reader says of it."""
    latent = model.encode(image)
    said = [model.reader.net(latent.to(model.reader.net.out.weight)).float()] if model.reader else []
    return [whiten(latent), *said]


def _damages(how: Ascent, generator: torch.Generator) -> list[Callable[[Tensor], Tensor]]:
    """What the steps look through, in turn; the first is nothing."""

    def noisy(x: Tensor) -> Tensor:
        return x + how.noise * torch.randn(x.shape, generator=generator).to(x)

    def coarse(x: Tensor) -> Tensor:
        size = x.shape[-2:]
        half = interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
        return interpolate(half, size=size, mode="bicubic")

    return [
        lambda x: x,
        *(lambda x, quality=quality: soft_jpeg(x, quality) for quality in how.qualities),
        coarse,
        noisy,
    ]
