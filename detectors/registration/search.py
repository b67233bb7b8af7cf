"""The search: from recovered noise and a pilot to the placements at which keys are read.

    coarse      low frequencies on a grid of maps, all shifts (:mod:`.grid`, :mod:`.scores`)
    ladder      the best few per cent at ever higher frequencies (:mod:`.ladder`)
    bends       blocks of the noise followed one by one (:mod:`.bend`)

All canvases that a picture may have been made on are searched together: what is best on any of them is refined. One
pilot serves any number of keys, which cost the search nothing.

What is paid for what. A key is tested where the pilot stands: as the pilot knows nothing of the key, that is a test at
a placement that was chosen without it, and pays for the number of placements read (:data:`READS`), not for the grid.
The pilot itself is tested at a point of a net that was laid before, and pays for all of it, on every canvas
(:mod:`.net`). What is given up on the way, because the pilot stands out better elsewhere, leaves tests out, and costs
no rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ...watermark.keys import Key
from ..geometry import Canvas, Size
from ..statistic import corrected, cosine, hypercone_log10_p
from .bend import Bend, Sampled, follow, positions
from .grid import COARSE, QUARTERS, Grid, rows
from .ladder import RUNGS, Candidates, chained, distinct, step
from .net import rounded
from .placement import Placement
from .scores import CELLS, Workspace, everywhere, peaks
from .template import Spectrum, Template, spectrum

__all__ = ["FOLLOWED", "MOST", "READS", "Found", "kept", "on_its_canvas", "search", "settled", "template_of", "tested"]

SIGNS = 2
FOLLOWED = 7.0
"""Least score from which blocks are followed, in standard deviations: chance seldom reaches it in a whole search."""

MOST = 3
"""Places that keys are read at, at most."""

READS = 2 * MOST
"""Placements that they are read at, straight and bent: what their union bound pays."""

WRAPPED = 1.12
"""Score on all copies of the canvas over that on the best one, from which noise is taken to be wrapped around."""

ROUGH = 2
"""Rungs that the coarse grid's transform serves as well."""

FINE_PADDING = 8


@dataclass(frozen=True, eq=False)
class Found:
    """A place where the pilot stands, or stands closest.

    Attributes:
        placement: The affine placement.
        bent: The placement that follows the pilot block by block; None where it was not tried.
        z: The pilot's score in standard deviations, with its sign, at the affine placement.
        log10_p: log10 of the p-value of the pilot, paid for the whole net and both signs.
    """

    placement: Placement
    bent: Placement | None
    z: float
    log10_p: float

    @property
    def placements(self) -> list[Placement]:
        """Those that keys are read at."""
        return [self.placement] if self.bent is None else [self.placement, self.bent]


def search(noise: Tensor, pilot: Key, canvases: Sequence[Canvas]) -> list[Found]:
    """Where a pilot stands in noise, the best first.

    Arguments:
        noise: Recovered noise with shape (C, h, w), as it is read.
        pilot: The pilot.
        canvases: Those that it may have been planted in; in quarter turns alone where they say so.

    Returns:
        At most :data:`MOST` places, some of them chance.
    """
    noise = noise.float()
    templates = [template_of(pilot, canvas.size, noise.device) for canvas in canvases]
    found = []
    for template, places in zip(templates, candidates(noise, templates, list(map(grids, canvases))), strict=True):
        for linear, shift in zip(places.maps, places.shifts, strict=True):
            straight, bent, z = settled(noise, template, Bend(linear, shift, tuple(noise.shape[1:])))
            found.append(Found(straight, bent, z, tested(noise, pilot, straight, len(canvases))))
    return sorted(found, key=lambda one: -abs(one.z))


def grids(canvas: Canvas) -> tuple[Grid, ...]:
    """The coarse grids of a canvas."""
    return QUARTERS if canvas.angle_step else COARSE


@lru_cache(maxsize=32)
def template_of(pilot: Key, canvas: Size, device: torch.device) -> Template:
    return Template.of(pilot, canvas).to(device)


def candidates(noise: Tensor, templates: Sequence[Template], grids: Sequence[Sequence[Grid]]) -> list[Candidates]:
    """The best placements in noise (C, h, w), :data:`MOST` in all, by canvas."""
    seen = spectrum(noise, templates[0].channels)
    space = Workspace(noise.device)
    every = [chained([kept(seen, t, grid, space) for grid in some]) for t, some in zip(templates, grids, strict=True)]
    for height, rung in enumerate(RUNGS):
        if height == ROUGH:
            seen = spectrum(noise, templates[0].channels, FINE_PADDING)
        every = best(every, 3 * rung.count)
        every = best([distinct(part, t) for part, t in zip(every, templates, strict=True)], rung.count)
        every = [step(seen, t, part, rung) if len(part.z) else part for part, t in zip(every, templates, strict=True)]
    return best(every, MOST)


