"""From the clean latent up the times of a schedule to the initial noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.base import Schedule
from .steps import Predictor, Steps

__all__ = ["DiffusionInversion", "Predictor", "ddim", "dpmsolver"]


@dataclass(frozen=True)
class DiffusionInversion:
    """What an inversion found.

    Attributes:
        noise: Recovered initial noise, with shape (B, C, ...), float32.
        residual: Largest relative residual of the implicit equations over the steps, with shape (B,); nan where no
            implicit equation was solved.
    """

    noise: Tensor
    residual: Tensor


def ddim(
    predict: Predictor,
    schedule: Schedule,
    latent: Tensor,
    *,
    steps: int = 5,
    evaluate_at: str = "middle",
    corrections: int = 0,
    callback: Callable[[int], None] | None = None,
) -> DiffusionInversion:
    """DDIM inversion; on the schedule of a rectified flow, that of its Euler steps.

    Arguments:
        predict: From `z_t` and t to `(x0, eps)`, prompt included.
        schedule: Levels by time.
        latent: Clean latents with shape (B, C, ...).
        steps: Number of steps.
        evaluate_at: Time of the naive prediction: `start` (s), `middle` or `end` (t).
        corrections: Fixed-point iterations on the implicit equation of each step; 0 is the naive inversion.
        callback: Called with the number of finished steps.
    """
    go = Steps(predict, schedule)

    def step(z: Tensor, s: float, t: float, r: float | None) -> tuple[Tensor, Tensor]:
        guess = go.naive(z, s, t, evaluate_at)
        if not corrections:
            return guess, torch.full((len(z),), torch.nan)
        return go.implicit(z, guess, s, t, None, corrections)

    return _run(step, schedule.times(steps), latent, callback)


def dpmsolver(
    predict: Predictor,
    schedule: Schedule,
    latent: Tensor,
    *,
    steps: int = 20,
    evaluate_at: str = "middle",
    corrections: int = 2,
    callback: Callable[[int], None] | None = None,
) -> DiffusionInversion:
    """Inversion of DPM-Solver++(2M): the same arguments as :func:`ddim`, with `corrections` at least 1."""
    go = Steps(predict, schedule)

    def step(z: Tensor, s: float, t: float, r: float | None) -> tuple[Tensor, Tensor]:
        guess = go.naive(z, s, t, evaluate_at)
        second_order = None if r is None else go.second_order(guess, s, t, r, evaluate_at)
        return go.implicit(z, guess, s, t, second_order, max(1, corrections))

    return _run(step, schedule.times(steps), latent, callback)


def _run(
    step: Callable[[Tensor, float, float, float | None], tuple[Tensor, Tensor]],
    times: list[float],
    latent: Tensor,
    callback: Callable[[int], None] | None,
) -> DiffusionInversion:
    """Go up the times; a step is told s, t and the next noisier r, and returns z_t with its residual."""
    z, worst = latent.float(), torch.full((len(latent),), torch.nan)
    for done, (s, t, r) in enumerate(zip(times, times[1:], [*times[2:], None], strict=False), start=1):
        z, residual = step(z, s, t, r)
        worst = torch.fmax(worst, residual)
        if callback:
            callback(done)
    return DiffusionInversion(z, worst)
