"""Clean latent -> initial noise: running the sampler backwards.

With `z_t = alpha_t x0 + sigma_t eps`, `lambda_t = log(alpha_t / sigma_t)` and the data prediction `x0(z_t)`, one
sampling step from t to the less noisy s is, with `h = lambda_s - lambda_t`,

    z_s = (sigma_s / sigma_t) z_t - alpha_s expm1(-h) D_t,
    D_t = x0(z_t)                                               DDIM, first order; Euler on a rectified flow
    D_t = x0(z_t) + (x0(z_t) - x0(z_r)) / (2 rho)               DPM-Solver++(2M), rho = (lambda_t - lambda_r) / h

Inversion knows `z_s` and looks for `z_t`. The naive answer puts `eps(z_s, .)` in the place of `eps(z_t, t)`, which is
unknown; the exact one solves the implicit equation for `z_t` by fixed-point iteration from there (Hong et al., CVPR
2024, arXiv 2311.18387), with the second-order term estimated once by naive steps and frozen.

At which time the naive step asks for `eps(z_s, .)` matters. The literature takes s or t; the middle of the two reads a
key better after compression and noise than s, and better than t in few steps.

Solvers are functions of a predictor `(z, t) -> (x0, eps)` and a schedule, for latents of any rank.
"""

from __future__ import annotations

from .solvers import DiffusionInversion, Predictor, ddim, dpmsolver

__all__ = ["DiffusionInversion", "Predictor", "ddim", "dpmsolver"]
