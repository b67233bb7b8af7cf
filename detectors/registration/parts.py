"""Marked parts of larger noise: a screenshot, a collage, a picture pasted into another.

The noise is searched window by window, each for itself, at the scales between two levels of the pyramid that it is one
of (:mod:`..pyramid`); what stands out is placed in the whole, and of what lies over each other the best is kept. Each
part is then refined and read by itself, on what of the noise lies on its canvas.

Keys pay for the parts that are read at most, :data:`READS`, whatever the number of windows, levels and tiles: these
were chosen by the pilot, which knows nothing of the keys. The pilot pays for its net over the whole noise, on every
level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...watermark.keys import Key
from ..geometry import Size
from .bend import Bend
from .grid import Grid
from .ladder import RUNGS, Candidates, Rung, climb
from .placement import Placement
from .scores import Workspace
from .search import Found, kept, on_its_canvas, settled, template_of, tested
from .template import Template, spectrum

__all__ = ["PARTS", "READS", "apart", "parts", "strongest"]

PARTS = 12
"""Marked parts that are read, at most."""

READS = 2 * PARTS
"""Placements that keys are read at, straight and bent: what their union bound pays."""

WINDOW = Grid(12.0, (0.6, 1.7), kept=32)
"""For windows, of which there are many: parts that were turned, scaled and mirrored."""

WINDOW_RUNGS = (Rung(11.0, 24), Rung(14.0, 8), Rung(19.0, 3, 2))

PLAUSIBLE = 6.0
"""Score in standard deviations from which a part is looked at for itself; chance seldom reaches it in a window."""

LEAST = 256
"""Latent pixels that a marked part has at least."""

OVERLAP = 0.3
"""Share of a part that may lie over a better one."""

FINE_PADDING = 8


def parts(noise: Tensor, pilot: Key, canvas: Size, levels: int = 1) -> list[Found]:
    """Where a pilot stands in parts of noise that is larger than its canvas, the best first.

    Arguments:
        noise: Recovered noise with shape (C, h, w), as it is read.
        pilot: The pilot.
        canvas: Height and width in latent pixels of the noise that it was planted in.
        levels: Sizes of the picture that are looked through.

    Returns:
        At most :data:`PARTS` places; some of them may be chance.
    """
    noise, size = noise.float(), tuple(noise.shape[1:])
    template = template_of(pilot, canvas, noise.device)
    space = Workspace(noise.device)
    begun: list[tuple[float, Placement]] = []
    for offset, window in windows(noise, canvas):
        seen = spectrum(window, template.channels)
        places = climb(seen, template, kept(seen, template, WINDOW, space), WINDOW_RUNGS)
        for linear, shift in zip(places.maps, places.shifts, strict=True):
            first, z = on_its_canvas(window, template, Bend(linear, shift, tuple(window.shape[1:])))
            if abs(z) >= PLAUSIBLE and not first.wrapped:
                begun.append((z, replace(first, bend=first.bend.within(offset, size))))
    begun.sort(key=lambda pair: -abs(pair[0]))
    found = []
    for placement in distinct([placement for _, placement in begun])[:PARTS]:
        if int(placement.inside.sum()) >= LEAST:
            straight, bent, z = part(noise, template, placement)
            found.append(Found(straight, bent, z, tested(noise, pilot, straight, levels)))
    return sorted(found, key=lambda one: -abs(one.z))


def strongest(found: Sequence[Found]) -> list[Found]:
    """What several levels found, the best first, each part once: at most :data:`PARTS`."""
    ordered = sorted(found, key=lambda one: -abs(one.z))
    kept = set(map(id, apart([one.placement for one in ordered])))
    return [one for one in ordered if id(one.placement) in kept][:PARTS]


def apart(placements: Sequence[Placement]) -> list[Placement]:
    """Those in one picture, at any of its sizes, that do not lie over a better one, which come first."""
    size = max((one.bend.size for one in placements), default=(0, 0))
    scaled = [replace(one, bend=one.bend.scaled(size)) for one in placements]
    kept = set(map(id, distinct(scaled)))
    return [one for one, place in zip(placements, scaled, strict=True) if id(place) in kept]


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
