"""The ways of marking a picture, by the name that the command line uses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from ...errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

    from ...models.latent_diffusion import LatentDiffusion
    from .towards import Carried

__all__ = ["WAYS", "change_of"]

WAYS = {"direct": "direct", "spectrum": "spectrum", "regenerate": "regenerated"}
"""Modules, and functions in them, by name."""


def change_of(
    way: str,
    model: LatentDiffusion,
    mark: Carried,
    image: Tensor,
    least: float,
    callback: Callable[[int], None] | None = None,
) -> Tensor:
    """The change, (3, H, W), that marks a picture.

    Arguments:
        way: A name in :data:`WAYS`.
        model: The model that is to read it.
        mark: The key, or the name.
        image: The picture at the size at which it is read, with shape (3, H, W), in [-1, 1].
        least: PSNR in dB that is asked for; what is blended in may be more or less than the change.
        callback: Called with the number of finished iterations.

    Raises:
        ArgumentError: If there is no such way.
        KeyringError: If the key's pattern is not one that pictures are marked with.
    """
    if way not in WAYS:
        raise ArgumentError(f"the way {way!r} of marking a picture is not one of {', '.join(WAYS)}")
    function = getattr(import_module(f".{WAYS[way]}", __package__), WAYS[way])
    return function(model, mark, image, least, callback=callback)
