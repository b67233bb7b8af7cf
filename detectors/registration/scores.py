"""How well the pilot fits the noise, over many linear maps `L` and shifts `t` at once.

Scores are in standard deviations of what a random pilot gives: `z = sqrt(d) cos`, over the d coordinates compared.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .template import Spectrum, Template, index

__all__ = ["CELLS", "Peaks", "Workspace", "everywhere", "nearby", "peaks"]

CHUNK = 128
"""Maps scored at once: what they need then stays in a processor's cache."""

CELLS = 1 << 17
"""The same for all shifts: maps, times symmetries, times the square of the largest frequency."""


class Workspace:
    """Memory that is used time and again, by name: fresh pages take as long as the sums that are written to them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Float32 numbers, whatever they are."""
        size = math.prod(shape)
        if name not in self.parts or len(self.parts[name]) < size:
            self.parts[name] = torch.empty(size, device=self.device)
        return self.parts[name][:size].view(shape)


class Peaks(NamedTuple):
    """The shift at which each map fits best.

    Attributes:
        z: Score with its sign, the largest without it, with shape (G,).
        shift: t in latent pixels of the canvas, (x, y), with shape (G, 2).
    """

    z: Tensor
    shift: Tensor


def torus(template: Template) -> tuple[Tensor, Tensor]:
    """Shifts (x, y) over all of the canvas, close enough for the template's frequencies, from the centre."""
    steps = 3 * template.radius
    height, width = template.canvas
    return tuple((torch.arange(steps) / steps - 0.5).mul(side).to(template.values.device) for side in (width, height))


def everywhere(spectrum: Spectrum, template: Template, rows: Tensor, space: Workspace) -> Tensor:
    """The largest |z| over all shifts of each map and what the canvas' symmetries make of it, (G, symmetries).

    Arguments:
        rows: Of the spectrum, for every frequency and map, with shape (frequencies, G).
        space: Where it is computed.
    """
    samples, norm = sampled(spectrum, template, rows, space)
    count = template.symmetric.shape[-1]
    real, imaginary = (
        torch.bmm(samples, part, out=space(name, *rows.shape, count)).flatten(1)
        for name, part in zip(("real", "imaginary"), template.symmetric, strict=True)
    )
    most = largest(real, imaginary, template.radius, space).reshape(rows.shape[1], -1)
    return most * (math.sqrt(template.dimension) / template.length / norm.clamp_min(1e-30))[:, None]


def largest(real: Tensor, imaginary: Tensor, r: int, space: Workspace) -> Tensor:
    """The largest |Re sum_k v(k) exp(-2 pi i k t / side)| over shifts t, with shape (M,), of v on the rectangle of
    frequencies, its parts with shape ((r + 1) (2 r + 1), M).

    Shifts to both sides share their cosines and sines, so a quarter of them is computed; and the larger of `|C + S|`
    and `|C - S|` is `|C| + |S|`.
    """
    cos, sin = waves(r, real.device)
    even = torch.cat([cos[:, :1] / 2, cos[:, 1:]], dim=1)
    shifts, count = len(cos), real.shape[1]
    sides = []
    for name, part in (("real", real), ("imaginary", imaginary)):
        part = part.reshape(r + 1, 2 * r + 1, count)
        up, down, both = part[:, r:], part[:, : r + 1].flip(1), space("both", r + 1, r + 1, count)
        e, o = (space(f"{kind} {name}", r + 1, shifts, count) for kind in ("even", "odd"))
        torch.matmul(even, torch.add(up, down, out=both), out=e)
        torch.matmul(sin, torch.sub(up, down, out=both), out=o)
        sides.append((e, o))
    (e_real, o_real), (e_imaginary, o_imaginary) = sides
    along_y, across = (space(name, r + 1, 2, shifts, count) for name in ("along y", "across"))
    torch.sub(e_real, o_imaginary, out=along_y[:, 0])
    torch.add(e_real, o_imaginary, out=along_y[:, 1])
    torch.add(e_imaginary, o_real, out=across[:, 0])
    torch.sub(e_imaginary, o_real, out=across[:, 1])
    c, s = (space(name, shifts, 2 * shifts * count) for name in ("cosines", "sines"))
    torch.mm(cos, along_y.view(r + 1, -1), out=c)
    torch.mm(sin, across.view(r + 1, -1), out=s)
    return c.abs_().add_(s.abs_()).view(-1, count).amax(0)


