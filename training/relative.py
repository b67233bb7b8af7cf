"""A relative of an embedded model, by the recipe that its configuration names."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import ModelError
from .flow import train_flow
from .one_step import train_one_step

__all__ = ["train_relative"]


def train_relative(
    configuration: dict,
    data: Path,
    run: Path,
    device: torch.device,
    minutes: float | None = None,
    small: bool = False,
) -> bool:
    """Train the U-Net of a relative, or go on training it; returns whether it is finished.

    Arguments:
        configuration: One with a table `relative`.
        data: The prepared dataset.
        run: Folder of its checkpoints.
        device: Where it runs.
        minutes: Time limit; None is none.
        small: Train on the small pictures of the table `small` first.

    Raises:
        ModelError: If its base or its teacher cannot be loaded, or it has no stage of small pictures.
    """
    if configuration["relative"]["recipe"] == "tiny-flow":
        return train_flow(configuration, data, run, device, minutes, small)
    if small:
        raise ModelError("a one-step model has no stage of small pictures: leave --small out")
    return train_one_step(configuration, run, device, minutes)
