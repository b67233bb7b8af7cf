"""What a reader learns from: the latents of pictures after whatever happens to pictures, and the noise behind each.

The noise behind a picture that was turned or cropped is turned and cropped with it: a damage says by a map where its
points come from (:mod:`..attacks.warping`), and noise follows the same map. Resampled noise is no longer white, as what
a reader finds in such a picture is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..attacks import Damage, draw_geometric, draw_photometric, find_damage, warp
from ..detectors.geometry import fit
from ..images import to_image, to_pixels, to_unit
from ..models.latent_diffusion import LatentDiffusion
from .loop import read_checkpoint, write_checkpoint
from .samples import Samples

__all__ = ["Pictured", "Readings", "Versions", "damaged_pictures", "drawn_readings", "encoded", "joined"]

SHARD = 8
"""Pictures in one file."""

HARD = (
    "jpeg", "noise", "brightness", "grey", "sepia", "hue", "invert", "solarize", "cutout", "holes", "half",
)  # fmt: skip
"""Kinds of damage of which a reader has to see more than a few to read through them."""

Parts = TypeVar("Parts", bound=tuple)


class Readings(NamedTuple):
    """Encoded pictures and the noise behind them.

    Attributes:
        latents: What the encoder says of damaged pictures, scaled, with shape (B, C, h, w), float16.
        noise: The initial noise behind each, bent like the picture, of the same shape.
    """

    latents: Tensor
    noise: Tensor


class Pictured(NamedTuple):
    """Damaged pictures and the noise behind them.

    Attributes:
        images: With shape (B, 3, H, W), uint8, of the model's own size.
        noise: The initial noise behind each, bent like the picture, with shape (B, C, h, w).
    """

    images: Tensor
    noise: Tensor


def joined(parts: Sequence[Parts]) -> Parts:
    """Tuples of tensors, one after the other, as one."""
    return type(parts[0])(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Versions:
    """Damaged versions of a picture, beside the picture as it is.

    Attributes:
        photometric: By any kind that moves nothing.
        hard: By one of :data:`HARD`.
        geometric: By one that moves its points; half of them are damaged otherwise as well.
    """

    photometric: int = 3
    hard: int = 2
    geometric: int = 2


def drawn_readings(
    model: LatentDiffusion,
    samples: Samples,
    folder: Path,
    *,
    versions: Versions,
    seed: int,
    callback: Callable[[int], None] | None = None,
) -> Readings:
    """Readings of every sample: as it is, and after damages that are drawn; kept in a folder as they come.

    Arguments:
        model: The model that the samples are of.
        samples: B samples.
        folder: Where shards are kept; those that are there already are read.
        versions: How many of each picture.
        seed: Seed of the damages.
        callback: Called with the number of samples that are ready.
    """
    parts = []
    for start in range(0, len(samples.noise), SHARD):
        path = folder / f"readings-{start:05d}.pt"
        if path.exists():
            parts.append(Readings(*read_checkpoint(path)))
        else:
            some = Samples(*(tensor[start : start + SHARD] for tensor in samples))
            parts.append(shard_of(model, some, versions, np.random.default_rng([seed, start])))
            write_checkpoint(path, tuple(parts[-1]))
        if callback:
            callback(min(start + SHARD, len(samples.noise)))
    return joined(parts)


def shard_of(model: LatentDiffusion, samples: Samples, versions: Versions, rng: np.random.Generator) -> Readings:
    """Readings of some samples, of damages drawn for each."""
    found = []
    for noise, latent in zip(*samples, strict=True):
        drawn = [Damage(), *(draw_photometric(rng) for _ in range(versions.photometric))]
        drawn += [draw_photometric(rng, HARD) for _ in range(versions.hard)]
        for i in range(versions.geometric):
            moved = draw_geometric(rng)
            drawn.append(Damage(moved.steps + draw_photometric(rng).steps) if i % 2 else moved)
        seeds = rng.integers(2**32, size=len(drawn)).tolist()
        found.append(damaged(model, noise, latent, list(zip(drawn, seeds, strict=True))))
    return encoded(model, joined(found))


def damaged_pictures(model: LatentDiffusion, samples: Samples, damage: str, seed: int) -> Pictured:
    """What becomes of samples by one and the same damage, given by its name."""
    applied = find_damage(damage)
    pairs = enumerate(zip(*samples, strict=True), start=seed)
    return joined([damaged(model, noise, latent, [(applied, i)]) for i, (noise, latent) in pairs])


@torch.no_grad()
def damaged(model: LatentDiffusion, noise: Tensor, latent: Tensor, damages: Sequence[tuple[Damage, int]]) -> Pictured:
    """What becomes of one sample, noise and latent (C, h, w), by damages with their seeds."""
    picture = to_image(model.decode(latent[None].to(model.device))[0])
    images, behind = [], []
    for damage, seed in damages:
        image = damage(picture, seed).convert("RGB")
        images.append(to_pixels(fit(image, (picture.height, picture.width))))
        grid = damage.warp((picture.height, picture.width), seed).grid(*noise.shape[-2:])
        behind.append(noise if damage.aligned else warp(noise[None], grid, mode="bicubic")[0])
    return Pictured(torch.stack(images), torch.stack(behind))


@torch.no_grad()
def encoded(model: LatentDiffusion, pictured: Pictured) -> Readings:
    """Pictures through the encoder, one by one."""
    latents = [model.encode(to_unit(image[None].to(model.device))).cpu() for image in pictured.images]
    return Readings(torch.cat(latents).half(), pictured.noise.half())
