"""Whether a sampler keeps the mark: found out by running it, not by its name."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ArgumentError

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin

__all__ = ["SamplerCheck", "check_sampler"]


@dataclass(frozen=True)
class SamplerCheck:
    """Whether a sampler keeps the mark; true or false as it stands.

    Attributes:
        keeps: Whether images still depend on their initial noise alone.
        reason: One sentence.
    """

    keeps: bool
    reason: str

    def __bool__(self) -> bool:
        return self.keeps


def check_sampler(pipeline: DiffusionPipeline | SchedulerMixin, steps: int = 4) -> SamplerCheck:
    """Whether a mark in the initial noise survives the sampler of a pipeline.

    A sampler that adds noise of its own on the way (Euler ancestral, DDPM, LCM, the SDE variants) washes the initial
    noise out. It is not judged by its name: a few of its steps are run twice from the same noise, and must end alike.
    DDIM is judged at its default, eta = 0; with `eta=1` in the call it adds noise, too.

    Arguments:
        pipeline: A diffusers pipeline, or a scheduler.
        steps: Steps to run.

    Raises:
        ArgumentError: If there is no sampler to judge.
    """
    scheduler = getattr(pipeline, "scheduler", pipeline)
    if not (hasattr(scheduler, "set_timesteps") and hasattr(scheduler, "step")):
        raise ArgumentError(f"a {type(pipeline).__name__} has no sampler: pass a diffusers pipeline or scheduler")
    if steps < 1:
        raise ArgumentError(f"{steps!r} steps judge nothing: run 1 at least")
    name = type(scheduler).__name__
    ends = []
    for seed in (0, 1):
        tried = copy.deepcopy(scheduler)
        start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                ends.append(_run(tried, start, steps, torch.Generator().manual_seed(seed)))
            except Exception as error:
                return SamplerCheck(False, f"{name} fails in {steps} steps, so it cannot be judged: {error}")
    if not torch.equal(*ends):
        return SamplerCheck(False, f"{name} adds noise of its own at every step: choose DDIM or DPM-Solver++")
    sigmas = getattr(tried, "sigmas", None)
    if sigmas is not None and len(sigmas) > steps and float(sigmas[-1]) == 0:
        of = "" if "final_sigmas_type" in scheduler.config else "DPM-Solver++ with "  # Not all have the option.
        advice = f"{of}final_sigmas_type='sigma_min' keeps more evidence"
        return SamplerCheck(True, f"{name} is deterministic, but goes down to zero noise: {advice}")
    return SamplerCheck(True, f"{name} is deterministic")


def _run(scheduler: SchedulerMixin, sample: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """The end of a few steps with a stand-in for the network, as a pipeline would make them."""
    scheduler.set_timesteps(steps)
    sample = sample * getattr(scheduler, "init_noise_sigma", 1.0)
    accepts = signature(scheduler.step).parameters
    options = {"generator": generator} if "generator" in accepts else {}
    for t in scheduler.timesteps:
        asked = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        sample = scheduler.step(0.1 * asked, t, sample, **options).prev_sample
    return sample
