"""Damages by name: `jpeg:25`, `jpeg:30+rotation:7`, and the names that tables of results use."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from ..errors import WmarkError
from . import codecs, colour, detail, geometry, layouts, overlays, regeneration
from .kind import Kind
from .warping import UNMOVED, Warp

if TYPE_CHECKING:
    from PIL import Image

    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["KINDS", "NAMED", "Damage", "damaged", "draw_geometric", "draw_photometric", "find_damage", "sweep"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for room in (codecs, detail, colour, overlays, geometry, layouts, regeneration)
    for kind in room.KINDS
}
"""Every kind of damage by its name."""

NAMED: dict[str, str] = {
    "none": "none",
    "jpeg-25": "jpeg:25",
    "blur-4": "blur:4",
    "noise-0.1": "noise:0.1",
    "brightness-2": "brightness:2",
    "rotation-75": "rotation:75",
    "rotation-random": "random-rotation:360",
    "mirror": "mirror",
    "crop-80%": "crop:80",
}
"""The ordinary damages, at the settings of Wen et al. (2023) unless their names say otherwise: what each is."""


@dataclass(frozen=True)
class Damage:
    """Kinds of damage at their strengths, one after the other.

    Arguments:
        steps: Each with its strength, None for a kind that has none.
    """

    steps: tuple[tuple[Kind, float | None], ...] = ()

    def __call__(self, image: Image.Image, seed: int, model: LatentDiffusion | None = None) -> Image.Image:
        """The damaged image; the same seed gives the same damage.

        Arguments:
            image: An RGB image.
            seed: Seed of what is drawn.
            model: The model of those kinds that need one.

        Raises:
            WmarkError: If a model is needed and none is given, or the image is of a size that cannot be damaged so.
        """
        for (kind, strength), rng in self._drawn(seed):
            if kind.needs_model and model is None:
                raise WmarkError(f"the damage {kind.name} needs a model: name one")
            image = kind.apply(image, strength, rng, model)
        return image

    def warp(self, size: tuple[int, int], seed: int) -> Warp:
        """Where each point of the damaged image comes from, for an image of a size (H, W) and the same seed.

        What is not geometric moves nothing. Steps that change the size of the image count as if they did not.
        """
        moved = UNMOVED
        for (kind, strength), rng in self._drawn(seed):
            if kind.moves:
                moved = moved.then(kind.moves(strength, rng, size))
        return moved

    def _drawn(self, seed: int) -> Iterator[tuple[tuple[Kind, float | None], np.random.Generator]]:
        """The steps, each with chance of its own, so that a map and its pixels draw the same."""
        for i, step in enumerate(self.steps):
            yield step, np.random.default_rng([seed, i] if i else seed)

    @property
    def name(self) -> str:
        """As :func:`find_damage` reads it."""
        return "+".join(_spelt(kind, strength) for kind, strength in self.steps) or "none"

    @property
    def file_name(self) -> str:
        """The name as part of a file's, on every system."""
        return self.name.replace(":", "-")

    @property
    def needs_model(self) -> bool:
        """Whether one of its kinds takes a model."""
        return any(kind.needs_model for kind, _ in self.steps)

    @property
    def aligned(self) -> bool:
        """Whether every point of the picture stays where it was."""
        return all(kind.aligned for kind, _ in self.steps)


def _spelt(kind: Kind, strength: float | None) -> str:
    return kind.name if strength is None else f"{kind.name}:{strength:.10g}"


def damaged(name: str, image: Image.Image, seed: int, model: LatentDiffusion | None = None) -> Image.Image:
    """The damaged image; the same seed gives the same damage.

    Arguments:
        name: As :func:`find_damage` reads it.
        image, seed, model: As :class:`Damage` takes them.

    Raises:
        WmarkError: As :func:`find_damage` and :class:`Damage`.
    """
    return find_damage(name)(image, seed, model)


def find_damage(name: str) -> Damage:
    """The damage of a name: one in :data:`NAMED`, or `KIND`, `KIND:STRENGTH`, or several of them joined by `+`.

    Raises:
        WmarkError: If there is no such kind, or a strength is not in its range.
    """
    return Damage(tuple(_step(NAMED.get(part, part)) for part in name.split("+") if part != "none"))


def _step(text: str) -> tuple[Kind, float | None]:
    name, colon, strength = text.partition(":")
    if name not in KINDS:
        alike = get_close_matches(name, KINDS, n=1)
        example = alike[0] if alike else "jpeg:25"
        raise WmarkError(f"unknown damage {name!r}: choose one like {example}; `wmark attack --list` prints them all")
    kind = KINDS[name]
    return kind, kind.checked(strength) if colon else kind.middle


def sweep(kind: Kind) -> list[Damage]:
    """A kind at each of the strengths of its sweep."""
    return [Damage(((kind, strength),)) for strength in kind.sweep or (None,)]


def draw_photometric(rng: np.random.Generator, among: Collection[str] = KINDS) -> Damage:
    """A damage that moves nothing, for training: a kind and a strength drawn uniformly.

    Arguments:
        rng: Draws.
        among: Names of the kinds to draw from.
    """
    return _draw(rng, [kind for kind in KINDS.values() if kind.training and not kind.moves and kind.name in among])


def draw_geometric(rng: np.random.Generator) -> Damage:
    """A damage that moves the picture's points, for training; :meth:`Damage.warp` tells where to."""
    return _draw(rng, [kind for kind in KINDS.values() if kind.training and kind.moves])


def _draw(rng: np.random.Generator, kinds: list[Kind]) -> Damage:
    kind = kinds[rng.integers(len(kinds))]
    return Damage(((kind, kind.drawn(rng)),))
