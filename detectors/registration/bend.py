"""Placements that are not affine: perspective, a lens, an elastic bend.

    y = f(x) = L x + t + sum_ij c_ij P_i(x / H) P_j(x' / H),      i, j <= DEGREE, P the Legendre polynomials,

in latent pixels from the centres, `H` half of the longer side of the noise. The coefficients are those that bring blocks
of the noise, compared one by one, to where the pilot fits them best (:func:`follow`). With `e(x, d)` the product of
noise at x and pilot at `f(x) + d`, a block's score for a displacement d is the sum of e over it, under a smooth window;
its best displacement counts by how far it stands out, and roughness costs. Windows shrink and frequencies rise from
pass to pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Size
from .template import Template

__all__ = ["PASSES", "Bend", "Pass", "follow", "positions"]

DEGREE = 5


@dataclass(frozen=True, eq=False)
class Bend:
    """Where on the canvas each point of a picture comes from.

    Arguments:
        linear: L, with shape (2, 2).
        shift: t in latent pixels, with shape (2,).
        size: Height and width of the noise in latent pixels.
        coefficients: c, with shape ((DEGREE + 1)^2, 2); None for an affine map.
    """

    linear: Tensor
    shift: Tensor
    size: Size
    coefficients: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Positions (..., 2) on the canvas of positions (..., 2) in the noise, both in latent pixels from the centre."""
        y = x @ self.linear.T + self.shift
        return y if self.coefficients is None else y + polynomials(x / (max(self.size) / 2)) @ self.coefficients


def polynomials(x: Tensor) -> Tensor:
    """P_i P_j of positions (..., 2) in [-1, 1], with shape (..., (DEGREE + 1)^2); constant outside the square."""
    x = x.clamp(-1, 1)
    found = [torch.ones_like(x), x]
    for n in range(1, DEGREE):
        found.append(((2 * n + 1) * x * found[n] - n * found[n - 1]) / (n + 1))
    values = torch.stack(found, dim=-1)
    return (values[..., 0, :, None] * values[..., 1, None, :]).flatten(-2)


@lru_cache(maxsize=16)
def positions(size: Size, device: torch.device) -> Tensor:
    """Every latent pixel (x, y) from the centre, with shape (h, w, 2)."""
    y, x = (torch.arange(n, device=device) - (n - 1) / 2 for n in size)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], dim=-1)


class Pass(NamedTuple):
    """One comparison of all blocks.

    Attributes:
        radius: Frequencies compared.
        reach: Displacements up to so many steps in either direction.
        step: Length of a step, latent pixels of the canvas.
        window: Standard deviation of a block's window, latent pixels of the noise.
        stiffness: What roughness costs.
    """

    radius: int
    reach: int
    step: float
    window: float
    stiffness: float


PASSES = (
    Pass(14, 4, 1.0, 11.0, 30.0),
    Pass(20, 4, 0.75, 8.0, 10.0),
    Pass(31, 4, 0.5, 7.0, 4.0),
    Pass(31, 4, 0.25, 6.0, 2.0),
)

SPACING = 6
"""Latent pixels from block to block."""


def follow(noise: Tensor, template: Template, bend: Bend, passes: tuple[Pass, ...] = PASSES) -> Bend:
    """A bend that follows the pilot block by block, begun at an affine placement.

    Arguments:
        noise: Channels of the pilot, with shape (C, h, w).
    """
    x = positions(bend.size, noise.device)
    for each in passes:
        pattern = Sampled.of(template.within(each.radius))
        steps = torch.arange(-each.reach, each.reach + 1, device=noise.device)
        scores = blocks(pattern.products(noise, bend(x), steps, each.step), noise, each.window)
        bend = fitted(bend, *expected(scores, steps * each.step), each.stiffness)
    return bend


@dataclass(frozen=True, eq=False)
class Sampled:
    """A pilot in space, finely sampled, with variance 1.

    Arguments:
        values: With shape (n_y, n_x, channels), `FINE` samples a latent pixel.
        canvas: Height and width in latent pixels.
    """

    values: Tensor
    canvas: Size

    @classmethod
    def of(cls, template: Template) -> Sampled:
        return sampled(template)

    @cached_property
    def rows(self) -> Tensor:
        return self.values.flatten(0, 1)

    def products(self, noise: Tensor, y: Tensor, steps: Tensor, length: float) -> Tensor:
        """e(x, d) for displacements of whole steps, with shape (steps, steps, h, w), x first."""
        tall, wide = self.values.shape[:2]
        half = torch.tensor([self.canvas[1] - 1, self.canvas[0] - 1], device=y.device) / 2
        column, row = ((y + half) * FINE).round().long().unbind(-1)
        jump = (steps * round(length * FINE)).long()
        columns, rows = (column + jump[:, None, None]) % wide, (row + jump[:, None, None]) % tall
        index = rows[None] * wide + columns[:, None]
        picked = self.rows.index_select(0, index.flatten()).reshape(*index.shape, -1)
        return (picked * noise.permute(1, 2, 0)).sum(-1)


