"""diffusers' own inverse schedulers, run as they are meant to be: what benchmarks compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .multistep import Predictor
from .quiet import quiet
from .schedule import DiscreteSchedule

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

__all__ = ["RIVALS", "inverted_by_diffusers"]

RIVALS = {"ddim": "DDIMInverseScheduler", "dpmsolver++": "DPMSolverMultistepInverseScheduler"}
"""Inverse schedulers by the sampler that they invert."""


@torch.no_grad()
def inverted_by_diffusers(
    predict: Predictor, schedule: DiscreteSchedule, scheduler: SchedulerMixin, sampler: str, latent: Tensor, steps: int
) -> Tensor:
    """Initial noise (B, C, ...) of clean latents, by diffusers' inverse of a sampler.

    Arguments:
        predict: From `z_t` and t to `(x0, eps)`, prompt included.
        schedule: Levels by time.
        scheduler: The pipeline's, whose configuration the inverse one takes.
        sampler: A name in :data:`RIVALS`.
        latent: Clean latents.
        steps: Number of steps.
    """
    import diffusers

    with quiet():
        inverse = getattr(diffusers, RIVALS[sampler]).from_config(scheduler.config, prediction_type="v_prediction")
        inverse.set_timesteps(steps)
    z = latent.float()
    for timestep in inverse.timesteps.tolist():
        t = timestep / (schedule.timesteps - 1)
        alpha, sigma = schedule(t)
        x0, eps = predict(z, t)
        z = inverse.step(alpha * eps - sigma * x0, timestep, z).prev_sample
    return z
