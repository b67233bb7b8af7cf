"""Classifier-free guidance as a wrapper around a denoiser: `w x(c) + (1 - w) x(negative)`, of `x0` and `eps` alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from .base import Condition, Denoiser
from .multistep import MULTISTEP, Predictor, sample
from .sampling import Sampling
from .schedule import Grid
from .wired import blocks, sample_wired

__all__ = ["extrapolated", "generate_on", "guided"]

Prediction = tuple[Tensor, Tensor]


def extrapolated(positive: Prediction, negative: Prediction, scale: float) -> Prediction:
    """Data and noise prediction at a guidance scale w, from those for a prompt and for its negative."""
    (x0, eps), (no_x0, no_eps) = positive, negative
    return no_x0 + scale * (x0 - no_x0), no_eps + scale * (eps - no_eps)


def guided(denoiser: Denoiser, condition: Any, negative: Any, scale: float) -> Predictor:
    """The predictor of a prompt at a guidance scale; up to 1 there is no guidance, as in diffusers."""
    if scale <= 1:
        return partial(denoiser.predict, condition=condition)
    return lambda z, t: extrapolated(denoiser.predict(z, t, condition), denoiser.predict(z, t, negative), scale)


def generate_on(
    grid: Grid,
    denoiser: Denoiser,
    encode_prompts: Condition,
    noise: Tensor,
    prompts: list[str],
    sampling: Sampling,
    callback: Callable[[int], None] | None = None,
) -> Tensor:
    """Clean latents from initial noise (B, C, ...) by a sampler of our own, on given times.

    Arguments:
        grid: Times and levels; the sampling's number of steps is not looked at.
        denoiser, encode_prompts: Of the model.
        noise, prompts, sampling, callback: As in :data:`~.base.Generate`.
    """
    condition, negative = encode_prompts(prompts), encode_prompts([sampling.negative_prompt])
    predict = guided(denoiser, condition, negative, sampling.guidance_scale)
    if sampling.scheduler == "wired":
        return sample_wired(blocks(predict, grid), noise, callback=callback)[0]
    return sample(predict, MULTISTEP[sampling.scheduler](grid), noise, callback)
