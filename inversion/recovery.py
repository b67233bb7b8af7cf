"""How the initial noise is recovered: decoder inversion, then diffusion inversion, each with its settings.

The defaults were chosen on the embedded model (`wmark bench decoder-inversion` and `latent`). Three iterations of
Anderson's method win seven orders of magnitude in the p-value of a clean image; more of them fit the damage of a
damaged one. The tuned left inverse neither wins nor loses on this model, whose encoder was trained on its own images;
it is the default for those whose encoder was not. 5 DDIM steps are the best after compression and noise, because long
inversions amplify what error the latent has left, and 10 are little better when clean; only from the true latent, which
no detector knows, do more steps read more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import decoder as decoder_inversion
from . import diffusion as diffusion_inversion

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["EFFORTS", "EXACT", "FAST", "Stage", "stages"]


@dataclass(frozen=True)
class Stage:
    """How the initial noise is recovered.

    Arguments:
        name: What verdicts call it.
        decoder_inversion: A name in :data:`decoder_inversion.METHODS`, with its options.
        diffusion_inversion: A name in :data:`diffusion_inversion.METHODS`, with its number of steps.
        left_inverse: Whether the model's tuned left inverse, if it has one, stands where the encoder stands. Anderson's
            method still starts from the encoder.
    """

    name: str
    decoder_inversion: str = "encoder"
    decoder_options: dict = field(default_factory=dict)
    diffusion_inversion: str = "ddim"
    steps: int = 5
    left_inverse: bool = True

    def recover(self, model: LatentDiffusion, images: Tensor) -> Tensor:
        """Initial noise (B, C, h, w) of images (B, 3, H, W) in [-1, 1], the prompt unknown."""
        return self.invert_diffusion(model, self.invert_decoder(model, images))

    @torch.no_grad()
    def invert_decoder(self, model: LatentDiffusion, images: Tensor) -> Tensor:
        """Clean latents (B, C, h, w) of images (B, 3, H, W) in [-1, 1]."""
        images, options = images.to(model.device), self.decoder_options
        encode = model.left_inverse if self.left_inverse else model.encode
        if self.left_inverse and self.decoder_inversion == "anderson":
            options = {"start": model.encode(images), **options}
        return decoder_inversion.METHODS[self.decoder_inversion](encode, model.decode, images, **options).latent

    @torch.no_grad()
    def invert_diffusion(self, model: LatentDiffusion, latents: Tensor) -> Tensor:
        """Initial noise (B, C, h, w) of clean latents of the same shape, the prompt unknown."""
        embedding = model.embed([""])
        invert = diffusion_inversion.METHODS[self.diffusion_inversion]
        return invert(
            lambda z, t: model.predict_noise(z, t, embedding), model.alphas_cumprod, latents, steps=self.steps
        ).noise


FAST = Stage("fast")
EXACT = Stage("exact", "anderson", {"iterations": 3})

EFFORTS: dict[str, tuple[Stage, ...]] = {"fast": (FAST,), "auto": (FAST, EXACT), "exact": (EXACT,)}


def stages(
    effort: str = "auto",
    decoder_inversion: str | None = None,
    iterations: int | None = None,
    diffusion_inversion: str | None = None,
    steps: int | None = None,
    left_inverse: bool = True,
) -> tuple[Stage, ...]:
    """The stages of an effort with parts replaced, None keeping the effort's own.

    Arguments:
        effort: `fast` (one call of the left inverse or the encoder), `exact` (iterated decoder inversion), or `auto`:
            fast first, exact only if that was not decisive.
        decoder_inversion: A name in :data:`decoder_inversion.METHODS`.
        iterations: Iterations of the decoder inversion.
        diffusion_inversion: A name in :data:`diffusion_inversion.METHODS`.
        steps: Steps of the diffusion inversion.
        left_inverse: Whether to use the model's tuned left inverse, if it has one.
    """
    if effort not in EFFORTS:
        raise ValueError(f"effort {effort!r} is not one of {', '.join(EFFORTS)}")
    chosen = []
    for stage in EFFORTS[effort]:
        method = decoder_inversion or stage.decoder_inversion
        options = dict(stage.decoder_options) if method == stage.decoder_inversion else {}
        if iterations and method != "encoder":
            options["iterations"] = iterations
        custom = replace(
            stage,
            decoder_inversion=method,
            decoder_options=options,
            diffusion_inversion=diffusion_inversion or stage.diffusion_inversion,
            steps=steps or stage.steps,
            left_inverse=left_inverse,
        )
        if all(replace(custom, name=other.name) != other for other in chosen):
            chosen.append(custom)
    return tuple(chosen)
