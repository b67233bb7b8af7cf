"""One step against the direction of sampling, naive or implicit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.base import Schedule

__all__ = ["Predictor", "Steps"]

Predictor = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""Data and noise prediction `(x0, eps)` of latents `z_t` at a time t, prompt included."""

EVALUATE_AT: dict[str, Callable[[float, float], float]] = {
    "start": lambda s, t: s,
    "middle": lambda s, t: (s + t) / 2,
    "end": lambda s, t: t,
}
"""The time between s and t at which a naive step asks the network."""


@dataclass(frozen=True)
class Steps:
    """A predictor together with the levels alpha_t, sigma_t; every step goes from s to the noisier t."""

    predict: Predictor
    schedule: Schedule

    def log_snr(self, t: float) -> float:
        """`lambda_t`."""
        alpha, sigma = self.schedule(t)
        return math.log(alpha / sigma)

    def naive(self, z: Tensor, s: float, t: float, evaluate_at: str) -> Tensor:
        """`z_t` with `eps(z_s, .)` in the place of `eps(z_t, t)`."""
        (alpha_s, sigma_s), (alpha_t, sigma_t) = self.schedule(s), self.schedule(t)
        _, noise = self.predict(z, EVALUATE_AT[evaluate_at](s, t))
        return alpha_t * (z - sigma_s * noise) / alpha_s + sigma_t * noise

    def second_order(self, guess: Tensor, s: float, t: float, r: float, evaluate_at: str) -> Tensor:
        """`(x0(z_t) - x0(z_r)) / (2 rho)`, `z_r` at the next noisier time by a naive step from a guess at `z_t`."""
        rho = (self.log_snr(t) - self.log_snr(r)) / (self.log_snr(s) - self.log_snr(t))
        before = self.naive(guess, t, r, evaluate_at)
        return (self.predict(guess, t)[0] - self.predict(before, r)[0]) / (2 * rho)

    def implicit(
        self, z_s: Tensor, guess: Tensor, s: float, t: float, second_order: Tensor | None, corrections: int
    ) -> tuple[Tensor, Tensor]:
        """Solve the sampling step for z_t by fixed-point iteration; keeps the best iterate of each image.

        With `x0` written out and `E` the second-order term, the step reads

            z_t = (alpha_t / alpha_s) (z_s + alpha_s expm1(-h) E) + (sigma_t - alpha_t sigma_s / alpha_s) eps(z_t, t).

        In this form the unknown stands inside `eps` alone, whose factor is small at every noise level; solved for the
        data prediction, the map is no contraction near the clean latent.

        Returns:
            `z_t` with the shape of `z_s`, and the relative residual of each, with shape (B,), on the CPU.
        """
        (alpha_s, sigma_s), (alpha_t, sigma_t) = self.schedule(s), self.schedule(t)
        if second_order is not None:
            z_s = z_s + alpha_s * math.expm1(self.log_snr(t) - self.log_snr(s)) * second_order
        fixed = alpha_t / alpha_s * z_s
        gain = sigma_t - alpha_t * sigma_s / alpha_s
        best, smallest = guess, torch.full((len(guess),), torch.inf, device=guess.device)
        for _ in range(corrections + 1):
            update = fixed + gain * self.predict(guess, t)[1]
            residual = (update - guess).flatten(1).norm(dim=1) / guess.flatten(1).norm(dim=1).clamp_min(1e-12)
            better = residual < smallest
            best = torch.where(better.reshape(-1, *[1] * (guess.ndim - 1)), guess, best)
            smallest = torch.where(better, residual, smallest)
            guess = update
        return best, smallest.cpu()
