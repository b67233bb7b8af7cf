"""Which way a key, or a name, wants a reading to turn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...errors import KeyringError
from ...watermark.keys import Key
from ...watermark.names import Names
from ...watermark.patterns import Pattern
from ...watermark.spectrum import mask_coordinates, plant, write

__all__ = ["Carried", "Name", "closeness", "planted", "wanted"]


@dataclass(frozen=True)
class Name:
    """The name of one picture.

    Attributes:
        names: An issuer's.
        number: The picture's.
    """

    names: Names
    number: int


Carried = Key | Name
"""What a picture is to carry."""


def wanted(mark: Carried, canvas: tuple[int, int]) -> tuple[Pattern, Tensor]:
    """The pattern of a mark on a canvas, and the direction of its coordinates there, with shape (channels, n, 2).

    A key's pilot is part of it, as of a name are pilot and address.

    Raises:
        KeyringError: If a picture cannot be marked with it: its pattern is not free in every coordinate.
    """
    if isinstance(mark, Name):
        pattern = mark.names.layout.pattern.fitted(canvas)
        total = pattern.lift(mark.names.coordinates(mark.number)[pattern.left])
        return pattern, total / total.norm()
    pattern = mark.pattern.fitted(canvas)
    if not pattern.searchable:
        raise KeyringError(
            f"key {mark.id!r} has the pattern {pattern.kind!r}, with which pictures are only generated: use a disc or "
            "a square"
        )
    parts = [mark.pilot, mark] if mark.pilot else [mark]
    total = sum(part.pattern.strength * pattern.lift(pattern.restrict(part.direction)) for part in parts)
    return pattern, total / total.norm()


def planted(mark: Carried, noise: Tensor) -> Tensor:
    """Noise (B, C, h, w) that carries a mark, as generated pictures do."""
    if isinstance(mark, Name):
        return write(noise, mark.names.coordinates(mark.number), mark.names.layout.pattern)
    return plant(noise, mark)


def closeness(reading: Tensor, pattern: Pattern, direction: Tensor) -> Tensor:
    """Cosine of what is read of noise (B, C, h, w) with a direction (channels, n, 2): shape (B,), differentiable."""
    coordinates = mask_coordinates(reading, pattern)
    direction = direction.to(coordinates)
    return (coordinates * direction).sum(dim=(1, 2, 3)) / coordinates.flatten(1).norm(dim=1).clamp_min(1e-12)
