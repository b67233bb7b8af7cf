"""Placements that are not affine: perspective, a lens, an elastic bend.

    y = f(x) = L x + t + sum_ij c_ij P_i(x / H) P_j(x' / H),      i, j <= DEGREE, P the Legendre polynomials,

in latent pixels from the centres, `H` half of the longer side of the noise. The coefficients are those that bring
blocks of the noise, compared one by one, to where the pilot fits them best (:func:`follow`). With `e(x, d)` the product
of noise at x and pilot at `f(x) + d`, a block's score for a displacement d is the sum of e over it, under a smooth
window; its displacement counts by how sure it is, and roughness costs. Windows shrink and frequencies rise from pass to
pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Size
from .template import Template

__all__ = ["PASSES", "Bend", "Pass", "Sampled", "follow", "positions"]

DEGREE = 5


@dataclass(frozen=True, eq=False)
class Bend:
    """Where on the canvas each point of a picture comes from.

    Arguments:
        linear: L, with shape (2, 2).
        shift: t in latent pixels, with shape (2,).
        size: Height and width of the noise in latent pixels.
        coefficients: c, with shape ((DEGREE + 1)^2, 2); None for an affine map.
        square: Centre (x, y) of the square that the polynomials live on, in latent pixels, and half of its side; None
            for that around the noise.
    """

    linear: Tensor
    shift: Tensor
    size: Size
    coefficients: Tensor | None = None
    square: tuple[float, float, float] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Positions (..., 2) on the canvas of positions (..., 2) in the noise, in latent pixels from the centres."""
        y = x @ self.linear.T + self.shift
        return y if self.coefficients is None else y + self.basis(x) @ self.coefficients

    def basis(self, x: Tensor) -> Tensor:
        """The polynomials at positions (..., 2), with shape (..., (DEGREE + 1)^2)."""
        *centre, half = self.square or (0.0, 0.0, max(self.size) / 2)
        return polynomials((x - torch.tensor(centre, device=x.device, dtype=x.dtype)) / half)

    def within(self, offset: tuple[float, float], size: Size) -> Bend:
        """The same for larger noise of a size, in which this one's centre lies at an offset (x, y)."""
        by = torch.tensor(offset).to(self.shift)
        x, y, half = self.square or (0.0, 0.0, max(self.size) / 2)
        square = (x + offset[0], y + offset[1], half)
        return replace(self, shift=self.shift - self.linear @ by, size=size, square=square)

    def scaled(self, size: Size) -> Bend:
        """The same for the picture at another size, height and width in latent pixels."""
        by = torch.tensor([old / new for old, new in zip(self.size[::-1], size[::-1], strict=True)]).to(self.linear)
        x, y, half = self.square or (0.0, 0.0, max(self.size) / 2)
        square = (x / float(by[0]), y / float(by[1]), half / float(by.mean()))
        return replace(self, linear=self.linear * by, size=size, square=square)

    def inverse(self, y: Tensor, rounds: int = 12) -> Tensor:
        """Positions (..., 2) in the noise of positions (..., 2) on the canvas, by iteration where the map is bent."""
        back = torch.linalg.inv(self.linear).T
        x = (y - self.shift) @ back
        for _ in range(rounds if self.coefficients is not None else 0):
            x = x + (y - self(x)) @ back
        return x

    @property
    def affine(self) -> Bend:
        """The same without what is not affine."""
        return replace(self, coefficients=None)


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
        degree: Largest i + j.
    """

    radius: int
    reach: int
    step: float
    window: float
    stiffness: float
    degree: int = 2 * DEGREE


PASSES = (
    Pass(14, 4, 1.0, 12.0, 3.0, 3),
    Pass(16, 4, 1.0, 10.0, 3.0, 4),
    Pass(20, 4, 0.75, 8.0, 5.0),
    Pass(31, 4, 0.5, 7.0, 2.0),
    Pass(31, 4, 0.25, 6.0, 2.0),
)

SPACING = 6
"""Latent pixels from block to block."""


def follow(noise: Tensor, template: Template, bend: Bend, passes: tuple[Pass, ...] = PASSES) -> Bend:
    """A bend that follows the pilot block by block, begun at an affine placement.

    Arguments:
        noise: With shape (C, h, w); the pilot stands in it with a positive sign.
    """
    noise = noise[list(template.channels)]
    x = positions(bend.size, noise.device)
    for each in passes:
        pattern = Sampled.of(template.within(each.radius))
        steps = torch.arange(-each.reach, each.reach + 1, device=noise.device)
        scores = blocks(pattern.products(noise, bend(x), steps, each.step), noise, each.window)
        bend = fitted(bend, *expected(scores, steps * each.step), each)
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

    def product(self, noise: Tensor, y: Tensor) -> Tensor:
        """e(x, 0), with shape (h, w)."""
        return self.products(noise, y, torch.zeros(1, dtype=torch.long, device=y.device), 0.0)[0, 0]

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


def fitted(bend: Bend, displacement: Tensor, weight: Tensor, each: Pass) -> Bend:
    """The bend whose blocks are displaced so, as far as they are sure of it and the coefficients stay small."""
    rows, columns = weight.shape
    height, width = bend.size
    y, x = (
        (torch.arange(n, device=weight.device) + 0.5) * side / n - side / 2
        for n, side in ((rows, height), (columns, width))
    )
    y, x = torch.meshgrid(y, x, indexing="ij")
    basis = bend.basis(torch.stack([x, y], dim=-1)).flatten(0, 1).double()
    before = basis.new_zeros(basis.shape[1], 2) if bend.coefficients is None else bend.coefficients.double()
    target = basis @ before + displacement.flatten(0, 1)
    i = torch.arange(DEGREE + 1, device=weight.device)
    order = (i[:, None] + i).flatten()
    cost = roughness(weight.device)
    w = weight.flatten().double()[:, None]
    cost = each.stiffness * torch.where(order > each.degree, 1e9, cost)
    normal = basis.T @ (w * basis) + torch.diag(cost)
    return replace(bend, coefficients=torch.linalg.solve(normal, basis.T @ (w * target)).float())


def roughness(device: torch.device) -> Tensor:
    """What each coefficient costs, those of an affine map next to nothing; shape ((DEGREE + 1)^2,), float64."""
    i = torch.arange(DEGREE + 1, device=device)
    squares = (i.square()[:, None] + i.square()).flatten().double()
    return torch.where((i[:, None] + i).flatten() > 1, squares, 1e-3)
