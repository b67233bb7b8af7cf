"""What a damage is: a function of an image, one strength and a source of chance, with what must be known of it.

A function becomes a :class:`Kind` by a decorator, its name with dashes for underscores:

    @pixels("blur", unit="pixels", span=(0.1, 64), sweep=(1, 2, 4, 8))     image, strength, rng -> image
    @moves("warp", unit="degrees", span=(-45, 45), sweep=(4, 8, 15))       strength, rng, size -> Warp
    @regenerates(unit="time", span=(0.01, 1), sweep=(0.1, 0.3))            image, strength, rng, model -> image
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import WmarkError
from .warping import Warp, warped

if TYPE_CHECKING:
    from PIL import Image

    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Kind", "moves", "pixels", "regenerates"]

ALIGNED = {"codec", "resampling", "blur", "noise", "colour", "overlay", "cut-out", "mosaic", "regeneration"}
"""Categories that leave every point of the picture where it was."""

Span = tuple[float, float]
Pixels = Callable[["Image.Image", float, np.random.Generator], "Image.Image"]
Moves = Callable[[float, np.random.Generator, tuple[int, int]], Warp]


@dataclass(frozen=True)
class Kind:
    """One kind of damage.

    Attributes:
        name: What it is called.
        category: What it is one of: `codec`, `blur`, ...
        about: What it does, in a line.
        apply: From an RGB image, a strength (None for a kind that has none), a source of chance and a model (for those
            that need one) to the damaged image.
        unit: What the strength is measured in; None for a kind that has none.
        span: Least and largest strength.
        sweep: Strengths of the benchmark; the middle one is taken where none is given.
        training: Least and largest strength drawn in training; None for a kind that is not fit for it.
        whole: Whether strengths are whole numbers.
        moves: Of a geometric kind, the map from positions in the damaged image to positions in the image, from the
            same strength and chance and the image's size (H, W).
        needs_model: Whether it takes a model.
    """

    name: str
    category: str
    about: str
    apply: Callable[..., Image.Image]
    unit: str | None = None
    span: Span = (0, 0)
    sweep: tuple[float, ...] = ()
    training: Span | None = None
    whole: bool = False
    moves: Moves | None = None
    needs_model: bool = False

    @property
    def aligned(self) -> bool:
        """Whether every point of the picture stays where it was."""
        return self.category in ALIGNED

    @property
    def middle(self) -> float | None:
        """The strength that is taken where none is given."""
        return sorted(self.sweep)[len(self.sweep) // 2] if self.sweep else None

    def checked(self, text: str) -> float:
        """The strength that a text states.

        Raises:
            WmarkError: If this kind has none, or it is not a number in its range.
        """
        if self.unit is None:
            raise WmarkError(f"the damage {self.name} has no strength: leave out {':' + text!r}")
        low, high = self.span
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or (self.whole and value != round(value)):
            number = f"{'a whole number' if self.whole else 'a number'} from {low:g} to {high:g} ({self.unit})"
            raise WmarkError(f"the strength {text!r} of the damage {self.name} is not {number}")
        return int(value) if self.whole else value

    def drawn(self, rng: np.random.Generator) -> float | None:
        """A strength for training, uniform in its range."""
        if self.unit is None:
            return None
        low, high = self.training or self.span
        return int(rng.integers(low, high, endpoint=True)) if self.whole else round(float(rng.uniform(low, high)), 3)


def pixels(category: str, **known) -> Callable[[Pixels], Kind]:
    """A decorator: a function of an image, a strength and chance is a kind of damage."""

    def decorate(function: Pixels) -> Kind:
        def apply(image, strength, rng, model=None):
            return function(image, strength, rng)

        return Kind(_name(function), category, _about(function), apply, **known)

    return decorate


def moves(category: str, *, drawn: Pixels | None = None, **known) -> Callable[[Moves], Kind]:
    """A decorator: a function of a strength, chance and the size is a geometric kind of damage.

    Arguments:
        category: Its category.
        drawn: How its pixels are made, if not by sampling the image at the map's positions. It must use chance as the
            map does.
        known: The rest.
    """

    def decorate(function: Moves) -> Kind:
        def apply(image, strength, rng, model=None):
            if drawn:
                return drawn(image, strength, rng)
            return warped(image, function(strength, rng, image.size[::-1]))

        return Kind(_name(function), category, _about(function), apply, moves=function, **known)

    return decorate


def regenerates(**known) -> Callable[[Callable[..., Image.Image]], Kind]:
    """A decorator: a function of an image, a strength, chance and a model is a kind of damage."""

    def decorate(function: Callable[[Image.Image, float, np.random.Generator, LatentDiffusion], Image.Image]) -> Kind:
        return Kind(_name(function), "regeneration", _about(function), function, needs_model=True, **known)

    return decorate


def _name(function: Callable) -> str:
    return function.__name__.rstrip("_").replace("_", "-")


def _about(function: Callable) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0].rstrip(".")
