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
    part: str = "diffusion",
) -> bool:
    """Train the U-Net of a relative, or go on training it; returns whether it is finished.

    Arguments:
        configuration: One with a table `relative`.
        data: The prepared dataset.
        run: Folder of its checkpoints.
        device: Where it runs.
        minutes: Time limit; None is none.
        part: `diffusion`, or `small` for the small pictures of that table, first.

    Raises:
        ModelError: If its base or its teacher cannot be loaded, or its recipe has no such part.
    """
    if configuration["relative"]["recipe"] == "tiny-flow" and part in configuration:
        return train_flow(configuration, data, run, device, minutes, small=part == "small")
    if part != "diffusion":
        raise ModelError(f"the recipe of {configuration['relative']['recipe']} has no such part: leave --{part} out")
    return train_one_step(configuration, run, device, minutes)
