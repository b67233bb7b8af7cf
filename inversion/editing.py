"""Editing inside a mask: outside it a picture follows its own path from its noise, inside it another prompt's.

    z_n, ..., z_0 = the path of exact DDIM inversion at w = 1
    z'_{i-1} = m step_w(z'_i, prompt) + (1 - m) z_{i-1},        z'_n = z_n

with m the mask at the latent's resolution. How well the rest is kept when the latent is decoded is how well the
picture's latent was found: the application of Hong et al. (NeurIPS 2024) that decoder inversion is measured by. The
noise under the mask stays the picture's own, and with it the mark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, avg_pool2d, max_pool2d

from ..models.guidance import guided
from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import ddim
from ..models.sampling import Sampling
from ..models.schedule import Grid
from .chain import invert_decoder
from .diffusion import Correction, invert
from .recovery import EXACT, Recovery

__all__ = ["Edit", "Edited", "composite", "edit"]


@dataclass(frozen=True)
class Edit:
    """How a picture is edited.

    Arguments:
        sampling: Steps, guidance and negative prompt of what is regenerated; the sampler is DDIM.
        decoder: How the picture's latent is found.
        source: What the picture shows, if that is known.
        correction: How its noise is found.
    """

    sampling: Sampling = field(default_factory=lambda: Sampling(20))
    decoder: Recovery = EXACT
    source: str = ""
    correction: Correction = field(default_factory=Correction)


@dataclass(frozen=True)
class Edited:
    """An edited picture.

    Attributes:
        image: As decoded, with shape (3, H, W), about [-1, 1].
        latent: Its latent, with shape (C, h, w).
        background: Mean square error outside the mask of the decoded picture, in units of [-1, 1].
    """

    image: Tensor
    latent: Tensor
    background: float


@torch.no_grad()
def edit(
    model: LatentDiffusion,
    image: Tensor,
    mask: Tensor,
    prompt: str,
    how: Edit = Edit(),
    callback: Callable[[int], None] | None = None,
) -> Edited:
    """Regenerate a picture inside a mask.

    Arguments:
        model: The model that regenerates it.
        image: The picture, with shape (3, H, W), in [-1, 1], of a size that the model makes.
        mask: Where, with shape (H, W), bool.
        prompt: What is to be there.
        how: Settings.
        callback: Called with the number of finished sampling steps.
    """
    latent = invert_decoder(model, how.decoder, image[None]).latent.float()
    grid = Grid.of(model.denoiser.schedule, how.sampling.steps)
    source = partial(model.denoiser.predict, condition=model.condition([how.source]))
    path = invert(source, ddim(grid), latent, how.correction).path
    inside = adaptive_max_pool2d(mask[None, None].float().to(latent.device), latent.shape[-2:])
    condition, negative = model.condition([prompt]), model.condition([how.sampling.negative_prompt])
    predict, z = guided(model.denoiser, condition, negative, how.sampling.guidance_scale), path[0]
    for i in range(grid.steps):
        x0, eps = predict(z, grid.times[i])
        z = inside * (grid.alpha[i + 1] * x0 + grid.sigma[i + 1] * eps) + (1 - inside) * path[i + 1]
        if callback:
            callback(i + 1)
    made = model.decode(z)[0].float().cpu()
    outside = ~mask.cpu()
    error = (made.clamp(-1, 1) - image.cpu()).square().mean(dim=0)[outside]
    return Edited(made, z[0], float(error.mean()) if outside.any() else 0.0)


def composite(image: Tensor, made: Tensor, mask: Tensor, feather: int = 8) -> Tensor:
    """A picture with another one inside a mask, whose edge is grown and softened; what is further away is untouched.

    Arguments:
        image, made: Pictures with shape (3, H, W).
        mask: With shape (H, W), bool.
        feather: Pixels that the edge is grown by.
    """
    side = 2 * feather + 1
    grown = max_pool2d(mask[None, None].float(), side, 1, feather)
    weight = torch.maximum(avg_pool2d(grown, side, 1, feather, count_include_pad=False), mask.float())[0]
    return weight * made + (1 - weight) * image
