"""Time as it passes on a device, which works on after a call has returned."""

from __future__ import annotations

import time

import torch

__all__ = ["clock"]


def clock(device: torch.device | str) -> float:
    """Seconds on a clock that has waited for all that a device was given to do; only differences mean something."""
    device = torch.device(device)
    if device.type == "mps":  # There is one, and its `synchronize` takes no device.
        torch.mps.synchronize()
    elif device.type != "cpu":
        getattr(torch, device.type).synchronize(device)
    return time.perf_counter()
