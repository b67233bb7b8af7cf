"""How a picture's noise is recovered for one look: from the whole of it, brought back, or level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from ..inversion.chain import Recovered, recover, recovering, together
from ..inversion.recovery import Recovery
from ..watermark.keys import Key
from .leading import Led
from .pyramid import Levels
from .pyramid import field as tiled
from .registration.placement import Placement

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Seen", "recover_back", "recover_levels", "recover_whole"]


@dataclass
class Seen:
    """One picture while it is judged.

    Attributes:
        picture: The picture.
        recovery, recovered: How noise was recovered last from the whole of it, and that noise.
        levels: Its noise at each of its further sizes, in the same way.
        back: Its noise once it was brought back, by the pilot that led to it and the placement.
        led: Where each pilot leads, by the pilot and the reading.
    """

    picture: Levels
    recovery: Recovery | None = None
    recovered: Recovered | None = None
    levels: list[Recovered] = field(default_factory=list)
    back: dict[Key, dict[Placement, Recovered]] = field(default_factory=dict)
    led: dict[tuple[Key, str], Led | None] = field(default_factory=dict)

    def read_in(self, reading: str, pilot: Key | None, placement: Placement | None) -> Recovered:
        """The noise that something was read in."""
        if reading == "again":
            return self.back[pilot][placement]
        size = placement.bend.size if placement else None
        return next((one for one in self.levels if tuple(one.noise.shape[2:]) == size), self.recovered)


def recover_whole(model: LatentDiffusion, seen: Sequence[Seen], recovery: Recovery) -> None:
    """Recover the noise of some pictures of one size, unless that was done."""
    missing = [one for one in seen if one.recovery != recovery]
    if not missing:
        return
    known = None
    if all(one.recovery and one.recovery.decoding == recovery.decoding for one in missing):
        known = together([one.recovered for one in missing])
    found = recover(model, recovery, torch.stack([one.picture.whole for one in missing]), known)
    for row, one in enumerate(missing):
        one.recovery, one.recovered = recovery, found.of([row])
        one.levels, one.back, one.led = [], {}, {}


def recover_levels(model: LatentDiffusion, seen: Seen) -> list[Recovered]:
    """The noise of a picture at each of its further sizes."""
    whole = tuple(seen.picture.whole.shape[1:])
    recover = recovering(model, seen.recovery)
    seen.levels = seen.levels or [
        seen.recovered
        if size == whole
        else tiled(recover, seen.picture.at(size), model.native_size, model.downsampling)
        for size in seen.picture.sizes
    ]
    return seen.levels


def recover_back(model: LatentDiffusion, seen: Seen, pilot: Key, placements: Sequence[Placement]) -> list[Recovered]:
    """The noise of a picture that was brought back from where its pilot stands, from each of some placements of one
    canvas."""
    size = tuple(side * model.downsampling for side in placements[0].canvas)
    back = torch.stack([one.brought_back(seen.picture.whole, size) for one in placements])
    recovered = recovering(model, seen.recovery)(back)
    seen.back[pilot] = {one: recovered.of([row]) for row, one in enumerate(placements)}
    return list(seen.back[pilot].values())
