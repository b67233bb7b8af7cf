"""One step of a sampler solved backwards: the `z` whose step is a given `z_s`.

    F(z) = step(z) - z_s = 0,        z <- z - rate F(z)

With DDIM's step `alpha_s x0(z) + sigma_s eps(z)` the rate alpha_t / alpha_s leaves the unknown in `eps` alone, as the
backward Euler method is usually written (Hong et al., CVPR 2024, algorithm 1); sigma_t / sigma_s leaves it in `x0`
alone, and 1 in the velocity of a rectified flow. Their inverses are the slopes of `step` along directions in which data
spreads infinitely, not at all, and like the noise. :func:`rate` stands between a wide but finite spread and none, and
serves at every level, pure noise included, where alpha_t = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...models.schedule import Grid

__all__ = ["Correction", "Solution", "advance", "rate", "residual", "solve"]

WIDEST = 1000.0
"""Variance of the data along its widest direction, the mean of a latent, in units of that of a number of it."""

SOLVERS = ("anderson", "fixed-point")


@dataclass(frozen=True)
class Correction:
    """How implicit equations are solved.

    Arguments:
        solver: `fixed-point`, whose step is halved where it stops helping, or `anderson`, which goes as far along each
            of its last few changes as explains what is left.
        iterations: Updates of a step at most, one call each.
        tolerance: Residual at which an image is updated once more and left: the length of the plain update there,
            `rate F(z)`, in standard deviations of its noise (:func:`residual`).
        memory: Number of changes that Anderson's method remembers.
        sweeps: Passes up a sampler of higher order at most, each with the history that the last one found.

    Raises:
        ArgumentError: If there is no such solver, or a number is out of its range.
    """

    solver: str = "anderson"
    iterations: int = 8
    tolerance: float = 1e-3
    memory: int = 4
    sweeps: int = 2

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ArgumentError(f"the solver {self.solver!r} is not one of {', '.join(SOLVERS)}")
        if min(self.iterations, self.memory, self.sweeps) < 1 or not self.tolerance >= 0:
            raise ArgumentError(f"{self}: iterations, memory and sweeps are 1 at least, the tolerance is not below 0")


@dataclass(frozen=True)
class Solution:
    """Where an implicit equation was left.

    Attributes:
        z: Latents one update on from the best that the predictor was asked at, with shape (B, C, ...); where it had
            stopped helping, those themselves.
        asked: The best that it was asked at.
        said: What it said there.
        calls: Times that the predictor was asked for each image until it had converged, with shape (B,).
    """

    z: Tensor
    asked: Tensor
    said: tuple[Tensor, ...]
    calls: Tensor


def rate(grid: Grid, i: int) -> float:
    """The step that contracts most evenly on step i of a sampler, from wide directions to narrow ones; at most 1."""
    alpha, sigma = grid.alpha[i], grid.sigma[i]
    wide = (WIDEST * alpha * grid.alpha[i + 1] + sigma * grid.sigma[i + 1]) / (WIDEST * alpha**2 + sigma**2)
    slopes = wide + grid.sigma[i + 1] / sigma
    return min(1.0, 2 / slopes) if slopes else 1.0


def residual(grid: Grid, i: int, error: Tensor) -> Tensor:
    """`||rate F|| / (sigma_i sqrt(d))` of each image's d numbers, with shape (B,).

    Going up, an error keeps its size in standard deviations of the noise; against the latent, which is mostly data
    where there is little noise, it would look small on the very steps that bend most.
    """
    return rate(grid, i) / grid.sigma[i] * error.flatten(1).square().mean(1).sqrt()


def solve(
    predict: Callable[[Tensor], tuple[Tensor, ...]],
    step: Callable[[Tensor, tuple[Tensor, ...]], Tensor],
    target: Tensor,
    start: Tensor,
    grid: Grid,
    i: int,
    how: Correction,
) -> Solution:
    """Find the `z` with `step(z, predict(z)) = target`; of each image the best iterate is kept, at worst the start.

    Each call pays for an update, the last one, too: what it leaves was not asked, but expected to be less still.

    Arguments:
        predict: From latents to what the network says there, of the same shape.
        step: From latents and what was said of them to the next latents.
        target: The next latents, with shape (B, C, ...).
        start: Where to begin.
        grid, i: Levels, and which step it is.
        how: Solver, cap and tolerance.
    """
    z, damping, tried = start, torch.ones(len(start), device=start.device), []
    calls = torch.zeros(len(start), dtype=torch.long, device=start.device)
    best, least = None, torch.full((len(start),), torch.inf, device=start.device, dtype=start.dtype)
    found, step_size = start, rate(grid, i)
    for _ in range(how.iterations):
        working = least > how.tolerance
        calls += working
        said = predict(z)
        error = step(z, said) - target
        now = residual(grid, i, error)
        better = working & (now < least)
        here = (z, error, *said)
        best = tuple(torch.where(_like(better, z), new, old) for new, old in zip(here, best or here, strict=True))
        least = torch.where(better, now, least)
        damping = torch.where(better, damping, damping / 2)
        tried = [(z, error), *tried][: how.memory + 1]
        remembered = tried if how.solver == "anderson" else []
        z = advance(best[0], best[1], remembered, _like(step_size * damping, z).to(z.dtype))
        found = torch.where(_like(working, z), torch.where(_like(better, z), z, best[0]), found)
        if (least <= how.tolerance).all():
            break
    return Solution(found, best[0], best[2:], calls)


def advance(z: Tensor, error: Tensor, tried: list[tuple[Tensor, Tensor]], step: float | Tensor) -> Tensor:
    """`z - dZ gamma - step (F - dF gamma)`, `gamma = argmin ||F - dF gamma||`, changes seen from the best iterate."""
    if len(tried) > 1:
        steps = torch.stack([other - z for other, _ in tried], dim=1)
        changes = torch.stack([other - error for _, other in tried], dim=1)
        lengths = changes.flatten(2).norm(dim=2).clamp_min(1e-30)  # The best iterate itself has changed nothing.
        columns = changes.flatten(2) / lengths[..., None]
        ridge = 10 * torch.finfo(z.dtype).eps * torch.eye(len(tried), dtype=z.dtype, device=z.device)
        gamma = (
            torch.linalg.solve(columns @ columns.mT + ridge, columns @ error.flatten(1)[..., None])[..., 0] / lengths
        )
        z = z - torch.einsum("bm...,bm->b...", steps, gamma)
        error = error - torch.einsum("bm...,bm->b...", changes, gamma)
    return z - step * error


def _like(values: Tensor, z: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (z.ndim - 1))
