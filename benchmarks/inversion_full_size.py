"""What an inversion costs at the size of Stable Diffusion 2.1: its U-Net with random weights, one call of it.

An inversion holds one call's activations and a few latents of 64 kB each, whatever the method; its time is that of its
calls. So one call is counted, and measured if there is time for that, and the rest is multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..models import architectures
from ..models.clock import clock
from .memory import counted_memory

__all__ = ["describe", "full_size_call"]

REPEATS = 3
STEPS = 20
"""Of the inversions that are told of."""


def full_size_call(
    timed: bool, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> dict[str, float | None]:
    """Memory of a call beyond the weights in GB, and its seconds, or None where nothing was timed."""
    with FakeTensorMode():
        memory = counted_memory(_call(_unet(dtype), "cpu"))
    seconds = None
    if timed:
        call, spent = _call(_unet(dtype).to(device), device), []
        for _ in range(REPEATS):
            begin = clock(device)
            call()
            spent.append(clock(device) - begin)
        seconds = sorted(spent)[len(spent) // 2]
    return {"memory_gb": memory / 1e9, "seconds": seconds}


def describe(call: dict[str, float | None], summary: Sequence[dict]) -> str:
    """A line for each method, of what inverting one picture in 20 steps costs at that size."""
    wanted = {"steps": STEPS, "guidance": 1.0, "prompt": "known", "source": "latent"}
    lines = [f"Stable Diffusion 2.1, {STEPS} steps, {call['memory_gb']:.2f} GB beyond the weights:"]
    for row in summary:
        if all(row[name] == value for name, value in wanted.items()) and row["model"] == summary[0]["model"]:
            time = "" if call["seconds"] is None else f", {row['calls'] * call['seconds']:.0f} s"
            lines.append(f"  {row['sampler']}, {row['method']}: {row['calls']:.0f} calls{time}")
    return "\n".join(lines)


def _unet(dtype: torch.dtype) -> nn.Module:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return architectures.full_size_unet(64).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(before)


def _call(unet: nn.Module, device: torch.device | str) -> Callable[[], None]:
    kind = dict(dtype=next(unet.parameters()).dtype, device=device)

    def call() -> None:
        with torch.no_grad():
            unet(torch.zeros(1, 4, 64, 64, **kind), 500, encoder_hidden_states=torch.zeros(1, 77, 1024, **kind))

    return call
