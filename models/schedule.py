"""Signal and noise levels at a time t from 0, the clean latent, to 1.

discrete     alpha_t = sqrt(alphas_cumprod[i]),  sigma_t = sqrt(1 - alphas_cumprod[i]),  i = t (T - 1) a timestep
rectified    alpha_t = 1 - t,  sigma_t = t                                               (rectified flow)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from torch import Tensor

    from .base import Schedule

__all__ = ["DiscreteSchedule", "Grid", "RectifiedSchedule", "visited"]

FEWEST = 50
"""Training timesteps below which a schedule is taken for a mistake."""

START_OF_SAMPLING = 0.98
"""Samplers begin between 0.95 and 1 of the training timesteps; inversion ends here."""


@dataclass(frozen=True)
class Grid:
    """The times that a sampler goes through, noisiest first, and the levels it takes there.

    Attributes:
        times: `t_0 > t_1 > ... > t_n`. The network is asked at all but the last.
        alpha, sigma: Signal and noise levels at each.
    """

    times: tuple[float, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]

    @classmethod
    def of(cls, schedule: Schedule, steps: int) -> Grid:
        """The times of a schedule, in `steps` steps."""
        return cls.at(schedule, schedule.times(steps)[::-1])

    @classmethod
    def at(cls, schedule: Schedule, times: Iterable[float]) -> Grid:
        """Given times, noisiest first, with the levels of a schedule."""
        times = tuple(times)
        alpha, sigma = zip(*map(schedule, times), strict=True)
        return cls(times, alpha, sigma)

    @property
    def steps(self) -> int:
        """Number n of steps."""
        return len(self.times) - 1

    def log_snr(self, i: int) -> float:
        """`lambda_i = log(alpha_i / sigma_i)`, infinite where one of them is 0."""
        if not self.alpha[i] or not self.sigma[i]:
            return math.inf if self.alpha[i] else -math.inf
        return math.log(self.alpha[i] / self.sigma[i])


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
        raise ModelError(f"the steps of a {type(scheduler).__name__} are not known: take DDIM, DPM-Solver++ or UniPC")
    times = tuple(i / last for i in (*asked, max(0, end)))
    return Grid(times, tuple(math.sqrt(level) for level in levels), tuple(math.sqrt(1 - level) for level in levels))


class DiscreteSchedule:
    """The levels of a model that was trained at T timesteps.

    Arguments:
        alphas_cumprod: Squared signal levels, with shape (T,), decreasing.

    Raises:
        ModelError: If they are not finite, not in [0, 1], not decreasing, or fewer than 50.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        squares = alphas_cumprod.double()
        if len(squares) < FEWEST:
            raise ModelError(f"the model's scheduler has {len(squares)} training timesteps: it needs {FEWEST} at least")
        in_range = ((squares >= 0) & (squares <= 1)).all() and (squares.diff() <= 0).all()  # False for NaN as well.
        if not in_range:
            raise ModelError("the noise levels of the scheduler do not decrease from 1 to 0: its betas are broken")
        self.alpha, self.sigma = squares.sqrt().tolist(), (1 - squares).sqrt().tolist()

    @property
    def timesteps(self) -> int:
        """Number T of training timesteps."""
        return len(self.alpha)

    def timestep(self, t: float) -> int:
        """The training timestep at a time, or before it: networks are asked at whole ones."""
        return min(int(t * (self.timesteps - 1) + 1e-6), self.timesteps - 1)

    def __call__(self, t: float) -> tuple[float, float]:
        i = self.timestep(t)
        return self.alpha[i], self.sigma[i]

    def times(self, steps: int) -> list[float]:
        steps, last = _positive(steps), round(START_OF_SAMPLING * (self.timesteps - 1))
        return [round(last * i / steps) / (self.timesteps - 1) for i in range(steps + 1)]


@dataclass(frozen=True)
class RectifiedSchedule:
    """The straight path of a rectified flow (Liu et al., ICLR 2023), its times shifted towards the noise.

    Arguments:
        shift: `t -> shift t / (1 + (shift - 1) t)` of evenly spaced times, as in Stable Diffusion 3.
    """

    shift: float = 1.0

    def __call__(self, t: float) -> tuple[float, float]:
        return 1 - t, t

    def times(self, steps: int) -> list[float]:
        steps = _positive(steps)
        even = [i / steps for i in range(steps + 1)]
        return [self.shift * t / (1 + (self.shift - 1) * t) for t in even]


def _positive(steps: int) -> int:
    if steps < 1:
        raise ArgumentError(f"an inversion of {steps} steps is not possible: take 1 at least")
    return steps
