"""How well the pilot fits the noise, over many linear maps `L` and shifts `t` at once.

Scores are in standard deviations of what a random pilot gives: `z = sqrt(d) cos`, over the d coordinates compared.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .template import Spectrum, Template, index

__all__ = ["CHUNK", "Peaks", "everywhere", "nearby", "peaks"]

CHUNK = 256


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


def everywhere(spectrum: Spectrum, template: Template, rows: Tensor) -> Tensor:
    """The largest |z| of each map over all shifts, with shape (G,).

    Arguments:
        rows: Of the spectrum, for every frequency and map, with shape (frequencies, G).
    """
    z = scores(*products(spectrum, template, rows), template, *torus(template))
    return torch.maximum(z.amax(0), -z.amin(0))


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
    flat = rows.reshape(-1)
    samples = spectrum.rows.index_select(0, flat).reshape(*rows.shape, -1)
    values = torch.view_as_complex(torch.bmm(samples, template.weights))
    power = spectrum.power.index_select(0, flat).reshape(rows.shape)
    return values, (template.used @ power).sqrt()


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
