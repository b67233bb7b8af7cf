"""What the readings of unmarked pictures have in common, whatever model made them, if any did.

An encoder answers white ground, flat colours and hard edges in much the same way in every picture, and so does what is
recovered from its latent. A key that happens to stand close to that direction would stand close to all such pictures.
The first principal directions of the readings are learnt here, on pictures that are drawn for the purpose
(:mod:`..images.synthetic`), to be projected out where keys are read. The model's own pictures teach nothing of the
kind: a reader that was trained on them leaves nothing in common in them. A mean of n readings is known to 1 / sqrt(n)
of a standard deviation, so whoever has unmarked pictures of the kind that will be asked about does better with those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..detectors.geometry import fit
from ..images import open_image, to_pixels
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
    further: Sequence[Path] = (),
    callback: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """The first principal directions of readings, by the name of the recovery, each with shape (K, C, h, w).

    Arguments:
        model: The model, with the reader that the recoveries need.
        recoveries: How noise is recovered.
        pictures: Pictures that are drawn to learn from, of every kind in turn.
        further: Files of unmarked pictures to learn from as well.
        callback: Called with the number of pictures that are read.

    Raises:
        ImageError: If one of them cannot be read.
    """
    kinds, size = list(SYNTHETIC), model.native_size
    readings: dict[Recovery, list[Tensor]] = {recovery: [] for recovery in recoveries}
    for i in range(pictures + len(further)):
        drawn = i < pictures
        picture = synthetic(kinds[i % len(kinds)], FIRST + i, size) if drawn else open_image(further[i - pictures])
        pixels = to_pixels(fit(picture, size))[None]
        before = known = None
        for recovery, every in readings.items():
            known = recover(model, recovery, pixels, known if before and before.decoding == recovery.decoding else None)
            every.append(known.reading[0].double().cpu())
            before = recovery
        if callback:
            callback(i + 1)
    found = {}
    for recovery, every in readings.items():
        _, _, axes = torch.linalg.svd(normalize(torch.stack(every).flatten(1)), full_matrices=False)
        found[recovery.name] = axes[:DIRECTIONS].reshape(-1, *every[0].shape).float()
    return found
