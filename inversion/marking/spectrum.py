"""The spectrum of a picture's clean latent, marked and decoded: no noise, no sampling.

The key's direction, laid out as a latent, gets the radial spectrum of the picture's own latent z, so that once both are
whitened it stands equally strong at all frequencies:

    change = D(z + s y) - D(z),        y = the key, shaped like z
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...models.latent_diffusion import LatentDiffusion
from ...watermark.spectrum import synthesise
from ..whitening import radial_level
from .towards import Carried, wanted

__all__ = ["spectrum"]

STRENGTH = 0.3
"""s, in units of the latent's spread; what is blended of the change depends on the PSNR that is asked for."""


@torch.no_grad()
def spectrum(
    model: LatentDiffusion, mark: Carried, image: Tensor, least: float, callback: Callable[[int], None] | None = None
) -> Tensor:
    """The change of a picture that marking its latent's spectrum makes; arguments as of :func:`.ways.change_of`."""
    latent = model.encode(image[None])
    canvas = tuple(latent.shape[-2:])
    pattern, direction = wanted(mark, canvas)
    level = radial_level(latent.float())[:, list(pattern.channels)]
    white = synthesise(direction[None], pattern, canvas).to(latent.device, torch.float32)
    shaped = torch.fft.irfft2(torch.fft.rfft2(white, norm="ortho") * level, s=canvas, norm="ortho")
    moved = latent.clone()
    moved[:, list(pattern.channels)] += STRENGTH * latent.std() * (shaped / shaped.std()).to(latent)
    change = (model.decode(moved) - model.decode(latent))[0].cpu()
    if callback:
        callback(1)
    return change
