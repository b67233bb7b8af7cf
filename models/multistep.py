"""Deterministic samplers as tables of numbers.

A sampler goes through times `t_0 > t_1 > ... > t_n`. With `x0_i = x0(z_i, t_i)`, the data that the network sees in
`z_i`, each sampler here is a linear multistep method,

    z_{i+1} = carry_i z_i + sum_j weights_ij x0_{i-j},        carry_i = sigma_{i+1} / sigma_i.

Let `g_i = alpha_{i+1} - alpha_i carry_i`, `h_i = lambda_{i+1} - lambda_i` and `rho_i = h_{i-1} / h_i`. Then

    DDIM                g_i x0_i                                                    Euler on a rectified flow
    DPM-Solver++(2M)    g_i (x0_i + (x0_i - x0_{i-1}) / (2 rho_i))
    UniPC-2             the same, from a z_i that knows x0_i: the corrector of step i - 1 (Zhao et al., NeurIPS 2023)

The weights of a row add up to `g_i`: where the predictions stand still, all of them are DDIM. Which steps are of lower
order follows diffusers: the first, which has no history; the last of DPM-Solver++ in fewer than 15 steps or down to
zero noise; always the last of UniPC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor

from .schedule import Grid

__all__ = ["MULTISTEP", "Multistep", "Predictor", "ddim", "dpmsolver", "sample", "unipc"]

Predictor = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""Data and noise prediction `(x0, eps)` of latents `z_t` at a time t, prompt included."""

FEW = 15
"""Steps below which diffusers ends DPM-Solver++ with a step of first order."""


@dataclass(frozen=True)
class Multistep:
    """A sampler on a grid.

    Attributes:
        grid: Its times and levels.
        weights: By step, those of `x0_i`, `x0_{i-1}`, ...
    """

    grid: Grid
    weights: tuple[tuple[float, ...], ...]

    def carry(self, i: int) -> float:
        """`sigma_{i+1} / sigma_i`."""
        return self.grid.sigma[i + 1] / self.grid.sigma[i]

    def step(self, i: int, z: Tensor, data: Sequence[Tensor]) -> Tensor:
        """`z_{i+1}` from `z_i`, with shape (B, C, ...), and the data predictions so far, newest first."""
        return self.carry(i) * z + sum(w * x0 for w, x0 in zip(self.weights[i], data, strict=False))

    def reach(self, i: int) -> float:
        """How far step i extrapolates: the weights of earlier predictions, without their signs, over the sum of all."""
        newest, *earlier = self.weights[i]
        return sum(map(abs, earlier)) / abs(newest + sum(earlier)) if earlier else 0.0

    @property
    def depth(self) -> int:
        """How many data predictions a step looks at."""
        return max(map(len, self.weights))


def sample(
    predict: Predictor, sampler: Multistep, noise: Tensor, callback: Callable[[int], None] | None = None
) -> Tensor:
    """Clean latents from initial noise (B, C, ...); the callback is told the number of finished steps."""
    z, data = noise, []
    for i, t in enumerate(sampler.grid.times[:-1]):
        data = [predict(z, t)[0], *data][: sampler.depth]
        z = sampler.step(i, z, data)
        if callback:
            callback(i + 1)
    return z


def ddim(grid: Grid) -> Multistep:
    """DDIM (Song et al., ICLR 2021); on the levels of a rectified flow, Euler."""
    return Multistep(grid, tuple((_gain(grid, i),) for i in range(grid.steps)))


def dpmsolver(grid: Grid) -> Multistep:
    """DPM-Solver++(2M) (Lu et al., 2022)."""
    last = grid.steps - 1
    low = {0} | ({last} if grid.steps < FEW or not grid.sigma[-1] else set())
    return Multistep(grid, tuple(_extrapolation(grid, i, 1 if i in low else 2) for i in range(grid.steps)))


def unipc(grid: Grid) -> Multistep:
    """UniPC of order 2 with `B(h) = exp(-h) - 1`, as diffusers' UniPCMultistepScheduler runs it."""
    orders = [min(2, grid.steps - i, i + 1) for i in range(grid.steps)]
    rows = []
    for i, order in enumerate(orders):
        carry = grid.sigma[i + 1] / grid.sigma[i]
        correction = _correction(grid, i - 1, orders[i - 1]) if i else ()
        pairs = zip_longest(_extrapolation(grid, i, order), correction, fillvalue=0.0)
        rows.append(tuple(predicted + carry * corrected for predicted, corrected in pairs))
    return Multistep(grid, tuple(rows))


MULTISTEP: dict[str, Callable[[Grid], Multistep]] = {"ddim": ddim, "dpmsolver++": dpmsolver, "unipc": unipc}
"""Tables by the name that records use."""


def _gain(grid: Grid, i: int) -> float:
    """`g_i`."""
    return grid.alpha[i + 1] - grid.alpha[i] * grid.sigma[i + 1] / grid.sigma[i]


def _ratio(grid: Grid, i: int) -> float:
    """`1 / rho_i`, 0 where the step before came from pure noise."""
    return (grid.log_snr(i + 1) - grid.log_snr(i)) / (grid.log_snr(i) - grid.log_snr(i - 1))


def _extrapolation(grid: Grid, i: int, order: int) -> tuple[float, ...]:
    """Weights of the data that step i extrapolates to: constant or linear in lambda."""
    g = _gain(grid, i)
    if order == 1:
        return (g,)
    half = _ratio(grid, i) / 2
    return g * (1 + half), -g * half


def _correction(grid: Grid, i: int, order: int) -> tuple[float, ...]:
    """Weights of `x0_{i+1}, x0_i, x0_{i-1}` in what the corrector adds to `z_{i+1}` once `x0_{i+1}` is known."""
    g = _gain(grid, i)
    if order == 1:
        return g / 2, -g / 2
    h, inverse = grid.log_snr(i + 1) - grid.log_snr(i), _ratio(grid, i)
    # phi_2 and phi_3 of the exponential integrator at -h, over B(h).
    first = (math.expm1(-h) / -h - 1) / math.expm1(-h)
    second = 2 * ((math.expm1(-h) / -h - 1) / -h - 0.5) / math.expm1(-h)
    # The slope over the step before has weight c / -rho, with c = (first - second) / (1 + rho); half of it is known.
    slope = (first - second) * inverse / (1 + inverse)
    newest, oldest = first - slope, (0.5 - slope) * inverse
    return g * newest, -g * (newest + oldest), g * oldest
