"""A U-Net's weights in a narrower one: of every level's channels, as many as there is room for, evenly spread.

Groups of a normalisation and heads of an attention keep their share of the channels; what the network does is then
roughly what it did, and a short training mends the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from ..errors import ModelError

__all__ = ["narrowed"]


def narrowed(
    weights: Mapping[str, Tensor], like: Mapping[str, Tensor], wide: Sequence[int], narrow: Sequence[int]
) -> dict[str, Tensor]:
    """The weights of a U-Net for one with other channels and the same layers.

    Arguments:
        weights: State of the U-Net.
        like: State of the other one, for its names and shapes.
        wide, narrow: Channels of each level, of the one and of the other.

    Raises:
        ModelError: If they differ in more than their channels.
    """
    if weights.keys() != like.keys():
        raise ModelError("the base's U-Net has other layers than the table [diffusion] describes")
    levels = dict(zip(wide, narrow, strict=True))
    result = {}
    for name, tensor in weights.items():
        for axis, (have, want) in enumerate(zip(tensor.shape, like[name].shape, strict=True)):
            if have != want:
                tensor = tensor.index_select(axis, kept(have, want, levels))
        result[name] = tensor
    return result


def kept(have: int, want: int, levels: Mapping[int, int]) -> Tensor:
    """Indices of the channels that stay where `have`, of two levels or of parts as wide as one, become `want`."""
    for wide, narrow in levels.items():
        parts = have // wide
        if (parts * wide, parts * narrow) == (have, want):
            return torch.cat([part * wide + _spread(wide, narrow) for part in range(parts)])
    # What comes from below, then what skips: the first is of the deeper level.
    for (first, few), (second, fewer) in product(sorted(levels.items(), reverse=True), repeat=2):
        if (first + second, few + fewer) == (have, want):
            return torch.cat([_spread(first, few), first + _spread(second, fewer)])
    raise ModelError(f"the base's U-Net has {have} channels where the table [diffusion] leads to {want}")


def _spread(wide: int, narrow: int) -> Tensor:
    if narrow > wide:
        raise ModelError(f"the base's U-Net has {wide} channels where the table [diffusion] asks for {narrow}")
    return torch.arange(narrow) * wide // narrow
