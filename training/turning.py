"""What an encoder says of a picture whose colours are turned half-way round, from what it says of the picture itself.

Half-way round the wheel, every channel is mirrored between the largest and the smallest of its pixel:

    c -> max(r, g, b) + min(r, g, b) - c,

which is its own inverse and keeps lightness and saturation. Latents of small autoencoders are nearly linear in colour:
a convolution of 3x3, fitted by least squares on a model's own pictures, tells the one latent from the other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..images import rounded
from ..models.latent_diffusion import LatentDiffusion

__all__ = ["TURNING_PICTURES", "find_turning", "turned"]

TURNING_PICTURES = 32
"""Pictures that it is fitted on: of tiny's, a quarter as many do as well."""


def turned(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) with their colours turned half-way round the wheel."""
    return images.amax(1, keepdim=True) + images.amin(1, keepdim=True) - images


@torch.no_grad()
def find_turning(model: LatentDiffusion, latents: Tensor) -> dict[str, Tensor]:
    """The convolution of 3x3, `weight` and `bias`, from the latent of a picture to that of the turned one.

    Arguments:
        model: The model.
        latents: Clean latents of its pictures, with shape (N, C, h, w), scaled.
    """
    channels, size = latents.shape[1], 9 * latents.shape[1] + 1
    gram, moments = (torch.zeros(size, width, dtype=torch.float64) for width in (size, channels))
    for latent in latents:
        picture = rounded(model.decode(latent[None].to(model.device)))
        seen, wanted = (model.encode(one).double().cpu()[0] for one in (picture, turned(picture)))
        patches = pad(seen, (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)  # (C, h, w, 3, 3)
        rows = patches.permute(1, 2, 0, 3, 4).reshape(-1, 9 * channels)
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        gram += rows.mT @ rows
        moments += rows.mT @ wanted.flatten(1).mT
    solution = torch.linalg.solve(gram + 1e-6 * gram.trace() / size * torch.eye(size), moments)
    weight, bias = solution[:-1].mT.reshape(channels, channels, 3, 3), solution[-1]
    return {"weight": weight.float().contiguous(), "bias": bias.float()}
