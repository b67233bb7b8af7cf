"""Washing a picture through a model: its autoencoder, or some noise and back.

    z = E(x),   z_t = alpha_t z + sigma_t eps,   eps ~ N(0, I),   z_t -> z by DDIM,   x = D(z)

The prompt is empty. Regeneration is that at the model's own size (Zhao et al., 2023, arXiv 2306.01953); a hires fix
enlarges the picture first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..images import to_image, to_tensor
from .detail import rescaled
from .kind import regenerates

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["KINDS"]

STEPS = 25
"""Steps of a whole sampling; a strength takes its share of them, and two at least."""

ENLARGED = 1.5
MULTIPLE = 8
"""Latents of sides of which every U-Net knows how to halve and double."""


@torch.no_grad()
def encoded(image: Image.Image, model: LatentDiffusion) -> Tensor:
    """The latent (1, C, h, w) of an image, scaled to the nearest size that suits the model."""
    step = model.downsampling * MULTIPLE
    width, height = (max(1, round(side / step)) * step for side in image.size)
    model.latent_shape(height, width)
    fitting = image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
    return model.encode(to_tensor(fitting)[None].to(model.device))


@torch.no_grad()
def decoded(latent: Tensor, size: tuple[int, int], model: LatentDiffusion) -> Image.Image:
    image = to_image(model.decode(latent)[0])
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


@torch.no_grad()
def renoised(latent: Tensor, t: float, rng: np.random.Generator, model: LatentDiffusion) -> Tensor:
    """A latent (1, C, h, w) with noise of a time t in (0, 1] added, and without it again."""
    predict, schedule = model.denoiser.predict, model.denoiser.schedule
    steps = max(2, math.ceil(STEPS * t))
    eps = torch.from_numpy(rng.standard_normal(latent.shape)).to(latent)
    x0 = latent
    for i in range(steps, 0, -1):
        now = t * i / steps
        alpha, sigma = schedule(now)
        x0, eps = predict(alpha * x0 + sigma * eps, now, model.unprompted)
    return x0


@regenerates(unit="round trips", span=(1, 20), sweep=(1, 3), whole=True)
def autoencoder(image: Image.Image, rounds: float, rng: np.random.Generator, model: LatentDiffusion) -> Image.Image:
    """Through the encoder and the decoder of a model and back."""
    for _ in range(int(rounds)):
        image = decoded(encoded(image, model), image.size, model)
    return image


@regenerates(unit="time", span=(0.01, 1), sweep=(0.05, 0.1, 0.2, 0.3, 0.5))
def regeneration(image: Image.Image, t: float, rng: np.random.Generator, model: LatentDiffusion) -> Image.Image:
    """Noise added up to a time from 0 to 1 and taken away by a model."""
    return decoded(renoised(encoded(image, model), t, rng, model), image.size, model)


@regenerates(unit="time", span=(0.01, 1), sweep=(0.2, 0.35, 0.5))
def hires_fix(image: Image.Image, t: float, rng: np.random.Generator, model: LatentDiffusion) -> Image.Image:
    """Enlarged by a half, then image to image at a strength, and left so large."""
    large = rescaled(image, ENLARGED)
    return decoded(renoised(encoded(large, model), t, rng, model), large.size, model)


KINDS = (autoencoder, regeneration, hires_fix)
