"""Images in, initial noise out: a :class:`Recovery` carried out with a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ModelError
from ..images import to_unit
from ..models.base import Note, ignore
from . import decoder, diffusion
from .decoder import DecoderInversion
from .diffusion import DiffusionInversion
from .recovery import DECODER_INVERSIONS, DIFFUSION_INVERSIONS, Recovery
from .whitening import whiten

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Recover", "Recovered", "invert_decoder", "invert_diffusion", "recover", "recovering", "together"]


@dataclass(frozen=True)
class Recovered:
    """What was recovered from images.

    Attributes:
        noise: Initial noise (B, C, h, w), float32, where the model runs.
        reading: The same as keys are best read from it: whitened, or what a learned reader says of it.
        fallbacks: What was done otherwise than asked, such as working in tiles where memory was short.
        latent: The clean latent that it was recovered from, of the same shape, if there was a single one.
    """

    noise: Tensor
    reading: Tensor
    fallbacks: tuple[str, ...] = ()
    latent: Tensor | None = None

    @classmethod
    def whitened(cls, noise: Tensor) -> Recovered:
        """What an inversion recovered, (B, C, h, w), to be read when it is evened out."""
        return cls(noise, whiten(noise))

    def of(self, images: Sequence[int]) -> Recovered:
        """What was recovered from some of the images."""
        latent = None if self.latent is None else self.latent[images]
        return replace(self, noise=self.noise[images], reading=self.reading[images], latent=latent)


def together(parts: Sequence[Recovered]) -> Recovered:
    """What was recovered from several images, in order, as one."""
    notes = dict.fromkeys(note for part in parts for note in part.fallbacks)
    latents = [p.latent for p in parts if p.latent is not None]
    latent = torch.cat(latents) if len(latents) == len(parts) else None
    return Recovered(torch.cat([p.noise for p in parts]), torch.cat([p.reading for p in parts]), tuple(notes), latent)


Recover = Callable[[Tensor], Recovered]
"""From images (B, 3, H, W), uint8, to their initial noise."""


def recovering(model: LatentDiffusion, recovery: Recovery) -> Recover:
    """The callable that recovers noise with a model in one way."""
    return partial(recover, model, recovery)


def recover(model: LatentDiffusion, recovery: Recovery, images: Tensor, known: Recovered | None = None) -> Recovered:
    """The initial noise of images (B, 3, H, W), uint8, the prompt unknown.

    Arguments:
        model: The model that is taken to have made the images.
        recovery: How.
        images: The images.
        known: What was recovered of them from the same clean latents, which are then not looked for again.

    Raises:
        ModelError: If a latent or a noise is not finite: the model's weights or its precision are broken. If a learned
            reader is needed and the model has none.
    """
    if recovery.needs_reader and model.reader is None:
        raise ModelError(f"the model {model.name} has no learned reader: make one with `wmark tune`")
    notes: dict[str, None] = dict.fromkeys(known.fallbacks if known else ())
    x = to_unit(images.to(model.device))
    latent = known.latent if known else invert_decoder(model, recovery, x, notes.setdefault).latent
    _refuse_broken(model, latent, "latent")
    if recovery.diffusion == "reader":
        noise = reading = model.reader(model.reader.turn(latent) if recovery.turned else latent)
    else:
        noise = latent.float() if recovery.diffusion == "none" else invert_diffusion(model, recovery, latent).noise
        reading = whiten(noise)
    if recovery.beside:
        said = model.reader(model.encode(x))
        level = said.square().mean((1, 2, 3), keepdim=True).sqrt()
        reading = said + recovery.beside * level * reading
    _refuse_broken(model, noise, "noise")
    return Recovered(noise, reading, tuple(notes), latent)


@torch.no_grad()
def invert_decoder(model: LatentDiffusion, recovery: Recovery, images: Tensor, note: Note = ignore) -> DecoderInversion:
    """Clean latents of images (B, 3, H, W) in [-1, 1].

    Arguments:
        model: The model that is taken to have made the images.
        recovery: How.
        images: The images.
        note: Called with what was done otherwise than asked.
    """
    invert = getattr(decoder, DECODER_INVERSIONS[recovery.decoder])
    options = dict(recovery.options)
    if recovery.iterations is not None:
        options["iterations"] = recovery.iterations
    return invert(model.coders(recovery.tuned, note), images.to(model.device), **options)


@torch.no_grad()
def invert_diffusion(model: LatentDiffusion, recovery: Recovery, latents: Tensor) -> DiffusionInversion:
    """Initial noise of clean latents (B, C, h, w), the prompt unknown."""
    invert = getattr(diffusion, DIFFUSION_INVERSIONS[recovery.diffusion])
    predict = partial(model.denoiser.predict, condition=model.unprompted)
    return invert(predict, model.denoiser.schedule, latents, steps=recovery.steps)


def _refuse_broken(model: LatentDiffusion, values: Tensor, what: str) -> None:
    if not values.isfinite().all():
        narrow = f", or {model.dtype} is too narrow for them (try --dtype fp32)" if model.dtype.itemsize < 4 else ""
        raise ModelError(f"the model {model.name} recovers a {what} that is not finite: its weights are broken{narrow}")