FINE = 4


@lru_cache(maxsize=16)
def sampled(template: Template) -> Sampled:
    r, (height, width) = template.radius, template.canvas
    spectrum = template.values.new_zeros(len(template.channels), FINE * height, FINE * width)
    rows = torch.arange(-r, r + 1) % (FINE * height)
    spectrum[:, rows[:, None], torch.arange(r + 1)[None]] = template.values.permute(2, 1, 0)
    # The origin is the centre of the canvas: half a side less half a latent pixel from its corner.
    y, x = (torch.fft.fftfreq(FINE * n, 1 / (FINE * n), device=spectrum.device) * (n - 1) / n for n in (height, width))
    angle = -torch.pi * (y[:, None] + x)
    values = torch.fft.ifft2(spectrum * torch.polar(torch.ones_like(angle), angle), norm="forward").real
    return Sampled((values / values.square().mean().sqrt()).permute(1, 2, 0).contiguous(), template.canvas)


def blocks(products: Tensor, noise: Tensor, window: float) -> Tensor:
    """Scores of blocks in standard deviations, with shape (steps, steps, rows, columns), from e and the noise."""
    power = noise.square().sum(0)
    summed = pooled(products.flatten(0, 1), window)
    spread = pooled(power[None], window / 2**0.5).sqrt().clamp_min(1e-6)
    return (summed / spread).reshape(*products.shape[:2], *summed.shape[-2:])


def pooled(values: Tensor, window: float) -> Tensor:
    """Sums under Gaussian windows at blocks' centres, of values (N, h, w): with shape (N, rows, columns)."""
    for _ in range(2):
        side = values.shape[1]
        count = max(2, round(side / SPACING))
        centres = (torch.arange(count, device=values.device) + 0.5) * side / count - 0.5
        apart = torch.arange(side, device=values.device) - centres[:, None]
        weights = (-0.5 * (apart / window).square()).exp()
        values = torch.tensordot(values, weights.to(values.dtype), dims=([1], [1]))
    return values


def expected(scores: Tensor, displacements: Tensor) -> tuple[Tensor, Tensor]:
    """Where each block fits, (rows, columns, 2), and how sure that is, one over the variance: (rows, columns).

    A displacement is as likely as its score says, `exp(z^2 / 2)`, and the less the farther.
    """
    d = displacements.to(scores.dtype)
    evidence = 0.5 * scores.clamp_min(0).square()
    prior = -0.5 * (d / d.max()).square() * 4
    weights = (evidence + (prior[:, None] + prior)[..., None, None]).flatten(0, 1).softmax(0).reshape(scores.shape)
    along = weights.sum(1), weights.sum(0)
    mean = [torch.tensordot(d, w, 1) for w in along]
    square = [torch.tensordot(d.square(), w, 1) for w in along]
    variance = sum(s - m.square() for s, m in zip(square, mean, strict=True)) / 2
    floor = (d[1] - d[0]).square() / 4
    unknown = d.max().square() / 4
    return torch.stack(mean, dim=-1), (1 / (variance + floor) - 1 / (unknown + floor)).clamp_min(0)


def fitted(bend: Bend, displacement: Tensor, weight: Tensor, stiffness: float) -> Bend:
    """The bend whose blocks are displaced so, as far as they are sure of it and the coefficients stay small."""
    rows, columns = weight.shape
    height, width = bend.size
    y, x = (
        (torch.arange(n, device=weight.device) + 0.5) * side / n - side / 2
        for n, side in ((rows, height), (columns, width))
    )
    y, x = torch.meshgrid(y, x, indexing="ij")
    basis = polynomials(torch.stack([x, y], dim=-1) / (max(bend.size) / 2)).flatten(0, 1).double()
    before = basis.new_zeros(basis.shape[1], 2) if bend.coefficients is None else bend.coefficients.double()
    target = basis @ before + displacement.flatten(0, 1)
    i = torch.arange(DEGREE + 1, device=weight.device)
    order = (i[:, None] + i).flatten()
    cost = torch.where(order > 1, (i.square()[:, None] + i.square()).flatten().double(), 1e-3)
    w = weight.flatten().double()[:, None]
    normal = basis.T @ (w * basis) + torch.diag(stiffness * cost)
    return replace(bend, coefficients=torch.linalg.solve(normal, basis.T @ (w * target)).float())
