"""The search: from recovered noise and a pilot to the placements at which keys are read.

    coarse      low frequencies on a grid of maps, all shifts (:mod:`.grid`, :mod:`.scores`)
    ladder      the best few per cent at ever higher frequencies (:mod:`.ladder`)
    bends       blocks of the noise followed one by one (:mod:`.bend`)

Noise larger than the canvas is searched window by window, and each marked part is read by itself. One pilot serves any
number of keys, which cost the search nothing. A key is tested where the pilot stands: as the pilot knows nothing of the
key, that is a test at a placement that was chosen without it, and pays for the number of placements read
(:func:`reads`), not for the grid. The pilot itself pays for the whole net (:mod:`.net`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ...watermark.keys import Key
from ..geometry import Size
from ..statistic import corrected, cosine, hypercone_log10_p
from .bend import Bend, Sampled, follow, positions
from .grid import COARSE, Grid, rows
from .ladder import RUNGS, Candidates, Rung, chained, climb
from .net import rounded
from .placement import Placement
from .scores import CHUNK, everywhere, peaks
from .template import Spectrum, Template, spectrum

__all__ = ["QUARTERS", "THOROUGH", "Effort", "Found", "reads", "search"]

SIGNS = 2
FOLLOWED = 6.5
"""Least score from which blocks are followed, in standard deviations: what chance reaches over the whole search."""

PARTS = 12
"""Marked parts of a larger picture that are read, at most."""

WHOLE = 1.5
"""Sides of noise, over the canvas', up to which it is one window."""

LEAST = 256
"""Latent pixels that a marked part has at least."""

OVERLAP = 0.3
"""Share of a part that may lie over a better one."""

WRAPPED = 1.12
"""Score on all copies of the canvas over that on the best one, from which noise is taken to be wrapped around."""

ROUGH = 2
"""Rungs that the coarse grid's transform serves as well."""

FINE_PADDING = 8


@dataclass(frozen=True)
class Effort:
    """How far and how closely is searched.

    Attributes:
        grids: The coarse grids.
        rungs: How these are refined.
        most: Placements that keys are read at in a window, straight and bent.
    """

    grids: tuple[Grid, ...]
    rungs: tuple[Rung, ...]
    most: int


THOROUGH = Effort(COARSE, RUNGS, 3)
"""Some 16,000 maps; what the picture is most likely to have been."""

QUARTERS = Effort((Grid(10.0, (0.5, 2.0), tilt=0.0, kept=24),), (Rung(14.0, 8), Rung(24.0, 3), Rung(64.0, 1, 2)), 1)
"""Quarter turns alone, for canvases of other shapes."""


WINDOW = Effort((Grid(12.0, (0.6, 1.7), kept=120),), (Rung(13.0, 120), Rung(18.0, 25), Rung(28.0, 5), Rung(64.0, 2)), 2)
"""For windows of larger noise, of which there are many: parts that were turned, scaled and mirrored."""


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


def search(noise: Tensor, pilot: Key, canvas: Size, effort: Effort = THOROUGH) -> list[Found]:
    """Where a pilot stands in noise, the best first.

    Arguments:
        noise: Recovered noise with shape (C, h, w), as it is read.
        pilot: The pilot.
        canvas: Height and width in latent pixels of the noise that it was planted in.
        effort: How far and how closely is searched.

    Returns:
        At most `effort.most` places, or :data:`PARTS` in noise of several windows; some of them chance.
    """
    template, noise = template_of(pilot, canvas).to(noise.device), noise.float()
    if whole(size := tuple(noise.shape[1:]), canvas):
        places = candidates(noise, template, effort)
        settling = (settled(noise, template, Bend(m, t, size)) for m, t in zip(places.maps, places.shifts, strict=True))
    else:
        settling = parts(noise, template)
    found = [Found(straight, bent, z, tested(noise, pilot, straight)) for straight, bent, z in settling]
    return sorted(found, key=lambda one: -abs(one.z))


def reads(size: Size, canvas: Size, effort: Effort = THOROUGH) -> int:
    """Placements that a key may be read at in noise of a size: what its union bound pays."""
    return 2 * (effort.most if whole(size, canvas) else PARTS)


def whole(size: Size, canvas: Size) -> bool:
    """Whether noise of a size is one window."""
    return max(side / own for side, own in zip(size, canvas, strict=True)) <= WHOLE


@lru_cache(maxsize=8)
def template_of(pilot: Key, canvas: Size) -> Template:
    return Template.of(pilot, canvas)


def candidates(noise: Tensor, template: Template, effort: Effort) -> Candidates:
    """The best placements in one window of noise (C, h, w)."""
    seen = spectrum(noise, template.channels)
    joined = chained([kept(seen, template, grid) for grid in effort.grids])
    joined = climb(seen, template, joined, effort.rungs[:ROUGH])
    fine = spectrum(noise, template.channels, FINE_PADDING)
    return climb(fine, template, joined, effort.rungs[ROUGH:]).best(effort.most)


