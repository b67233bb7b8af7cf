"""How an image is sampled: the settings as a value, and the samplers by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import ModelError

__all__ = ["SCHEDULERS", "SamplerCheck", "Sampling", "check_sampler"]

LONGEST = 1000


def ddim(config: Mapping):
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(config)


def dpmsolver(config: Mapping):
    from diffusers import DPMSolverMultistepScheduler

    # Sampling ends at the lowest noise level, as DDIM does with Stable Diffusion's settings, not at zero: what is left
    # of the initial noise there carries most of the evidence in smooth images.
    return DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="sigma_min"
    )


SCHEDULERS: dict[str, Callable] = {"ddim": ddim, "dpmsolver++": dpmsolver}
"""From the configuration of a pipeline's scheduler to a deterministic one, by the name that records use."""


@dataclass(frozen=True)
class Sampling:
    """How images are sampled.

    Arguments:
        steps: Sampling steps, from 1 to 1000.
        guidance_scale: Weight w of classifier-free guidance; 1 turns it off.
        scheduler: A name in :data:`SCHEDULERS`.
        negative_prompt: Prompt in the place of the empty one.

    Raises:
        ModelError: If a value is out of its range.
    """

    steps: int = 50
    guidance_scale: float = 7.5
    scheduler: str = "ddim"
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= LONGEST:
            raise ModelError(f"{self.steps!r} sampling steps are not possible: choose from 1 to {LONGEST}")
        if not (math.isfinite(self.guidance_scale) and self.guidance_scale >= 0):
            raise ModelError(f"the guidance scale {self.guidance_scale!r} is not a number of 0 or more")
        if self.scheduler not in SCHEDULERS:
            raise ModelError(f"unknown scheduler {self.scheduler!r}: choose one of {', '.join(SCHEDULERS)}")


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


def check_sampler(pipeline, steps: int = 4) -> SamplerCheck:
    """Whether a mark in the initial noise survives the sampler of a pipeline.

    A sampler that adds noise of its own on the way (Euler ancestral, DDPM, LCM, the SDE variants) washes the initial
    noise out. It is not judged by its name: a few of its steps are run twice from the same noise, and must end alike.
    DDIM is judged at its default, eta = 0; with `eta=1` in the call it adds noise, too.

    Arguments:
        pipeline: A diffusers pipeline, or a scheduler.
        steps: Steps to run.
    """
    import copy

    import torch

    scheduler = getattr(pipeline, "scheduler", pipeline)
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
        return SamplerCheck(
            True,
            f"{name} is deterministic, but goes down to zero noise: final_sigmas_type='sigma_min' keeps more evidence",
        )
    return SamplerCheck(True, f"{name} is deterministic")


def _run(scheduler, sample, steps: int, generator):
    """The end of a few steps with a stand-in for the network, as a pipeline would make them."""
    from inspect import signature

    scheduler.set_timesteps(steps)
    sample = sample * getattr(scheduler, "init_noise_sigma", 1.0)
    accepts = signature(scheduler.step).parameters
    options = {"generator": generator} if "generator" in accepts else {}
    for t in scheduler.timesteps:
        asked = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        sample = scheduler.step(0.1 * asked, t, sample, **options).prev_sample
    return sample
