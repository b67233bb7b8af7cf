"""In which precision a network computes while it is trained."""

from __future__ import annotations

import torch

__all__ = ["autocast", "has_bfloat16"]


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has bfloat16: a processor that emulates it takes ten times as long as in single precision."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def autocast(device: torch.device, precision: str = "bf16", *, cache: bool = True) -> torch.autocast:
    """The context of a forward pass: in bfloat16 if that is the precision and the device has it.

    Arguments:
        device: Where it runs.
        precision: `bf16` or `fp32`.
        cache: Whether weights that were cast are kept until the context ends.
    """
    enabled = precision == "bf16" and has_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cache)
