"""Which way a key wants a reading to turn."""

from __future__ import annotations

from torch import Tensor

from ...errors import KeyringError
from ...watermark.keys import Key
from ...watermark.patterns import Pattern
from ...watermark.spectrum import mask_coordinates

__all__ = ["closeness", "wanted"]


def wanted(key: Key, canvas: tuple[int, int]) -> tuple[Pattern, Tensor]:
    """The pattern of a key on a canvas, and the direction of its coordinates there with its pilot, (channels, n, 2).

    Raises:
        KeyringError: If a picture cannot be marked with it: its pattern is not free in every coordinate.
    """
    pattern = key.pattern.fitted(canvas)
    if not pattern.searchable:
        raise KeyringError(
            f"key {key.id!r} has the pattern {pattern.kind!r}, with which pictures are only generated: use a disc or a "
            "square"
        )
    parts = [key.pilot, key] if key.pilot else [key]
    total = sum(part.pattern.strength * pattern.lift(pattern.restrict(part.direction)) for part in parts)
    return pattern, total / total.norm()


def closeness(reading: Tensor, pattern: Pattern, direction: Tensor) -> Tensor:
    """Cosine of what is read of noise (B, C, h, w) with a direction (channels, n, 2): shape (B,), differentiable."""
    coordinates = mask_coordinates(reading, pattern)
    direction = direction.to(coordinates)
    return (coordinates * direction).sum(dim=(1, 2, 3)) / coordinates.flatten(1).norm(dim=1).clamp_min(1e-12)