def best(every: Sequence[Candidates], count: int) -> list[Candidates]:
    """So many of the best of all, by canvas, each in order."""
    z = torch.cat([part.z.abs() for part in every])
    limit = z.topk(min(count, len(z))).values[-1]
    return [part.best(int((part.z.abs() >= limit).sum())) for part in every]


def kept(seen: Spectrum, template: Template, grid: Grid, space: Workspace) -> Candidates:
    """The best of a coarse grid, as many as it keeps."""
    bands = rows(grid, template, seen.length, CELLS)
    scored = [torch.cat([everywhere(seen, low, part, space) for part in chunks]) for low, _, chunks in bands]
    every = torch.cat(scored).flatten()
    limit = every.topk(min(grid.kept, len(every))).values[-1]
    found = []
    for (low, maps, _), z in zip(bands, scored, strict=True):
        at, symmetry = torch.nonzero(z >= limit, as_tuple=True)
        if len(at):
            chosen = low.symmetries[symmetry].to(maps) @ maps[at]
            best = peaks(seen, low, chosen)
            found.append(Candidates(chosen, best.shift, best.z))
    return chained(found)


def settled(noise: Tensor, template: Template, bend: Bend) -> tuple[Placement, Placement | None, float]:
    """A placement in noise (C, h, w): on which copy of the canvas it lies, the same followed, and its score."""
    placement, z = on_its_canvas(noise, template, bend)
    bent = None
    if abs(z) >= FOLLOWED:
        seen = noise * placement.inside * math.copysign(1.0, z)
        bent = replace(placement, bend=follow(seen, template, placement.bend))
    return placement, bent, z


def tested(noise: Tensor, pilot: Key, placement: Placement, nets: int = 1) -> float:
    """log10 of the pilot's p-value at the points of the nets next to a placement, paid for so many of both nets."""
    pattern = pilot.pattern.fitted(placement.canvas)
    direction = pattern.restrict(pilot.direction)
    best = 0.0
    for bend, trials in rounded(placement.bend, placement.canvas):
        # Either the canvas lies somewhere, or the noise is wrapped around it.
        c = replace(placement, bend=bend).coordinates(noise, pilot.pattern).flatten().numpy()
        p = hypercone_log10_p(abs(cosine(c, direction)), pattern.dimension)
        best = min(best, float(corrected(p, 2 * SIGNS * nets * trials)))
    return best


def on_its_canvas(noise: Tensor, template: Template, bend: Bend) -> tuple[Placement, float]:
    """An affine placement on that copy of the canvas, or on all of them, where the pilot stands out most, and by how
    many standard deviations.

    Copies of the pilot repeat side by side: a shift is known up to them until it is seen where the noise agrees.
    """
    chosen = noise[list(template.channels)]
    y = bend(positions(bend.size, noise.device))
    product = Sampled.of(template).product(chosen, y)
    power = power_within(chosen, template, bend.linear)
    side = torch.tensor(template.canvas[::-1]).to(y)
    copy = (y / side).round()
    spread = power.sum().sqrt().clamp_min(1e-6)
    placed = []
    for one in itertools.product(*(each.unique() for each in copy.flatten(0, 1).unbind(-1))):
        one = torch.stack(one)
        here = (copy == one).all(-1)
        score = float((product * here).sum() / (power * here).sum().sqrt().clamp_min(0.2 * spread))
        placed.append((score, Placement(replace(bend, shift=bend.shift - one * side), template.canvas)))
    z, best = max(placed, key=lambda pair: abs(pair[0]))
    everywhere = float(product.sum() / spread)
    return (Placement(bend, template.canvas, True), everywhere) if abs(everywhere) > WRAPPED * abs(z) else (best, z)


def power_within(noise: Tensor, template: Template, linear: Tensor) -> Tensor:
    """Power (h, w) of noise (C, h, w) at the frequencies that a pilot has there, over the share of all that they are:
    of a score, which the others take no part in, the variance."""
    height, width = noise.shape[1:]
    y, x = (torch.fft.fftfreq(side, device=noise.device) for side in (height, width))
    nu = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    k = nu @ torch.linalg.inv(linear) * torch.tensor(template.canvas[::-1], device=noise.device)
    inside = k.norm(dim=-1) <= template.radius + 0.5
    heard = torch.fft.ifft2(torch.fft.fft2(noise) * inside).real
    return heard.square().sum(0) / inside.float().mean()
