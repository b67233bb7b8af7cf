"""Seconds of several calls, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from ..models.clock import clock

__all__ = ["median_seconds"]


@torch.no_grad()
def median_seconds(
    calls: Mapping[str, Callable[[], object]], device: torch.device | str, repeats: int
) -> dict[str, float]:
    """Median seconds of each call, by its name; they are interleaved, so that a drifting machine hits all alike."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = clock(device)
            call()
            spent[name].append(clock(device) - begin)
    return {name: float(np.median(seconds)) for name, seconds in spent.items()}
