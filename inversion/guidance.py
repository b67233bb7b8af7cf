"""Reconstruction at a guidance scale: which embeddings lead the sampler back to the latent it was inverted from.

Inverted at w = 1, a latent leaves a path of pivots `z*_0, ..., z*_n`, noise first. Sampled at w = 7.5 from `z*_0`,

    z_{i+1} = step(w eps(z_i, c) + (1 - w) eps(z_i, n)),

the path is left, because each step's error is multiplied. From the noise down, an embedding a step brings it back:

    null-text           n_i = argmin ||z_{i+1} - z*_{i+1}||^2, begun at n_{i-1}        (Mokady et al., CVPR 2023)
    prompt tuning       c_i in the place of n_i                                       (Dong et al., ICCV 2023)
    negative prompt     n_i = c: guided and unguided steps are the same, for free      (Miyake et al., 2023)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ..models.base import Denoiser
from ..models.guidance import extrapolated
from ..models.multistep import ddim
from ..models.schedule import Grid
from .diffusion import Correction, invert

__all__ = ["Tuned", "Tuning", "negative_prompt", "null_text", "prompt_tuning", "regenerate"]


@dataclass(frozen=True)
class Tuning:
    """How embeddings are optimised.

    Arguments:
        guidance_scale: Weight w of guidance.
        iterations: Updates of Adam in each step at most.
        learning_rate: At the first step; it falls to half at the last.
        tolerance: Mean squared distance from the pivot at which a step is left.
        correction: How the latent is inverted at w = 1.
    """

    guidance_scale: float = 7.5
    iterations: int = 10
    learning_rate: float = 1e-2
    tolerance: float = 1e-6
    correction: Correction = field(default_factory=lambda: Correction(iterations=10, tolerance=1e-4))


@dataclass(frozen=True)
class Tuned:
    """What reconstructs latents.

    Attributes:
        noise: Initial noise, with shape (B, C, ...).
        conditions, negatives: Embeddings of each step, with shape (B, L, D); as given where not optimised.
        guidance_scale: Weight that they are for.
        latent: What they make of the noise, with shape (B, C, ...).
        loss: Mean squared distance from the pivots, with shape (steps, B).
    """

    noise: Tensor
    conditions: tuple[Tensor, ...]
    negatives: tuple[Tensor, ...]
    guidance_scale: float
    latent: Tensor
    loss: Tensor


def null_text(
    denoiser: Denoiser,
    grid: Grid,
    latent: Tensor,
    condition: Tensor,
    negative: Tensor,
    how: Tuning = Tuning(),
) -> Tuned:
    """Null-text inversion: embeddings in the place of the empty prompt, one a step.

    Arguments:
        denoiser: Of the model.
        grid: Times of the DDIM sampler that is to reconstruct.
        latent: Clean latents with shape (B, C, ...).
        condition: Embedding of the prompts, with shape (B, L, D), or of one for all.
        negative: Embedding of the empty prompt, likewise.
        how: Settings.
    """
    return _tuned(denoiser, grid, latent, (condition, negative), 1, how)


def prompt_tuning(
    denoiser: Denoiser,
    grid: Grid,
    latent: Tensor,
    condition: Tensor,
    negative: Tensor,
    how: Tuning = Tuning(),
) -> Tuned:
    """Prompt-tuning inversion: embeddings in the place of the prompt, one a step; arguments as :func:`null_text`."""
    return _tuned(denoiser, grid, latent, (condition, negative), 0, how)


def negative_prompt(denoiser: Denoiser, grid: Grid, latent: Tensor, condition: Tensor, how: Tuning = Tuning()) -> Tuned:
    """Negative-prompt inversion: the prompt in the place of the empty one; arguments as :func:`null_text`."""
    return _tuned(denoiser, grid, latent, (condition, condition), None, how)


@torch.no_grad()
def regenerate(denoiser: Denoiser, grid: Grid, tuned: Tuned, condition: Tensor | None = None) -> Tensor:
    """Latents (B, C, ...) from what was tuned; with the embedding of another prompt, an edit of them."""
    z = tuned.noise
    for i, (positive, negative) in enumerate(zip(tuned.conditions, tuned.negatives, strict=True)):
        pair = (positive if condition is None else condition, negative)
        said = [denoiser.predict(z, grid.times[i], embedding) for embedding in pair]
        z = _step(grid, i, extrapolated(*said, tuned.guidance_scale))
    return z


def _tuned(
    denoiser: Denoiser, grid: Grid, latent: Tensor, pair: tuple[Tensor, Tensor], tune: int | None, how: Tuning
) -> Tuned:
    """Embeddings of each step; `tune` says which of the pair, (prompt, negative), is optimised."""
    with torch.no_grad():
        pivots = invert(partial(denoiser.predict, condition=pair[0]), ddim(grid), latent, how.correction).path
    z, used, losses = pivots[0], [], []
    embeddings = [e.detach() for e in pair]
    if tune is not None:
        embeddings[tune] = embeddings[tune].expand(len(z), *embeddings[tune].shape[1:])
    for i in range(grid.steps):
        if tune is not None:
            embeddings[tune] = _fit(denoiser, (grid, i), (z, pivots[i + 1]), embeddings, tune, how)
        with torch.no_grad():
            said = [denoiser.predict(z, grid.times[i], embedding) for embedding in embeddings]
            z = _step(grid, i, extrapolated(*said, how.guidance_scale))
        used.append(tuple(embeddings))
        losses.append((z - pivots[i + 1]).flatten(1).square().mean(dim=1).cpu())
    conditions, negatives = zip(*used, strict=True)
    return Tuned(pivots[0], conditions, negatives, how.guidance_scale, z, torch.stack(losses))


@torch.enable_grad()
def _fit(
    denoiser: Denoiser,
    at: tuple[Grid, int],
    states: tuple[Tensor, Tensor],
    embeddings: list[Tensor],
    tune: int,
    how: Tuning,
) -> Tensor:
    """The embedding that brings `z_i`, the first of the states, closest to the pivot, the second; each image's best."""
    (grid, i), (z, pivot) = at, states
    with torch.no_grad():
        fixed = denoiser.predict(z, grid.times[i], embeddings[1 - tune])
    value = embeddings[tune].clone().requires_grad_()
    adam = torch.optim.Adam([value], lr=how.learning_rate * (1 - 0.5 * i / grid.steps))
    best, least = value.detach().clone(), torch.full((len(z),), torch.inf, device=z.device)
    for k in range(how.iterations + 1):
        said = [fixed, fixed]
        said[tune] = denoiser.predict(z, grid.times[i], value)
        loss = (_step(grid, i, extrapolated(*said, how.guidance_scale)) - pivot).flatten(1).square().mean(dim=1)
        better = loss.detach() < least
        best[better], least[better] = value.detach()[better], loss.detach()[better].to(least.dtype)
        if k == how.iterations or (least <= how.tolerance).all():
            break
        (value.grad,) = torch.autograd.grad(loss.sum(), value)
        adam.step()
    return best


def _step(grid: Grid, i: int, prediction: tuple[Tensor, Tensor]) -> Tensor:
    """DDIM's step i."""
    x0, eps = prediction
    return grid.alpha[i + 1] * x0 + grid.sigma[i + 1] * eps
