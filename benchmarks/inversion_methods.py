"""What `wmark bench inversion` compares: samplers, and ways back from their latents to the noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..inversion.diffusion import Correction, invert, naive, predictor_corrector, unwired, wired
from ..inversion.diffusion.solvers import noisier
from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import MULTISTEP, Predictor
from ..models.rivals import RIVALS, inverted_by_diffusers
from ..models.sampling import SCHEDULERS
from ..models.schedule import Grid, visited
from ..models.wired import blocks, sample_wired

__all__ = ["CAPS", "SOLVERS", "TEXTBOOK", "TOLERANCES", "Cell", "Method", "cells", "methods_of"]

SHORT = 5
"""Steps of the inversion that `wmark verify` runs, whatever the sampler took."""

SOLVERS, TEXTBOOK, CAPS = ("fixed-point", "anderson"), "backward Euler", (1, 2, 4, 8)
"""The two solvers, plain fixed point of backward Euler, and after how many updates of a step they are compared."""

TOLERANCES, MOST = (0.1, 0.03, 0.01, 0.001), 16
"""Residuals at which the accelerated solver and the plain one leave a step, and updates at most until then."""


@dataclass(frozen=True)
class Cell:
    """Latents of one kind.

    Attributes:
        sampler: What they are sampled with, a name in :data:`SCHEDULERS`.
        steps: In how many steps.
        guidance: At which guidance scale.
        known: Whether who inverts them knows the prompt, and inverts at that guidance scale.
        source: `latent`, as sampled, `capped`, the same for the solvers after so many updates of a step, or
            `picture`, the encoder's of an 8-bit picture.
        images: How many.
    """

    sampler: str
    steps: int
    guidance: float
    known: bool
    source: str
    images: int

    @property
    def about(self) -> dict:
        """What tells it from other cells, with the names that rows use."""
        prompt = "known" if self.known else "unknown"
        return dict(sampler=self.sampler, steps=self.steps, guidance=self.guidance, prompt=prompt, source=self.source)


@dataclass(frozen=True)
class Method:
    """A way back.

    Attributes:
        name: What tables call it.
        invert: From a predictor, latents (B, C, ...) and the noise that they were sampled from to the noise that is
            found. The truth is for a method that keeps more of the sampling than its end.
    """

    name: str
    invert: Callable[[Predictor, Tensor, Tensor], Tensor]


def cells(model: LatentDiffusion, images: int, few: int, lengths: Sequence[int]) -> Iterator[Cell]:
    """What is measured of a model: at guidance 1 with the prompt on all images, else on few.

    A flow is inverted with Euler's method, and a model that is meant to be sampled in one step in that one.
    """
    flow, usual = model.denoiser.prediction_type == "flow", model.usual
    one = usual.steps == 1
    samplers = ["ddim"] if one else ["ddim", "wired"] if flow else list(SCHEDULERS)
    guidances = (1.0,) if one else (1.0, 3.0, 7.5)
    for sampler in samplers:
        for steps in (1,) if one else lengths:
            for guidance in guidances:
                yield Cell(sampler, steps, guidance, True, "latent", images if guidance == 1 else few)
                yield Cell(sampler, steps, guidance, False, "latent", few)
                yield Cell(sampler, steps, guidance, False, "picture", few)
            if sampler == "ddim":
                yield Cell(sampler, steps, 1.0, True, "capped", few)


def methods_of(model: LatentDiffusion, cell: Cell) -> list[Method]:
    """The ways back from the latents of a cell.

    From a picture, whose latent is inexact, naive inversion alone: in as many steps and in those of `wmark verify`.
    """
    schedule, grid = model.denoiser.schedule, _grid(model, cell)
    plain = [Method("naive", lambda predict, z, noise: naive(predict, grid, z).noise)]
    if cell.source == "picture":
        short = Grid.of(schedule, SHORT)
        read = [Method("reader", lambda predict, z, noise: model.reader(z))] if model.reader else []
        return [
            Method("none", lambda predict, z, noise: z.float()),
            *read,
            *plain,
            Method(f"naive, {SHORT} steps", lambda predict, z, noise: naive(predict, short, z).noise),
        ]
    if cell.sampler == "wired":
        known = OnGrid(schedule, grid)
        algebra = Method("algebra", lambda predict, z, noise: wired(predict, known, z, steps=cell.steps).noise)
        kept = Method("algebra, both states", lambda predict, z, noise: _from_both_states(predict, grid, noise))
        return [*plain, algebra, *([kept] if cell.known else [])]
    table = MULTISTEP[cell.sampler](grid)

    def exact(how: Correction) -> Callable[[Predictor, Tensor, Tensor], Tensor]:
        return lambda predict, z, noise: invert(predict, table, z, how).noise

    if cell.source == "capped":
        solvers = [Correction(solver, cap, tolerance=0.0) for solver in SOLVERS for cap in CAPS]
        textbook = [Method(f"{TEXTBOOK}, {cap}", partial(_backward_euler, grid, cap, 0.0)) for cap in CAPS]
        stopping = [
            method
            for tolerance in TOLERANCES
            for method in (
                Method(f"anderson, to {tolerance:g}", exact(Correction("anderson", MOST, tolerance))),
                Method(f"{TEXTBOOK}, to {tolerance:g}", partial(_backward_euler, grid, MOST, tolerance)),
            )
        ]
        return [*(Method(f"{how.solver}, {how.iterations}", exact(how)) for how in solvers), *textbook, *stopping]
    once = Method("predictor-corrector", lambda predict, z, noise: predictor_corrector(predict, table, z).noise)
    chosen = [*plain, once, Method("exact", exact(Correction()))]
    if cell.sampler in RIVALS and model.denoiser.prediction_type != "flow":
        rival = partial(inverted_by_diffusers, schedule=schedule, scheduler=model.pipeline.scheduler)
        there = dict(sampler=cell.sampler, steps=cell.steps)
        chosen.append(Method("diffusers", lambda predict, z, noise: rival(predict, latent=z, **there)))
    return chosen


def _backward_euler(
    grid: Grid, updates: int, tolerance: float, predict: Predictor, latent: Tensor, noise: Tensor
) -> Tensor:
    """DDIM inverted by plain fixed point (cf. Hong et al., CVPR 2024, algorithm 1): the step is never made smaller.

    Each image is left where an update moved it by no more than the tolerance, in standard deviations of the noise.
    """
    z = latent.float()
    for i in reversed(range(grid.steps)):
        less_noisy, working = z, torch.ones(len(z), dtype=torch.bool, device=z.device)
        for _ in range(1 + updates):
            moved = noisier(grid, i, less_noisy, predict(z, grid.times[i])[1])
            far = (moved - z).flatten(1).square().mean(1).sqrt() > tolerance * grid.sigma[i]
            z = torch.where(working.reshape(-1, *[1] * (z.ndim - 1)), moved, z)
            working = working & far
            if not working.any():
                break
    return z


def _from_both_states(predict: Predictor, grid: Grid, noise: Tensor) -> Tensor:
    """What the wired sampler's inverse finds that knows both states that the sampler ended in; it is run for that."""
    steps = blocks(predict, grid)
    return unwired(steps, *sample_wired(steps, noise))[0]


def _grid(model: LatentDiffusion, cell: Cell) -> Grid:
    """The very times that the latents of a cell were sampled at."""
    config = model.pipeline.scheduler.config
    flow = model.denoiser.prediction_type == "flow"
    scheduler = type(model.pipeline.scheduler).from_config(config) if flow else SCHEDULERS[cell.sampler](config)
    return visited(scheduler, cell.steps)


@dataclass(frozen=True)
class OnGrid:
    """A schedule that has the times of a grid."""

    schedule: Callable[[float], tuple[float, float]]
    grid: Grid

    def __call__(self, t: float) -> tuple[float, float]:
        return self.schedule(t)

    def times(self, steps: int) -> list[float]:
        return list(self.grid.times[::-1])
