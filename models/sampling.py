"""How an image is sampled: the settings as a value, and the samplers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, SchedulerMixin, UniPCMultistepScheduler

__all__ = ["LONGEST", "SCHEDULERS", "Sampling"]

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
