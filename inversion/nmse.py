"""How far a latent or a noise is from the truth."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nmse_db"]


def nmse_db(found: Tensor, truth: Tensor) -> Tensor:
    """`10 log10(||found - truth||^2 / ||truth||^2)` of each, with shape (B,), on the device of `found`.

    Arguments:
        found, truth: With shape (B, ...), each of any precision and on any device.
    """
    found, truth = found.float(), truth.to(found.device).float()
    error = (found - truth).flatten(1).square().sum(dim=1)
    return 10 * torch.log10(error / truth.flatten(1).square().sum(dim=1))
