"""From the clean latent up the steps of a sampler to the initial noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ...models import multistep
from ...models.base import Schedule
from ...models.multistep import Multistep, Predictor
from ...models.schedule import Grid
from .implicit import Correction, advance, rate, residual, solve

__all__ = ["DiffusionInversion", "ddim", "dpmsolver", "exact_ddim", "invert", "naive", "predictor_corrector", "unipc"]

Callback = Callable[[int], None]

EVALUATE_AT: dict[str, Callable[[float, float], float]] = {
    "start": lambda s, t: s,
    "middle": lambda s, t: (s + t) / 2,
    "end": lambda s, t: t,
}
"""The time between s and the noisier t at which a naive step asks the network."""


FAR = 2.0
"""Reach of a step (:meth:`Multistep.reach`) beyond which its history is looked for anew at each guess of its latent."""

ROUGH = 0.03
"""How exactly the steps of a sweep are solved, in units of what the history leaves of the sweep before."""


@dataclass(frozen=True)
class DiffusionInversion:
    """What an inversion found.

    Attributes:
        noise: Recovered initial noise, with shape (B, C, ...), float32 or better.
        residual: Largest residual of the sampler's steps where the network was last asked along the path, in standard
            deviations of the noise there, with shape (B,); nan where no implicit equation was solved.
        converged: Whether that is within the tolerance, with shape (B,).
        calls: Network calls for each image, with shape (B,).
        path: Latents from the noise to the clean latent, at each time of the grid.
    """

    noise: Tensor
    residual: Tensor
    converged: Tensor
    calls: Tensor
    path: tuple[Tensor, ...]


@torch.no_grad()
def naive(
    predict: Predictor, grid: Grid, latent: Tensor, *, evaluate_at: str = "middle", callback: Callback | None = None
) -> DiffusionInversion:
    """Up the times of a grid with `eps(z_s, .)` in the place of the unknown `eps(z_t, t)`, whatever the sampler was.

    Arguments:
        predict: From `z_t` and t to `(x0, eps)`, prompt included.
        grid: Times and levels.
        latent: Clean latents with shape (B, C, ...).
        evaluate_at: Time at which `eps(z_s, .)` is asked for: `start` (s), `middle` or `end` (t).
        callback: Called with the number of finished steps.
    """
    path = [_precise(latent)]
    for done, i in enumerate(reversed(range(grid.steps)), start=1):
        eps = predict(path[0], EVALUATE_AT[evaluate_at](grid.times[i + 1], grid.times[i]))[1]
        path.insert(0, noisier(grid, i, path[0], eps))
        if callback:
            callback(done)
    return _unsolved(path, grid.steps)


@torch.no_grad()
def predictor_corrector(
    predict: Predictor, sampler: Multistep, latent: Tensor, *, callback: Callback | None = None
) -> DiffusionInversion:
    """The noise that a sampler makes a clean latent from, at one call a step: each equation is updated once.

    `z_i` is predicted along the noise that was last seen; there, at about its own level, the network is asked, and what
    that leaves of the step's equation corrects it (in the terms of multistep methods: predict, evaluate, correct). What
    a step of higher order saw at noisier latents is extrapolated from the prediction at the less noisy one. Where a
    step extrapolates far itself, the network is asked at the latent that it leads to, which then stands for what it
    would say on the next step. The first call is at the clean latent; the last step is predicted and no more.

    Arguments:
        predict: From `z_t` and t to `(x0, eps)`, prompt included.
        sampler: The sampler that made the latent.
        latent: Clean latents with shape (B, C, ...).
        callback: Called with the number of finished steps.
    """
    grid, path, calls, ahead = sampler.grid, [_precise(latent)], 1, None
    x0, eps = predict(path[0], EVALUATE_AT["middle"](grid.times[-1], grid.times[-2]))
    for done, i in enumerate(reversed(range(grid.steps)), start=1):
        z, before = noisier(grid, i, path[0], eps), x0
        if i or ahead:
            z, x0, eps = ahead or (z, *predict(z, grid.times[i]))
            calls, ahead = calls + (ahead is None), None
            history = _onwards(sampler, i, x0, before)
            if i and sampler.reach(i) > FAR:
                further = noisier(grid, i - 1, z, eps)
                calls, ahead = calls + 1, (further, *predict(further, grid.times[i - 1]))
                history = [ahead[1]] * len(history)
            z = z - rate(grid, i) * (sampler.step(i, z, [x0, *history]) - path[0])
        path.insert(0, z)
        if callback:
            callback(done)
    return _unsolved(path, calls)


@torch.no_grad()
def invert(
    predict: Predictor,
    sampler: Multistep,
    latent: Tensor,
    how: Correction = Correction(),  # noqa: B008  A frozen value.
    *,
    callback: Callback | None = None,
) -> DiffusionInversion:
    """The noise that a sampler makes a clean latent from: each of its steps is solved as an implicit equation.

    DDIM's steps start along the noise that the two before them lead to, others along that of the last one, as naive
    ones do. A step of higher order looks at predictions of noisier latents, which are not known on the way up. What is
    frozen is how far they are from a guess of them: in the first sweep not at all, and in each further one as the sweep
    before found it. The guess is the step's own prediction, with which the first sweep inverts DDIM on the same times.
    Where a step extrapolates far, as DPM-Solver++(2M)'s last one does in 15 steps or more, it is what the network says
    a naive step further up (Hong et al., CVPR 2024, algorithm 2), at one call more. Of each image the path with the
    least residual is kept.

    Arguments:
        predict: From `z_t` and t to `(x0, eps)`, prompt included.
        sampler: The sampler that made the latent.
        latent: Clean latents with shape (B, C, ...).
        how: Solver, caps and tolerance.
        callback: Called with the number of finished steps, those of all sweeps counted.
    """
    grid, z = sampler.grid, _precise(latent)
    x0, eps = predict(z, EVALUATE_AT["middle"](grid.times[-1], grid.times[-2]))
    calls = torch.ones(len(z), dtype=torch.long, device=z.device)
    said = [(x0, eps, *[x0] * (sampler.depth - 1))] * (grid.steps + 1)
    path, asked, found, done = [z] * (grid.steps + 1), [z] * grid.steps, None, 0
    ahead, tried = z.new_zeros(len(z), grid.steps, sampler.depth - 1, *z.shape[1:]), []
    inner = how if sampler.depth == 1 else replace(how, tolerance=max(how.tolerance, ROUGH))
    far = [i > 0 and sampler.reach(i) > FAR for i in range(grid.steps)]

    def ask(i: int, z: Tensor) -> tuple[Tensor, ...]:
        x0, eps = predict(z, grid.times[i])
        if far[i]:
            further = predict(noisier(grid, i - 1, z, eps), grid.times[i - 1])[0]
            return x0, eps, *[further] * (sampler.depth - 1)
        return x0, eps, *_onwards(sampler, i, x0, said[i + 1][0])

    def step(i: int, z: Tensor, said: tuple[Tensor, ...]) -> Tensor:
        x0, _, *guesses = said
        changes = ahead[:, i].unbind(1)
        return sampler.step(i, z, [x0, *(guess + change for guess, change in zip(guesses, changes, strict=True))])

    for sweep in range(1 + how.sweeps if sampler.depth > 1 else 1):
        moved = torch.zeros_like(z)
        for i in reversed(range(grid.steps)):
            if sweep:
                start = path[i] + rate(grid, i) * moved
            else:
                start = noisier(grid, i, path[i + 1], _along(sampler, i, said))
            solution = solve(partial(ask, i), partial(step, i), path[i + 1], start, grid, i, inner)
            moved, path[i], asked[i], said[i] = solution.z - path[i], solution.z, solution.asked, solution.said
            calls, done = calls + (1 + far[i]) * solution.calls, done + 1
            if callback:
                callback(done)
        left = _residual(sampler, path, asked, said)
        now = DiffusionInversion(path[0], left, left <= how.tolerance, calls, tuple(path))
        found = now if found is None else _better(found, now)
        if found.converged.all():
            break
        if sampler.depth > 1:
            tried = [(ahead, ahead - _ahead(sampler, said)), *tried][: how.memory + 1]
            ahead = advance(*tried[0], tried if how.solver == "anderson" else [], 1.0)
            inner = replace(how, tolerance=max(how.tolerance, ROUGH * float(found.residual.max())))
    cpu = {name: getattr(found, name).cpu() for name in ("residual", "converged")}
    return replace(found, **cpu, calls=calls.cpu())


def ddim(
    predict: Predictor,
    schedule: Schedule,
    latent: Tensor,
    *,
    steps: int = 5,
    evaluate_at: str = "middle",
    callback: Callback | None = None,
) -> DiffusionInversion:
    """Naive DDIM inversion on the times of a schedule; see :func:`naive`."""
    return naive(predict, Grid.of(schedule, steps), latent, evaluate_at=evaluate_at, callback=callback)


def exact_ddim(
    predict: Predictor, schedule: Schedule, latent: Tensor, *, steps: int = 5, **options
) -> DiffusionInversion:
    """DDIM inverted exactly on the times of a schedule; on that of a rectified flow, Euler. See :func:`invert`."""
    return invert(predict, multistep.ddim(Grid.of(schedule, steps)), latent, **options)


def dpmsolver(
    predict: Predictor, schedule: Schedule, latent: Tensor, *, steps: int = 20, **options
) -> DiffusionInversion:
    """DPM-Solver++(2M) inverted exactly on the times of a schedule; see :func:`invert`."""
    return invert(predict, multistep.dpmsolver(Grid.of(schedule, steps)), latent, **options)


def unipc(predict: Predictor, schedule: Schedule, latent: Tensor, *, steps: int = 20, **options) -> DiffusionInversion:
    """UniPC-2 inverted exactly on the times of a schedule; see :func:`invert`."""
    return invert(predict, multistep.unipc(Grid.of(schedule, steps)), latent, **options)


def _precise(latent: Tensor) -> Tensor:
    return latent.to(torch.promote_types(latent.dtype, torch.float32))


def noisier(grid: Grid, i: int, z: Tensor, eps: Tensor) -> Tensor:
    """`z_i` from `z_{i+1}` along a noise that is taken to be the same at both."""
    return grid.alpha[i] * (z - grid.sigma[i + 1] * eps) / grid.alpha[i + 1] + grid.sigma[i] * eps


def _unsolved(path: list[Tensor], calls: int) -> DiffusionInversion:
    """A path on which no equation was solved, after so many calls for each image."""
    unknown = torch.full((len(path[0]),), torch.nan)
    return DiffusionInversion(path[0], unknown, unknown > 0, torch.full((len(unknown),), calls), tuple(path))


def _along(sampler: Multistep, i: int, said: list[tuple[Tensor, ...]]) -> Tensor:
    """The noise along which step i starts: on from what was seen on the two steps before it, straight in sigma.

    Without a step between, the last one alone; as with samplers of higher order, whose first sweep is a rough one and
    whose last ends no nearer for it.
    """
    sigma, seen = sampler.grid.sigma, said[i + 1][1]
    between = sigma[i + 1] - sigma[i + 2] if i + 2 < sampler.grid.steps else 0.0
    if sampler.depth > 1 or not between:
        return seen
    return seen + (sigma[i] - sigma[i + 1]) / between * (seen - said[i + 2][1])


def _onwards(sampler: Multistep, i: int, x0: Tensor, before: Tensor) -> list[Tensor]:
    """What step i's history is expected to be, newest first: as much again by log-SNR as from step i + 1 to i.

    Where one of those is infinite, as at pure noise, nothing more is expected.
    """
    grid, history = sampler.grid, [x0] * (sampler.depth - 1)
    for j in range(1, min(sampler.depth, i + 1)):
        further = (grid.log_snr(i - j) - grid.log_snr(i)) / (grid.log_snr(i) - grid.log_snr(i + 1))
        history[j - 1] = x0 + (further if math.isfinite(further) else 0.0) * (x0 - before)
    return history


def _ahead(sampler: Multistep, said: list[tuple[Tensor, ...]]) -> Tensor:
    """How far the history of each step is from the guess of it, with shape (B, steps, depth - 1, C, ...)."""
    rows = [
        torch.stack([said[max(i - j, 0)][0] - said[i][1 + j] for j in range(1, sampler.depth)], dim=1)
        for i in range(sampler.grid.steps)
    ]
    return torch.stack(rows, dim=1)


def _residual(sampler: Multistep, path: list[Tensor], asked: list[Tensor], said: list[tuple[Tensor, ...]]) -> Tensor:
    """Largest residual of the sampler's steps, its history taken from the path itself, with shape (B,)."""
    worst = torch.zeros(len(path[0]), device=path[0].device, dtype=path[0].dtype)
    for i, z in enumerate(asked):
        data = [said[j][0] for j in range(i, max(-1, i - sampler.depth), -1)]
        worst = torch.maximum(worst, residual(sampler.grid, i, sampler.step(i, z, data) - path[i + 1]))
    return worst


def _better(before: DiffusionInversion, now: DiffusionInversion) -> DiffusionInversion:
    """Of each image the path with the smaller residual."""
    better = now.residual < before.residual
    chosen = better.reshape(-1, *[1] * (now.noise.ndim - 1))
    path = tuple(torch.where(chosen, new, old) for new, old in zip(now.path, before.path, strict=True))
    return DiffusionInversion(
        path[0],
        torch.where(better, now.residual, before.residual),
        torch.where(better, now.converged, before.converged),
        now.calls,
        path,
    )
