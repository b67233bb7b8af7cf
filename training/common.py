"""What the readings of unmarked pictures have in common, whatever model made them, if any did.

An encoder answers white ground, flat colours and hard edges in much the same way in every picture, and so does what is
recovered from its latent. A key that happens to stand close to that direction would stand close to all such pictures.
The first principal directions of the readings are learnt here, on pictures that are drawn for the purpose
(:mod:`..images.synthetic`), to be projected out where keys are read. The model's own pictures teach nothing of the
kind: a reader that was trained on them leaves nothing in common in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..images import to_pixels
from ..images.synthetic import SYNTHETIC, synthetic
from ..inversion.chain import recover
from ..inversion.recovery import Recovery
from ..models.latent_diffusion import LatentDiffusion

__all__ = ["DIRECTIONS", "common_directions"]

DIRECTIONS = 8
FIRST = 1_000_000
"""Number of the first picture: what is drawn here, nothing else is tested on."""


def common_directions(
    model: LatentDiffusion,
    recoveries: Iterable[Recovery],
    *,
    pictures: int,
    callback: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """The first principal directions of readings, by the name of the recovery, each with shape (K, C, h, w).

    Arguments:
        model: The model, with the reader that the recoveries need.
        recoveries: How noise is recovered.
        pictures: Pictures to learn from, of every kind in turn.
        callback: Called with the number of readings that are done.
    """
    kinds = list(SYNTHETIC)
    found, done = {}, 0
    for recovery in recoveries:
        readings = []
        for i in range(pictures):
            image = to_pixels(synthetic(kinds[i % len(kinds)], FIRST + i, model.native_size))
            readings.append(recover(model, recovery, image[None]).reading[0].double().cpu())
            done += 1
            if callback:
                callback(done)
        unit = normalize(torch.stack(readings).flatten(1))
        _, _, axes = torch.linalg.svd(unit, full_matrices=False)
        found[recovery.name] = axes[:DIRECTIONS].reshape(-1, *readings[0].shape).float()
    return found
