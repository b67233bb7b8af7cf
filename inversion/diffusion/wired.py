"""The inverse of the wired sampler (:mod:`...models.wired`): algebra, one network call a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...models import multistep
from ...models.base import Schedule
from ...models.multistep import Predictor
from ...models.schedule import Grid
from ...models.wired import MIX, Block, blocks, unwire
from .solvers import DiffusionInversion, invert

__all__ = ["unwired", "wired"]


def unwired(steps: Sequence[Block], y1: Tensor, y2: Tensor, v: float = MIX) -> tuple[Tensor, ...]:
    """States from the initial noise to `y1`, with shape (B, C, ...) each, of both that the wired sampler ended in."""
    path = [y1, y2]
    for block in reversed(steps[1:]):
        path.append(unwire(block, path[-2], path[-1], v)[1])
    return tuple(reversed(path))


@torch.no_grad()
def wired(
    predict: Predictor,
    schedule: Schedule,
    latent: Tensor,
    *,
    steps: int = 5,
    previous: Tensor | None = None,
    callback: Callable[[int], None] | None = None,
) -> DiffusionInversion:
    """The wired sampler's noise, by algebra.

    Arguments:
        predict: From `z_t` and t to `(x0, eps)`, prompt included.
        schedule: Levels by time.
        latent: Clean latents with shape (B, C, ...), the first of the two states that the sampler ends in.
        steps: Number of steps.
        previous: The second state. Nobody who has an image only knows it; None solves DDIM's last step for it.
        callback: Called with the number of finished steps.
    """
    grid = Grid.of(schedule, steps)
    calls = steps - 1
    if previous is None:
        last = Grid(grid.times[-2:], grid.alpha[-2:], grid.sigma[-2:])
        found = invert(predict, multistep.ddim(last), latent)
        previous, calls = found.noise, calls + int(found.calls.max())
    path = unwired(blocks(predict, grid), latent.to(previous.dtype), previous)
    if callback:
        callback(steps)
    unknown = torch.full((len(latent),), torch.nan)
    return DiffusionInversion(path[0], unknown, unknown > 0, torch.full((len(latent),), calls), path)
