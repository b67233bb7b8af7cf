"""Clean latent -> initial noise: running the sampler backwards.

With `a_t = sqrt(alphas_cumprod[t])`, `s_t = sqrt(1 - alphas_cumprod[t])`, `lambda_t = log(a_t / s_t)` and the data
prediction `x0(z_t) = (z_t - s_t eps(z_t, t)) / a_t`, one sampling step from t to the less noisy s is, with
`h = lambda_s - lambda_t`,

    z_s = (s_s / s_t) z_t - a_s expm1(-h) D_t,
    D_t = x0(z_t)                                               DDIM, first order
    D_t = x0(z_t) + (x0(z_t) - x0(z_r)) / (2 rho)               DPM-Solver++(2M), rho = (lambda_t - lambda_r) / h

Inversion knows `z_s` and looks for `z_t`. The naive answer puts `eps(z_s, .)` in the place of `eps(z_t, t)`, which is
unknown; the exact one solves the implicit equation for `z_t` by fixed-point iteration from there (Hong et al., CVPR
2024, arXiv 2311.18387), with the second-order term estimated once by naive steps and frozen.

At which timestep the naive step asks for `eps(z_s, .)` matters. The literature takes s or t; the middle of the two
reads a key better after compression and noise than s, and better than t in few steps.

Solvers are functions of a noise predictor `eps(z, t)` and a schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["METHODS", "DiffusionInversion", "ddim", "dpmsolver", "inversion_timesteps"]

Predictor = Callable[[Tensor, int], Tensor]

EVALUATE_AT = {"start": lambda s, t: s, "middle": lambda s, t: (s + t) // 2, "end": lambda s, t: t}

START_OF_SAMPLING = 0.98
"""Samplers begin between 0.95 and 1 of the training timesteps; inversion ends here."""


@dataclass(frozen=True)
class DiffusionInversion:
    """What an inversion found.

    Attributes:
        noise: Recovered initial noise, with shape (B, C, h, w), float32.
        residual: Largest relative residual of the implicit equations over the steps, with shape (B,); nan where no
            implicit equation was solved.
    """

    noise: Tensor
    residual: Tensor


def inversion_timesteps(training_steps: int, steps: int) -> list[int]:
    """Increasing timesteps, from 0 (the clean latent) to the start of sampling, `steps + 1` in all."""
    if steps < 1:
        raise ValueError(f"an inversion needs at least 1 step, got {steps}")
    last = round(START_OF_SAMPLING * (training_steps - 1))
    return [round(last * i / steps) for i in range(steps + 1)]


def ddim(
    predict: Predictor,
    alphas_cumprod: Tensor,
    latent: Tensor,
    *,
    steps: int = 5,
    evaluate_at: str = "middle",
    corrections: int = 0,
    callback: Callable[[int], None] | None = None,
) -> DiffusionInversion:
    """DDIM inversion.

    Arguments:
        predict: Noise predictor `eps(z, t)`, prompt included.
        alphas_cumprod: Squared signal levels with shape (T,).
        latent: Clean latents with shape (B, C, h, w).
        steps: Number of steps.
        evaluate_at: Timestep of the naive prediction: `start` (s), `middle` or `end` (t).
        corrections: Fixed-point iterations on the implicit equation of each step; 0 is the naive inversion.
        callback: Called with the number of finished steps.
    """
    schedule = _Schedule(predict, alphas_cumprod)

    def step(z: Tensor, s: int, t: int, r: int | None) -> tuple[Tensor, Tensor]:
        guess = schedule.naive_step(z, s, t, evaluate_at)
        if not corrections:
            return guess, torch.full((len(z),), torch.nan)
        return schedule.implicit_step(z, guess, s, t, 0.0, corrections)

    return _run(step, inversion_timesteps(len(alphas_cumprod), steps), latent, callback)


def dpmsolver(
    predict: Predictor,
    alphas_cumprod: Tensor,
    latent: Tensor,
    *,
    steps: int = 20,
    evaluate_at: str = "middle",
    corrections: int = 2,
    callback: Callable[[int], None] | None = None,
) -> DiffusionInversion:
    """Inversion of DPM-Solver++(2M): the same arguments as :func:`ddim`, with `corrections` at least 1."""
    schedule = _Schedule(predict, alphas_cumprod)

    def step(z: Tensor, s: int, t: int, r: int | None) -> tuple[Tensor, Tensor]:
        guess, second_order = schedule.naive_step(z, s, t, evaluate_at), 0.0
        if r is not None:
            rho = (schedule.log_snr(t) - schedule.log_snr(r)) / (schedule.log_snr(s) - schedule.log_snr(t))
            before = schedule.naive_step(guess, t, r, evaluate_at)
            second_order = (schedule.data(guess, t) - schedule.data(before, r)) / (2 * rho)
        return schedule.implicit_step(z, guess, s, t, second_order, max(1, corrections))

    return _run(step, inversion_timesteps(len(alphas_cumprod), steps), latent, callback)


METHODS: dict[str, Callable[..., DiffusionInversion]] = {"ddim": ddim, "dpmsolver++": dpmsolver}
"""Diffusion inversions by the name that the command line and the records use."""


def _run(
    step: Callable[[Tensor, int, int, int | None], tuple[Tensor, Tensor]],
    times: list[int],
    latent: Tensor,
    callback: Callable[[int], None] | None,
) -> DiffusionInversion:
    """Go up the timesteps; a step is told s, t and the next noisier r, and returns z_t with its residual."""
    z, worst = latent.float(), torch.full((len(latent),), torch.nan)
    for done, (s, t, r) in enumerate(zip(times, times[1:], [*times[2:], None], strict=False), start=1):
        z, residual = step(z, s, t, r)
        worst = torch.fmax(worst, residual)
        if callback:
            callback(done)
    return DiffusionInversion(z, worst)


class _Schedule:
    """The noise predictor together with the levels a_t, s_t."""

    def __init__(self, predict: Predictor, alphas_cumprod: Tensor) -> None:
        self.predict = predict
        self.signal = alphas_cumprod.double().sqrt().tolist()
        self.sigma = (1 - alphas_cumprod.double()).sqrt().tolist()

    def log_snr(self, t: int) -> float:
        return math.log(self.signal[t] / self.sigma[t])

    def data(self, z: Tensor, t: int) -> Tensor:
        """Data prediction x0(z_t)."""
        return (z - self.sigma[t] * self.predict(z, t)) / self.signal[t]

    def naive_step(self, z: Tensor, s: int, t: int, evaluate_at: str) -> Tensor:
        noise = self.predict(z, max(1, EVALUATE_AT[evaluate_at](s, t)))
        return self.signal[t] * (z - self.sigma[s] * noise) / self.signal[s] + self.sigma[t] * noise

    def implicit_step(
        self, z_s: Tensor, guess: Tensor, s: int, t: int, second_order: Tensor | float, corrections: int
    ) -> tuple[Tensor, Tensor]:
        """Solve the sampling step for z_t by fixed-point iteration; keeps the best iterate of each image.

        With `x0` written out and `E` the second-order term, the step reads

            z_t = (a_t / a_s) (z_s + a_s expm1(-h) E) + (s_t - a_t s_s / a_s) eps(z_t, t).

        In this form the unknown stands inside `eps` alone, whose factor is small at every noise level; solved for the
        data prediction, the map is no contraction near the clean latent.
        """
        h = self.log_snr(s) - self.log_snr(t)
        fixed = self.signal[t] / self.signal[s] * (z_s + self.signal[s] * math.expm1(-h) * second_order)
        gain = self.sigma[t] - self.signal[t] * self.sigma[s] / self.signal[s]
        best, smallest = guess, torch.full((len(guess),), torch.inf, device=guess.device)
        for _ in range(corrections + 1):
            update = fixed + gain * self.predict(guess, t)
            residual = (update - guess).flatten(1).norm(dim=1) / guess.flatten(1).norm(dim=1).clamp_min(1e-12)
            better = residual < smallest
            best = torch.where(better[:, None, None, None], guess, best)
            smallest = torch.where(better, residual, smallest)
            guess = update
        return best, smallest.cpu()
