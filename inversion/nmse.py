"""How far a latent or a noise is from the truth."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nmse_db"]


def nmse_db(found: Tensor, latent: Tensor) -> Tensor:
    """`10 log10(||found - latent||^2 / ||latent||^2)` of each, with shape (B,)."""
    error = (found - latent).flatten(1).square().sum(dim=1)
    return 10 * torch.log10(error / latent.flatten(1).square().sum(dim=1))
