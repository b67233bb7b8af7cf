"""Which looks pay on a model: what each way of recovering noise adds to what its reader says.

Measured on pictures that the reader has not seen, after the damages of :data:`.reader.TESTS`, by the log10 p of a
random direction (:func:`.reader.evidence`). What decides is the half of them that the reader sees least of: the others
are decided at the first look.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..detectors.plan import HINT, Look, every_reading
from ..inversion.chain import recover
from ..inversion.recovery import EXACT, FAST, READER, Recovery
from ..models.latent_diffusion import LatentDiffusion
from ..models.reader import Reader
from .reader import TESTS, evidence
from .readings import damaged_pictures, joined
from .samples import Samples

__all__ = ["find_looks"]

WEIGHTS = (0.2, 0.4, 0.8)
"""Of an inversion beside the reader."""

PAYS = 1.05
"""Times the decades so far that a further look has to bring."""


def find_looks(
    model: LatentDiffusion, reader: Reader, held_out: Samples, seed: int
) -> tuple[tuple[Look, ...], dict[str, float]]:
    """The looks that pay, and the mean log10 p of each way on the half that the reader sees least of.

    Arguments:
        model: The model.
        reader: Its trained reader.
        held_out: Samples that the reader was not trained on.
        seed: Seed of the damages.
    """
    pictured = joined([damaged_pictures(model, held_out, name, seed) for name in TESTS])
    model = replace(model, reader=reader)

    def read(recovery: Recovery) -> Tensor:
        return torch.cat([recover(model, recovery, image[None]).reading.cpu() for image in pictured.images])

    said = read(READER)
    first = evidence(said, pictured.noise)
    weak = first >= np.median(first)
    worth, kept = {READER.name: float(first[weak].mean())}, [READER]
    best = worth[READER.name]
    for recovery in (FAST, EXACT):
        seen = read(recovery)
        level = said.square().mean((1, 2, 3), keepdim=True).sqrt()
        mixed = {w: evidence(said + w * level * seen, pictured.noise)[weak].mean() for w in WEIGHTS}
        weight = min(mixed, key=mixed.__getitem__)
        worth[recovery.name] = float(evidence(seen, pictured.noise)[weak].mean())
        worth[f"{READER.name} + {weight} {recovery.name}"] = float(mixed[weight])
        if mixed[weight] <= PAYS * best:
            kept.append(replace(recovery, name=f"{READER.name}+{recovery.name}", beside=weight))
            best = float(mixed[weight])
    return every_reading(kept, HINT), worth