@lru_cache(maxsize=64)
def waves(r: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of frequencies 0 to r at shifts over half of a side, each with shape (T, r + 1)."""
    n = 2 * round(1.5 * r)
    angle = torch.arange(n // 2 + 1, device=device)[:, None] * torch.arange(r + 1, device=device) * (2 * math.pi / n)
    return angle.cos(), angle.sin()


def peaks(spectrum: Spectrum, template: Template, maps: Tensor) -> Peaks:
    """The best of all shifts for each of some maps L (G, 2, 2)."""
    x, y = torus(template)
    parts = []
    for some in maps.split(CHUNK):
        rows = index(template.frequencies, some, spectrum.length)
        parts.append(best(scores(*products(spectrum, template, rows), template, x, y), x, y))
    return Peaks(*(torch.cat(values) for values in zip(*parts, strict=True)))


def nearby(spectrum: Spectrum, template: Template, maps: Tensor, shifts: Tensor, reach: int, step: float) -> Peaks:
    """The best of the shifts around one for each map.

    Arguments:
        maps: L, with shape (G, 2, 2).
        shifts: (x, y), with shape (G, 2).
        reach, step: So many steps to either side, each so many latent pixels long.
    """
    local = torch.arange(-reach, reach + 1, device=maps.device) * step
    parts = []
    for some, around in zip(maps.split(CHUNK), shifts.split(CHUNK), strict=True):
        rows = index(template.frequencies, some, spectrum.length)
        values, norm = products(spectrum, template, rows)
        x, y = (template.waves(around[:, axis], axis).T for axis in (0, 1))
        values = values.reshape(len(x), len(y), -1) * y * x[:, None]
        found = best(scores(values, norm, template, local, local), local, local)
        parts.append(Peaks(found.z, found.shift + around))
    return Peaks(*(torch.cat(values) for values in zip(*parts, strict=True)))


def products(spectrum: Spectrum, template: Template, rows: Tensor) -> tuple[Tensor, Tensor]:
    """`sum_c F_c conj V_c`, complex, with shape (frequencies, G), and the norms of F, with shape (G,)."""
    samples, norm = sampled(spectrum, template, rows)
    return torch.view_as_complex(torch.bmm(samples, template.weights)), norm


def sampled(
    spectrum: Spectrum, template: Template, rows: Tensor, space: Workspace | None = None
) -> tuple[Tensor, Tensor]:
    """F at rows (frequencies, G), with shape (frequencies, G, 2 channels), and its norms, with shape (G,)."""
    flat = rows.reshape(-1)
    samples, power = (
        torch.index_select(of, 0, flat, out=space and space(name, len(flat), *of.shape[1:]))
        for name, of in (("samples", spectrum.rows), ("power", spectrum.power))
    )
    return samples.reshape(*rows.shape, -1), (template.used @ power.reshape(rows.shape)).sqrt()


def scores(values: Tensor, norm: Tensor, template: Template, x: Tensor, y: Tensor) -> Tensor:
    """z at shifts x (X,) and y (Y,), with shape (X Y, G)."""
    r, count = template.radius, values.shape[-1]
    along_y = template.waves(y, 1) @ values.reshape(r + 1, 2 * r + 1, count)
    waves = template.waves(x, 0)
    along_y = along_y.flatten(1)
    z = waves.real @ along_y.real - waves.imag @ along_y.imag
    scale = math.sqrt(template.dimension) / template.length
    return z.reshape(-1, count) * (scale / norm.clamp_min(1e-30))


def best(z: Tensor, x: Tensor, y: Tensor) -> Peaks:
    """The largest of z (X Y, G) without its sign."""
    where = z.abs().argmax(dim=0)
    value = z.gather(0, where[None])[0]
    return Peaks(value, torch.stack([x[where // len(y)], y[where % len(y)]], dim=-1))
