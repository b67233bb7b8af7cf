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

__all__ = ["Correction", "Solution", "advance", "rate", "relative", "solve"]

WIDEST = 1000.0
"""Variance of the data along its widest direction, the mean of a latent, in units of that of a number of it."""

SOLVERS = ("anderson", "fixed-point")


@dataclass(frozen=True)
class Correction:
    """How implicit equations are solved.

    Arguments:
        solver: `fixed-point`, whose step is halved where it stops helping, or `anderson`, which goes as far along each
            of its last few changes as explains what is left.
        iterations: Updates of a step at most.
        tolerance: Residual `||F(z)|| / ||z_s||` at which an image is left as it is.
        memory: Number of changes that Anderson's method remembers.
        sweeps: Passes up a sampler of higher order at most, each with the history that the last one found.

    Raises:
        ArgumentError: If there is no such solver, or a number is out of its range.
    """

    solver: str = "anderson"
    iterations: int = 6
    tolerance: float = 3e-4
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
        z: Best latents, with shape (B, C, ...).
        said: What the predictor said there.
        calls: Times that the predictor was asked for each image until it had converged, with shape (B,).
    """

    z: Tensor
    said: tuple[Tensor, ...]
    calls: Tensor


def rate(grid: Grid, i: int) -> float:
    """The step that contracts most evenly on step i of a sampler, from wide directions to narrow ones; at most 1."""
    alpha, sigma = grid.alpha[i], grid.sigma[i]
    wide = (WIDEST * alpha * grid.alpha[i + 1] + sigma * grid.sigma[i + 1]) / (WIDEST * alpha**2 + sigma**2)
    slopes = wide + grid.sigma[i + 1] / sigma
    return min(1.0, 2 / slopes) if slopes else 1.0


def relative(error: Tensor, target: Tensor) -> Tensor:
    """`||error|| / ||target||` of each image, with shape (B,)."""
    return error.flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1).clamp_min(1e-12)


def solve(
    predict: Callable[[Tensor], tuple[Tensor, ...]],
    step: Callable[[Tensor, tuple[Tensor, ...]], Tensor],
    target: Tensor,
    start: Tensor,
    rate: float,
    how: Correction,
) -> Solution:
    """Find the `z` with `step(z, predict(z)) = target`; of each image the best iterate is kept, at worst the start.

    Arguments:
        predict: From latents to what the network says there, of the same shape.
        step: From latents and what was said of them to the next latents.
        target: The next latents, with shape (B, C, ...).
        start: Where to begin.
        rate: Step of the iteration; see :func:`rate`.
        how: Solver, cap and tolerance.
    """
    z, damping, tried = start, torch.ones(len(start), device=start.device), []
    calls = torch.zeros(len(start), dtype=torch.long, device=start.device)
    best, least = None, torch.full((len(start),), torch.inf, device=start.device, dtype=start.dtype)
    for k in range(how.iterations + 1):
        calls += least > how.tolerance
        said = predict(z)
        error = step(z, said) - target
        residual = relative(error, target)
        better = residual < least
        here = (z, error, *said)
        kept = best or here
        best = tuple(torch.where(_like(better, z), new, old) for new, old in zip(here, kept, strict=True))
        damping = torch.where(better, damping, damping / 2)
        least = torch.where(better, residual, least)
        if k == how.iterations or (least <= how.tolerance).all():
            break
        tried = [(z, error), *tried][: how.memory + 1]
        remembered = tried if how.solver == "anderson" else []
        z = advance(best[0], best[1], remembered, _like(rate * damping, z).to(z.dtype))
    return Solution(best[0], best[2:], calls)


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
