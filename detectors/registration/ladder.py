"""From the best of the coarse grid to exact placements: ever fewer candidates at ever higher frequencies.

On each rung every candidate is tried as it is and changed by a step to both sides in scale, angle and squeeze, at all
shifts nearby; the vertices of the parabolas through the three scores say where it stands next. The step goes with the
frequencies, so that what one rung leaves open the next can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .grid import HALF, STEP
from .maps import changed, magnification
from .scores import nearby
from .template import Spectrum, Template

__all__ = ["RUNGS", "Candidates", "Rung", "chained", "climb", "distinct"]


class Candidates(NamedTuple):
    """Placements and their scores, the best first.

    Attributes:
        maps: L, with shape (G, 2, 2).
        shifts: t, with shape (G, 2).
        z: Their scores, with shape (G,).
    """

    maps: Tensor
    shifts: Tensor
    z: Tensor

    def of(self, chosen: Tensor | slice) -> Candidates:
        return Candidates(*(part[chosen] for part in self))

    def best(self, count: int) -> Candidates:
        """So many of the best, the best first."""
        return self.of(self.z.abs().topk(min(count, len(self.z))).indices)


class Rung(NamedTuple):
    """One height of the ladder.

    Attributes:
        reach: Frequencies at scale 1, in cycles a side.
        count: Candidates that are let in.
        rounds: How often each is moved, by half the step of the time before.
    """

    reach: float
    count: int
    rounds: int = 1


RUNGS = (Rung(11.0, 100), Rung(14.0, 32), Rung(19.0, 10, 2), Rung(28.0, 4, 2), Rung(64.0, 3, 2))


def climb(spectrum: Spectrum, template: Template, candidates: Candidates, rungs: tuple[Rung, ...]) -> Candidates:
    """The best candidates, placed as exactly as the pilot shows."""
    for rung in rungs:
        candidates = distinct(candidates.best(3 * rung.count), template).best(rung.count)
        candidates = step(spectrum, template, candidates, rung)
    return candidates


def step(spectrum: Spectrum, template: Template, candidates: Candidates, rung: Rung) -> Candidates:
    """Candidates moved on one rung, those of like scale together, which share their frequencies."""
    scale = magnification(candidates.maps).clamp(1.0, 3.2)
    band = (scale.log2() * 3).ceil()
    parts = []
    for level in band.unique():
        members = candidates.of(band == level)
        widest = 2 ** (float(level) / 3)
        low = template.within(min(template.radius, round(rung.reach * widest)))
        parts.append(moved(spectrum, low, members, min(rung.reach, template.radius), rung.rounds))
    return chained(parts).best(rung.count)


def chained(parts: Sequence[Candidates]) -> Candidates:
    """All of them in one."""
    return Candidates(*(torch.cat(part) for part in zip(*parts, strict=True)))


def moved(spectrum: Spectrum, low: Template, members: Candidates, reach: float, rounds: int) -> Candidates:
    """Candidates of like scale moved up their scores."""
    near = max(low.canvas) / (4 * low.radius)
    best, centre = None, members
    for turn in range(rounds + 1):
        size = STEP / (HALF * reach) / 2 ** (turn + 1)
        last = turn == rounds
        steps = stencil(size, centre.maps.device)[: 1 if last else None]
        maps = centre.maps
        if not last:
            maps = changed(maps[:, None].expand(-1, len(steps), -1, -1).flatten(0, 1), steps.repeat(len(maps), 1))
        around = centre.shifts.repeat_interleave(len(steps), 0)
        z, shifts = nearby(spectrum, low, maps, around, *((4, near) if turn == 0 else (3, near / 2)))
        tried = Candidates(maps, shifts, z)
        tried = Candidates(*(part.reshape(len(centre.z), len(steps), *part.shape[1:]) for part in tried))
        top = tried.z.abs().argmax(1)
        row = torch.arange(len(top), device=top.device)
        seen = Candidates(*(part[row, top] for part in tried))
        best = seen if best is None else better(best, seen)
        if not last:
            sign = tried.z[row, top].sign()[:, None]
            centre = Candidates(changed(centre.maps, vertices(tried.z * sign, size)), seen.shifts, seen.z)
    return best


def better(one: Candidates, other: Candidates) -> Candidates:
    """Of each pair the one that fits better."""
    chosen = other.z.abs() > one.z.abs()
    return Candidates(
        *(torch.where(chosen.reshape(-1, *[1] * (a.dim() - 1)), b, a) for a, b in zip(one, other, strict=True))
    )


def stencil(size: float, device: torch.device) -> Tensor:
    """No step, then one back and one forth in each of the four, with shape (9, 4)."""
    axes = torch.eye(4, device=device) * size
    return torch.cat([torch.zeros(1, 4, device=device), -axes, axes])


def vertices(z: Tensor, size: float) -> Tensor:
    """Where the parabolas through the scores (G, 9) of a stencil peak, at most one and a half steps away: (G, 4)."""
    middle, back, forth = z[:, :1], z[:, 1:5], z[:, 5:]
    bend = (back + forth - 2 * middle).clamp_max(-1e-3)
    peak = 0.5 * (back - forth) / bend
    uphill = torch.where(forth > back, 1.0, -1.0)
    flat = torch.maximum(back, forth) > middle
    return size * torch.where(flat, uphill, peak).clamp(-1.0, 1.0)


def distinct(candidates: Candidates, template: Template) -> Candidates:
    """Candidates without those that lie within latent pixels of a better one."""
    height, width = template.canvas
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]], device=candidates.z.device) * HALF / 2
    places = corners @ candidates.maps.transpose(1, 2) + candidates.shifts[:, None]
    size = torch.tensor([width, height], device=places.device, dtype=places.dtype)
    apart = places[:, None] - places[None]
    apart = (apart - size * (apart / size).round()).norm(dim=-1).amax(-1)
    near = (apart < NEAR).cpu().numpy()
    free = np.ones(len(near), dtype=bool)
    kept = []
    for i in candidates.z.abs().argsort(descending=True).tolist():
        if free[i]:
            kept.append(i)
            free &= ~near[i]
    return candidates.of(torch.tensor(kept, dtype=torch.long, device=candidates.z.device))


NEAR = 3.0
"""Latent pixels of the canvas by which placements differ at least, where the picture differs most."""
