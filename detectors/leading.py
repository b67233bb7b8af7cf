"""Where a pilot leads: the places of an image where its keys and names are read, whatever these are.

Three looks follow it: over the whole picture, over the picture brought back from where it stands, recovered once more,
and over parts of a larger one. No key and no name takes part in the choice of a place, so a test of one pays for the
places that are read at most, and for nothing else of the search: :data:`~.registration.search.READS`, :data:`AGAIN`,
and :data:`~.registration.parts.READS`. The pilot's own p-value is paid for the nets that it is looked for on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..watermark.keys import Key
from ..watermark.spectrum import mask_coordinates
from .geometry import Canvas, Size
from .reading import KeyGroup, Standing, closest, resampled, without
from .registration import parts as partial
from .registration import search as whole
from .registration.placement import Placement
from .registration.search import FOLLOWED, Found
from .statistic import cosine

__all__ = ["Led", "Read", "keys_at", "lead", "lead_to_parts", "read_again", "worth_another"]


AGAIN = 2
"""Placements that an image is brought back from, straight and bent."""


class Read(NamedTuple):
    """Masked coordinates (channels, n, 2), float64, of the pilot's pattern at a placement."""

    coordinates: Tensor
    placement: Placement


@dataclass(frozen=True, eq=False)
class Led:
    """Where a pilot leads in one image.

    Attributes:
        places: What is read at each place, straight and bent, the place first where the pilot stands out most.
        paid: Placements that are read at most: what every key pays for.
        presence: log10 of the pilot's p-value, paid for its nets and both signs.
        found: The places, where it was looked for.
    """

    places: Sequence[Sequence[Read]]
    paid: int
    presence: float = 0.0
    found: Sequence[Found] = ()


def lead(noise: Tensor, pilot: Key, canvases: Sequence[Canvas], common: Tensor | None = None) -> Led:
    """Where a pilot leads in the whole of an image.

    Arguments:
        noise: Prepared noise with shape (C, h, w).
        pilot: The pilot.
        canvases: Those that it may have been planted in.
        common: What unmarked readings have in common, with shape (K, C, h', w'); projected out.
    """
    found = whole.search(noise, pilot, canvases)
    return led({tuple(noise.shape[1:]): noise}, pilot, found, whole.READS, common)


def lead_to_parts(fields: Sequence[Tensor], pilot: Key, canvas: Size) -> Led:
    """Where a pilot leads in an image that is larger than its canvas.

    Arguments:
        fields: Prepared noise of the image, level by level, each with shape (C, h, w).
        pilot: The pilot.
        canvas: Height and width in latent pixels of that which it may have been planted in.
    """
    every = [one for field in fields for one in partial.parts(field, pilot, canvas, len(fields))]
    by_size = {tuple(field.shape[1:]): field for field in fields}
    return led(by_size, pilot, partial.strongest(every), partial.READS)


def worth_another(led: Led | None) -> list[Placement]:
    """Where an image is brought back from, to be read once more: where the pilot stands out most, if it does."""
    return led.found[0].placements if led and led.found and abs(led.found[0].z) >= FOLLOWED else []


def read_again(
    noise: Sequence[Tensor], pilot: Key, placements: Sequence[Placement], common: Tensor | None = None
) -> Led:
    """What is read in an image that was brought back from some placements.

    Arguments:
        noise: Prepared noise, brought back from each of them, each with shape (C, h, w).
        pilot: The pilot.
        placements: At most :data:`AGAIN`, at one place.
        common: As for :func:`lead`.
    """
    place = []
    for one, placement in zip(noise, placements, strict=True):
        masked = mask_coordinates(beside(one, common) * placement.shown.to(one), pilot.pattern)
        place.append(Read(without(masked[:1], masked[1:])[0], placement))
    return Led([place], AGAIN)


def led(
    noise: Mapping[Size, Tensor], pilot: Key, found: Sequence[Found], paid: int, common: Tensor | None = None
) -> Led:
    """What is read at places that were found in noise of some sizes."""

    def read(placement: Placement) -> Read:
        masked = placement.coordinates(beside(noise[placement.bend.size], common), pilot.pattern.whole)
        return Read(without(masked[:1], masked[1:])[0], placement)

    places = [[read(placement) for placement in one.placements] for one in found]
    return Led(places, paid, min((one.log10_p for one in found), default=0.0), found)


def beside(noise: Tensor, common: Tensor | None) -> Tensor:
    """Noise (C, h, w), and after it what readings have in common at its size, with shape (1 + K, C, h, w)."""
    if common is None:
        return noise[None]
    return torch.cat([noise[None], resampled(common, tuple(noise.shape[1:])).to(noise)])


def keys_at(group: KeyGroup, place: Sequence[Read]) -> list[Standing]:
    """The best of each key over what is read at one place."""
    return [closest(row) for row in zip(*(keys_read(group, one) for one in place), strict=True)]


def keys_read(group: KeyGroup, read: Read) -> list[Standing]:
    placement = read.placement
    part = group.fitted(placement.canvas)
    cosines = cosine(part.pattern.project(read.coordinates[None].double().cpu())[0].numpy(), part.directions)
    alignment, dimension = placement.alignment, part.pattern.dimension
    return [Standing(float(t), alignment, placement.canvas, dimension, placement) for t in np.atleast_1d(cosines)]
