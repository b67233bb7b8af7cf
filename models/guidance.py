"""Classifier-free guidance as a wrapper around a denoiser: `w x(c) + (1 - w) x(negative)`, of `x0` and `eps` alike."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from .base import Denoiser
from .multistep import Predictor

__all__ = ["extrapolated", "guided"]

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
