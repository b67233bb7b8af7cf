"""What `wmark bench inversion` compares: samplers, and ways back from their latents to the noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from ..inversion.diffusion import Correction, invert, naive, wired
from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import MULTISTEP, Predictor
from ..models.rivals import RIVALS, inverted_by_diffusers
from ..models.sampling import SCHEDULERS
from ..models.schedule import Grid, visited

__all__ = ["CAPS", "Cell", "Method", "cells", "methods_of"]

SHORT = 5
"""Steps of the inversion that `wmark verify` runs, whatever the sampler took."""

CAPS = (1, 2, 4, 8, 16)
"""Updates of a step at which the two solvers are compared."""


@dataclass(frozen=True)
class Cell:
    """Latents of one kind.

    Attributes:
        sampler: What they are sampled with, a name in :data:`SCHEDULERS`.
        steps: In how many steps.
        guidance: At which guidance scale.
        known: Whether who inverts them knows the prompt, and inverts at that guidance scale.
        source: `latent`, as sampled, or `picture`, the encoder's of an 8-bit picture.
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
        invert: From a predictor and latents (B, C, ...) to the noise and whether it was found, of each image.
    """

    name: str
    invert: Callable[[Predictor, Tensor], Tensor]


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


def methods_of(model: LatentDiffusion, cell: Cell) -> list[Method]:
    """The ways back from the latents of a cell.

    From a picture, whose latent is inexact, naive inversion alone: in as many steps and in those of `wmark verify`.
    """
    schedule, grid = model.denoiser.schedule, _grid(model, cell)
    plain = [Method("naive", lambda predict, z: naive(predict, grid, z).noise)]
    if cell.source == "picture":
        short = Grid.of(schedule, SHORT)
        read = [Method("reader", lambda predict, z: model.reader(z))] if model.reader else []
        return [
            Method("none", lambda predict, z: z.float()),
            *read,
            *plain,
            Method(f"naive, {SHORT} steps", lambda predict, z: naive(predict, short, z).noise),
        ]
    if cell.sampler == "wired":
        known = OnGrid(schedule, grid)
        return [*plain, Method("algebra", lambda predict, z: wired(predict, known, z, steps=cell.steps).noise)]
    table = MULTISTEP[cell.sampler](grid)
    tight = cell.known and cell.guidance == 1

    def exact(how: Correction) -> Callable[[Predictor, Tensor], Tensor]:
        return lambda predict, z: invert(predict, table, z, how).noise

    chosen = [*plain, Method("exact", exact(Correction()))]
    if cell.sampler in RIVALS and model.denoiser.prediction_type != "flow":
        rival = partial(inverted_by_diffusers, schedule=schedule, scheduler=model.pipeline.scheduler)
        chosen.append(
            Method("diffusers", lambda predict, z: rival(predict, sampler=cell.sampler, latent=z, steps=cell.steps))
        )
    if tight and cell.sampler == "ddim":
        for solver in ("fixed-point", "anderson"):
            how = Correction(solver, tolerance=0.0)
            chosen += [Method(f"{solver}, {cap}", exact(replace(how, iterations=cap))) for cap in CAPS]
    return chosen


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
