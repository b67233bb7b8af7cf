"""A picture of which few pixels are left, restored by a model: compressed sensing with `A` the choice of pixels.

    f = A^T y, filled in by interpolation            z_T = alpha_T E(f) + sigma_T eps(E(f))
    a few sampling steps, each told of f and of A, wired reversibly
    x = D(z_0)                                       x <- x - A^T (A x - y)

after IDM (TPAMI 2025, arXiv 2403.17006), which injects the measurements into the U-Net and trains through the whole
chain; here the U-Net stays as it is and a small network beside it is trained (:mod:`..models.restorer`). The wiring is
that of :mod:`..models.wired`; its gradient keeps no activations (:mod:`.wiring`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..models.latent_diffusion import LatentDiffusion
from ..models.restorer import Restorer
from ..models.schedule import Grid
from ..models.wired import blocks
from .wiring import reversible

__all__ = ["filled", "kept_pixels", "restore", "restored_latent"]

MIX = 0.5
"""v of the wiring: less than the sampler's, which multiplies what the predictions of two steps differ by."""


def kept_pixels(size: Sequence[int], ratio: float, generator: torch.Generator, patch: int = 1) -> Tensor:
    """A random choice of pixels, (H, W), bool, of which a share is true.

    Arguments:
        size: H and W.
        ratio: The share.
        generator: Draws them.
        patch: Side in pixels of the squares that are kept or gone as a whole.
    """
    coarse = torch.rand([-(-side // patch) for side in size], generator=generator) < ratio
    return coarse.repeat_interleave(patch, 0).repeat_interleave(patch, 1)[: size[0], : size[1]]


def filled(image: Tensor, known: Tensor) -> Tensor:
    """Pictures with what is not known interpolated: the mean of the smallest neighbourhood in which anything is known.

    Arguments:
        image: Pictures with shape (B, 3, H, W); what is not known may hold anything.
        known: With shape (B, 1, H, W), bool.
    """
    weight = known.to(image)
    sums, weights = image * weight, weight
    levels = [(sums, weights)]
    while min(sums.shape[-2:]) > 1:
        sums, weights = (avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (sums, weights))
        levels.append((sums, weights))
    sums, weights = levels.pop()
    guess = sums / weights.clamp_min(1e-6)
    while levels:
        sums, weights = levels.pop()
        guess = interpolate(guess, size=sums.shape[-2:], mode="bilinear", align_corners=False)
        share = (weights > 0).to(image)
        guess = share * sums / weights.clamp_min(1e-6) + (1 - share) * guess
    return guess


def restored_latent(model: LatentDiffusion, restorer: Restorer, guess: Tensor, known: Tensor) -> Tensor:
    """Latents (B, C, h, w) of pictures, by the wired chain; differentiable by the restorer's weights.

    Arguments:
        model: The model whose U-Net takes the steps, the prompt unknown.
        restorer: What tells it of the pictures.
        guess: Latents of the pictures as :func:`filled`, with shape (B, C, h, w).
        known: Which pixels are known, with shape (B, 1, H, W).
    """
    share = avg_pool2d(known.to(guess), model.downsampling)
    grid = Grid.at(model.denoiser.schedule, restorer.times)
    predict = partial(model.denoiser.predict, condition=model.unprompted)
    with torch.no_grad():
        start = grid.alpha[0] * guess + grid.sigma[0] * predict(guess, grid.times[0])[1]
    steps = blocks(restorer.injected(predict, grid, guess, share), grid, MIX)
    mix = torch.full((grid.steps,), MIX, device=guess.device)
    return reversible(steps, start, start, mix, list(restorer.net.parameters()))[0]


@torch.no_grad()
def restore(model: LatentDiffusion, restorer: Restorer, image: Tensor, known: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1], restored where they are not known, (B, 1, H, W)."""
    image, known = image.to(model.device), known.to(model.device)
    guess = model.encode(filled(image, known)).float()
    made = model.decode(restored_latent(model, restorer, guess, known)).float().clamp(-1, 1)
    return torch.where(known, image, made)
