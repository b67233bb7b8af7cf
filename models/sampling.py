"""How an image is sampled: the settings as a value, and the samplers by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

from ..errors import ModelError
from .schedule import Grid

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, SchedulerMixin, UniPCMultistepScheduler

__all__ = ["LONGEST", "SCHEDULERS", "Sampling", "visited"]

LONGEST, STRONGEST = 1000, 100
"""Steps and guidance at most."""


def ddim(config: Mapping) -> DDIMScheduler:
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(config)


def dpmsolver(config: Mapping) -> DPMSolverMultistepScheduler:
    from diffusers import DPMSolverMultistepScheduler

    # Sampling ends at the lowest noise level, as DDIM does with Stable Diffusion's settings, not at zero: what is left
    # of the initial noise there carries most of the evidence in smooth images.
    return DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="sigma_min"
    )


def unipc(config: Mapping) -> UniPCMultistepScheduler:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler.from_config(config, solver_order=2, final_sigmas_type="sigma_min")


SCHEDULERS: dict[str, Callable[[Mapping], SchedulerMixin]] = {
    "ddim": ddim,
    "dpmsolver++": dpmsolver,
    "unipc": unipc,
    "wired": ddim,
}
"""From the configuration of a pipeline's scheduler to a deterministic one, by the name that records use.

The wired sampler (:mod:`.wired`) goes through DDIM's times with steps of its own.

Euler's method on noise levels, `EulerDiscreteScheduler`, is DDIM in other coordinates and makes the same images.
"""


def visited(scheduler: SchedulerMixin, steps: int) -> Grid:
    """The times and levels that a scheduler of diffusers goes through: what is to be inverted is its own steps.

    Arguments:
        scheduler: DDIM with leading timesteps, DPM-Solver++, UniPC, or Euler on a rectified flow.
        steps: Number of steps.

    Raises:
        ModelError: If it is another one, or its times depend on the size of the image.
    """
    import diffusers

    settings = scheduler.config
    if settings.get("use_dynamic_shifting"):
        raise ModelError("the times of its scheduler depend on the image's size (use_dynamic_shifting): turn that off")
    scheduler.set_timesteps(steps)
    asked, last = scheduler.timesteps.tolist(), settings.num_train_timesteps - 1
    if isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler):
        noise = scheduler.sigmas.tolist()
        return Grid(tuple(noise), tuple(1 - t for t in noise), tuple(noise))
    if isinstance(scheduler, diffusers.DDIMScheduler):
        squares, end = scheduler.alphas_cumprod.double(), asked[-1] - settings.num_train_timesteps // steps
        final = squares[end] if end >= 0 else scheduler.final_alpha_cumprod.double()
        levels = [*squares[asked].tolist(), float(final)]
    elif isinstance(scheduler, diffusers.DPMSolverMultistepScheduler | diffusers.UniPCMultistepScheduler):
        end, levels = 0, (1 / (1 + scheduler.sigmas.double() ** 2)).tolist()
    else:
        raise ModelError(f"the steps of a {type(scheduler).__name__} are not known: choose {', '.join(SCHEDULERS)}")
    times = tuple(i / last for i in (*asked, max(0, end)))
    return Grid(times, tuple(math.sqrt(level) for level in levels), tuple(math.sqrt(1 - level) for level in levels))


@dataclass(frozen=True)
class Sampling:
    """How images are sampled.

    Arguments:
        steps: Sampling steps, from 1 to 1000.
        guidance_scale: Weight w of classifier-free guidance, from 0 to 100; 1 turns it off.
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
        if not (isinstance(self.steps, Integral) and 1 <= self.steps <= LONGEST):
            raise ModelError(f"{self.steps!r} sampling steps are not possible: choose from 1 to {LONGEST}")
        guidance = self.guidance_scale
        if not (isinstance(guidance, Real) and 0 <= guidance <= STRONGEST):  # False for NaN as well.
            raise ModelError(f"the guidance scale {guidance!r} is not a number from 0 to {STRONGEST}")
        if not (isinstance(self.scheduler, str) and self.scheduler in SCHEDULERS):
            raise ModelError(f"unknown scheduler {self.scheduler!r}: choose one of {', '.join(SCHEDULERS)}")
        if not isinstance(self.negative_prompt, str):
            raise ModelError(f"the negative prompt {self.negative_prompt!r} is not a text")
        # Numbers of other libraries as Python's own, which records can hold.
        object.__setattr__(self, "steps", int(self.steps))
        object.__setattr__(self, "guidance_scale", float(guidance))