def kept(seen: Spectrum, template: Template, grid: Grid) -> Candidates:
    """The best of a coarse grid, as many as it keeps."""
    bands = rows(grid, template, seen.length, CHUNK // len(template.symmetries))
    scored = [torch.cat([everywhere(seen, low, part) for part in chunks]) for low, _, chunks in bands]
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


def tested(noise: Tensor, pilot: Key, placement: Placement) -> float:
    """log10 of the pilot's p-value at the points of the nets next to a placement."""
    pattern = pilot.pattern.fitted(placement.canvas)
    direction = pattern.restrict(pilot.direction)
    best = 0.0
    for bend, trials in rounded(placement.bend, placement.canvas):
        # Either the canvas lies somewhere, or the noise is wrapped around it.
        c = replace(placement, bend=bend).coordinates(noise, pilot.pattern).flatten().numpy()
        p = hypercone_log10_p(abs(cosine(c, direction)), pattern.dimension)
        best = min(best, float(corrected(p, 2 * SIGNS * trials)))
    return best


def on_its_canvas(noise: Tensor, template: Template, bend: Bend) -> tuple[Placement, float]:
    """An affine placement on that copy of the canvas, or on all of them, where the pilot stands out most, and by how
    many standard deviations.

    Copies of the pilot repeat side by side: a shift is known up to them until it is seen where the noise agrees.
    """
    chosen = noise[list(template.channels)]
    y = bend(positions(bend.size, noise.device))
    product = Sampled.of(template).product(chosen, y)
    power = chosen.square().sum(0)
    side = torch.tensor(template.canvas[::-1]).to(y)
    copy = (y / side).round()
    spread = power.sum().sqrt().clamp_min(1e-6)
    placed = []
    for one in copy.flatten(0, 1).unique(dim=0):
        here = (copy == one).all(-1)
        score = float((product * here).sum() / (power * here).sum().sqrt().clamp_min(0.2 * spread))
        placed.append((score, Placement(replace(bend, shift=bend.shift - one * side), template.canvas)))
    z, best = max(placed, key=lambda pair: abs(pair[0]))
    everywhere = float(product.sum() / spread)
    return (Placement(bend, template.canvas, True), everywhere) if abs(everywhere) > WRAPPED * abs(z) else (best, z)


def parts(noise: Tensor, template: Template) -> Iterator[tuple[Placement, Placement | None, float]]:
    """What is found in windows of larger noise: the best of those that lie over each other, settled by itself."""
    size = tuple(noise.shape[1:])
    begun: list[tuple[float, Placement]] = []
    for offset, window in windows(noise, template.canvas):
        places = candidates(window, template, WINDOW)
        for linear, shift in zip(places.maps, places.shifts, strict=True):
            first, z = on_its_canvas(window, template, Bend(linear, shift, tuple(window.shape[1:])))
            if not first.wrapped:
                begun.append((z, replace(first, bend=first.bend.within(offset, size))))
    begun.sort(key=lambda pair: -abs(pair[0]))
    for placement in distinct([placement for _, placement in begun])[:PARTS]:
        if int(placement.inside.sum()) >= LEAST:
            yield part(noise, template, placement)


def part(noise: Tensor, template: Template, placement: Placement) -> tuple[Placement, Placement | None, float]:
    """One marked part, refined on what of the noise lies on its canvas."""
    middle, own, bend = cut_out(noise, placement)
    begun = Candidates(bend.linear[None], bend.shift[None], bend.shift.new_ones(1))
    refined = climb(spectrum(own, template.channels, FINE_PADDING), template, begun, RUNGS[-2:])
    *places, z = settled(own, template, replace(bend, linear=refined.maps[0], shift=refined.shifts[0]))
    size = tuple(noise.shape[1:])
    straight, bent = (place and Placement(place.bend.within(middle, size), place.canvas) for place in places)
    return straight, bent, z


def windows(noise: Tensor, canvas: Size) -> Iterator[tuple[tuple[float, float], Tensor]]:
    """Windows of a canvas' size that overlap by half, each with its centre's offset (x, y) from the noise's."""
    height, width = noise.shape[1:]
    starts = [
        sorted({min(i * own // 2, max(0, side - own)) for i in range(max(1, math.ceil(2 * side / own) - 1))})
        for side, own in zip((height, width), canvas, strict=True)
    ]
    for top, left in itertools.product(*starts):
        part = noise[:, top : top + canvas[0], left : left + canvas[1]]
        yield (left + (part.shape[2] - width) / 2, top + (part.shape[1] - height) / 2), part


def cut_out(noise: Tensor, placement: Placement) -> tuple[tuple[float, float], Tensor, Bend]:
    """What of the noise lies on a canvas, zeros around it; its centre's offset (x, y), and the bend seen from there."""
    inside = placement.inside
    rows, columns = (torch.nonzero(inside.any(axis)).flatten() for axis in (1, 0))
    (top, bottom), (left, right) = ((int(part[0]), int(part[-1]) + 1) for part in (rows, columns))
    height, width = noise.shape[1:]
    own = (noise * inside)[:, top:bottom, left:right]
    middle = (left + right - width) / 2, (top + bottom - height) / 2
    bend = placement.bend.within((-middle[0], -middle[1]), (bottom - top, right - left))
    return middle, own, replace(bend, square=None)


def distinct(placements: Sequence[Placement]) -> list[Placement]:
    """Those that do not lie over a better one, which come first."""
    kept: list[Placement] = []
    for one in placements:
        area = one.inside.sum().clamp_min(1)
        if not any((one.inside & other.inside).sum() > OVERLAP * area for other in kept):
            kept.append(one)
    return kept
