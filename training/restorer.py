"""Fitting a restorer: the latents of a model's own pictures from a few of their pixels.

Pictures are the model's own, decoded and rounded to 8 bits; of each, from a twentieth to three fifths of the pixels are
kept, at random or in patches. The loss is the error of the latent over what plain filling leaves, so that pictures of
which nothing can be known do not drown the others; the gradient goes back through every wired step without their
activations, and only the small network beside the U-Net learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..images import to_image, to_tensor
from ..inversion.nmse import nmse_db
from ..inversion.restoration import filled, kept_pixels, restored_latent
from ..models.latent_diffusion import LatentDiffusion
from ..models.restorer import Injector, Restorer
from .timed import Progressed, TimedFit

__all__ = ["fit_restorer"]

PEAK, BATCH, LEAST, MOST = 5e-4, 2, 0.05, 0.6
PATCH = 32
"""Side in pixels of the patches that a half of the masks is made of."""


def fit_restorer(
    model: LatentDiffusion,
    latents: Tensor,
    held_out: Tensor,
    *,
    minutes: float,
    folder: Path,
    seed: int = 0,
    callback: Progressed | None = None,
) -> tuple[Restorer, list[dict]]:
    """Fit a restorer; a run with the same folder goes on where the last one stopped.

    Arguments:
        model: The model.
        latents: Clean latents of it, with shape (N, C, h, w).
        held_out: Others, on which the curve is measured: errors in dB of what is filled and of what is restored.
        minutes: Time to fit for.
        folder: Gets the checkpoint.
        seed: Of masks and order.
        callback: Called after each step.

    Returns:
        The restorer, and the curve: `minutes`, `steps`, `filled_db` and `restored_db` of each evaluation.
    """

    own, other = (decoded(model, z) for z in (latents, held_out))

    def make() -> Injector:
        torch.manual_seed(seed)
        return Injector(latents.shape[1]).to(model.device)

    fit = TimedFit(make, peak=PEAK, seed=seed, checkpoint=folder / "restorer.pt")

    def loss(net: Injector, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(latents), (BATCH,), generator=generator)
        truth = latents[chosen].to(model.device)
        guess, known = damaged(model, [own[i] for i in chosen], generator)
        return left_over(restored_latent(model, Restorer(net), guess, known), guess, truth).mean()

    def evaluate(net: Injector) -> dict[str, float]:
        generator, errors = torch.Generator().manual_seed(seed + 1), []
        for picture, one in zip(other, held_out.to(model.device).split(1), strict=True):
            guess, known = damaged(model, [picture], generator)
            errors.append(
                torch.stack([nmse_db(z, one) for z in (guess, restored_latent(model, Restorer(net), guess, known))])
            )
        before, after = torch.cat(errors, dim=1).mean(dim=1).tolist()
        return {"filled_db": round(before, 3), "restored_db": round(after, 3)}

    fit.run(loss, evaluate, minutes, callback)
    return Restorer(fit.average, about={"minutes": minutes, "curve": fit.curve}), fit.curve


@torch.no_grad()
def decoded(model: LatentDiffusion, latents: Tensor) -> list[Image.Image]:
    """The pictures of latents, one at a time."""
    return [to_image(model.decode(one.to(model.device))[0].float().cpu()) for one in latents.split(1)]


@torch.no_grad()
def damaged(
    model: LatentDiffusion, pictures: Sequence[Image.Image], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Latents of pictures of which little is left and the rest filled, and which pixels are known, (B, 1, H, W)."""
    images = torch.stack([to_tensor(picture) for picture in pictures]).to(model.device)
    known = torch.stack([mask(images.shape[-2:], generator) for _ in pictures])[:, None].to(model.device)
    return model.encode(filled(images, known)).float(), known


def mask(size: torch.Size, generator: torch.Generator) -> Tensor:
    """A choice of pixels, (H, W), bool: each by itself, or in patches."""
    ratio, patches = torch.rand(2, generator=generator).tolist()
    return kept_pixels(size, LEAST + (MOST - LEAST) * ratio, generator, PATCH if patches < 0.5 else 1)


def left_over(found: Tensor, guess: Tensor, truth: Tensor) -> Tensor:
    """`||found - truth|| / ||guess - truth||` of each, with shape (B,)."""
    error, before = ((z - truth).flatten(1).norm(dim=1) for z in (found, guess))
    return error / before.clamp_min(1e-6)
