"""Key and seed -> initial noise that carries the key; issuer and seed -> noises that carry names.

The white part of the noise is drawn from the key's secret and the seed together (:mod:`wmark.watermark.secret`), not
from the seed alone: the seed is public, it stands in the record, and whoever could draw the same white noise could
subtract it from what an image gives away, and hold most of the key.
"""

from __future__ import annotations

import operator
import secrets
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError
from .issuer import Issuer
from .keys import Key, check_key
from .layout import Identity
from .names import Names
from .secret import Secret
from .spectrum import plant, write

__all__ = ["NamedNoise", "initial_noise", "named_noise", "seeds_of", "white_noise"]

LARGEST = 2**64 - 1


def initial_noise(
    key: Key | Issuer,
    batch: int = 1,
    *,
    shape: tuple[int, int, int] = (4, 64, 64),
    seed: int | Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Tensor | NamedNoise:
    """Initial noise that carries a key, or names, for the `latents=` of any diffusers pipeline.

    Arguments:
        key: The key to plant; or an issuer, which gives each noise a name that no other has or will have.
        batch: Number of noises.
        shape: Latent shape (C, h, w); (4, H/8, W/8) for Stable Diffusion.
        seed: One seed for each noise, the first of `batch` consecutive ones, or `None` for fresh ones. A noise depends
            on its key and its own seed alone, and is the same in every batch and on every platform.
        dtype, device: Of the result.

    Returns:
        Noise with shape (batch, C, h, w), as normal as unmarked noise over the draw of the key. Of an issuer, the noise
        and the identities that it carries, as a pair.

    Raises:
        ArgumentError: If the key, the batch or the shape is none, or a seed no whole number from 0 to 2^64 - 1.
        KeyringError: If the key does not fit the shape.
    """
    if not isinstance(key, Issuer):
        check_key(key)
    if not (isinstance(batch, Integral) and batch > 0):
        raise ArgumentError(f"a batch of {batch!r} noises is none: choose 1 or more")
    if not isinstance(shape, Iterable) or not all(isinstance(side, Integral) and side > 0 for side in shape):
        raise ArgumentError(f"the shape {shape!r} of a latent is not (C, h, w): 4 channels of 64x64 are (4, 64, 64)")
    if len(shape) != 3:
        advice = "the number of noises is `batch`" if len(shape) == 4 else "4 channels of 64x64 are (4, 64, 64)"
        raise ArgumentError(f"the shape {tuple(shape)} of a latent is not (C, h, w): {advice}")
    seeds = seeds_of(seed, batch)
    if isinstance(key, Issuer):
        key.names.layout.pattern.fitted(tuple(shape[1:]))  # Before any number is spent.
        identities = key.issue(batch)
        noises = [named_noise(key.names, one.number, s, shape) for one, s in zip(identities, seeds, strict=True)]
        return NamedNoise(torch.stack(noises).to(device, dtype), tuple(identities))
    white = torch.stack([white_noise(key.secret, s, shape) for s in seeds])
    return plant(white, key).to(device, dtype)


class NamedNoise(NamedTuple):
    """Noises and the names that they carry.

    Attributes:
        noise: With shape (batch, C, h, w).
        identities: One for each, issued and never issued again.
    """

    noise: Tensor
    identities: tuple[Identity, ...]


def named_noise(names: Names, number: int, seed: int, shape: tuple[int, int, int]) -> Tensor:
    """The noise (C, h, w), float64, of a number's image; the seed draws what lies outside the pattern."""
    white = white_noise(names.secret(number), seed, shape)
    return write(white[None], names.coordinates(number), names.layout.pattern)[0]


def white_noise(secret: Secret, seed: int, shape: tuple[int, int, int]) -> Tensor:
    """Unmarked standard normal noise of a secret and a seed, with the given shape, float64. As secret as the secret."""
    channels, height, width = map(int, shape)
    domain = f"wmark/noise/v1/{seed}/{channels},{height},{width}/"
    numbers = secret.derive(b"wmark/white/v1").deviates(domain.encode(), channels * height * width)
    return torch.from_numpy(numbers).reshape(channels, height, width)


def seeds_of(seed: int | Sequence[int] | None, count: int) -> list[int]:
    """A seed for each of `count` images: those given, consecutive ones from one, or fresh ones below 2^63.

    Raises:
        ArgumentError: If there are not as many, or one is no whole number from 0 to 2^64 - 1.
    """
    if seed is None:
        return [secrets.randbits(63) for _ in range(count)]
    several = hasattr(seed, "__iter__") and getattr(seed, "ndim", 1) > 0 and not isinstance(seed, str | bytes)
    seeds = [whole(s) for s in seed] if several else [whole(seed) + i for i in range(count)]
    if len(seeds) != count:
        raise ArgumentError(f"{len(seeds)} seeds do not fit {count} images: give one for each, or the first")
    for s in seeds:
        if not 0 <= s <= LARGEST:
            raise ArgumentError(f"seed {s} is not from 0 to 2^64 - 1: choose another")
    return seeds


def whole(seed: object) -> int:
    truth = isinstance(seed, bool) or str(getattr(seed, "dtype", "")).endswith("bool")
    try:
        if not truth:
            return operator.index(seed)
    except TypeError:
        pass
    raise ArgumentError(f"seed {seed!r} is not a whole number: give one from 0 to 2^64 - 1, or None for a fresh one")
