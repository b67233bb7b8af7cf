"""Latents sampled from a diffusion model and kept: for an autoencoder's refinement, and for a left inverse's tuning."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ModelError
from ..files import sha256
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from ..progress import progress
from .captions import BRIGHTNESS, COLOURS, SUBJECTS, TEXTURES
from .export import assemble
from .loop import read_checkpoint, write_checkpoint
from .precision import autocast

__all__ = ["HELD_OUT", "Samples", "draw_prompt", "hold_out", "refinement_latents", "sample_latents"]

BATCH = 32
SAMPLERS = ("ddim", "dpmsolver++")
"""What latents are sampled with, in turn."""

HELD_OUT = 16


def refinement_latents(configuration: dict, run: Path, device: torch.device) -> Tensor:
    """Latents (N, 4, h, w), not scaled, at guidance 1 to 7.5; sampled once and kept beside the checkpoints.

    Raises:
        ModelError: If those kept are of another diffusion model than the checkpoint.
    """
    path, settings = run / "samples.pt", configuration["refine"]
    source = sha256(run / "diffusion.pt")
    if path.exists():
        kept = read_checkpoint(path)
        if kept["source"] != source:
            raise ModelError(f"{path} is of an earlier diffusion model: delete it and refine.pt to refine anew")
        return kept["latents"]
    model = LatentDiffusion.from_pipeline(assemble(configuration, run).to(device), "training")
    size = configuration["model"]["size"]
    seed = configuration["model"]["seed"]
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    with progress(settings["samples"], "sample") as bar:
        while sum(map(len, found)) < settings["samples"]:
            count = min(BATCH, settings["samples"] - sum(map(len, found)))
            prompts = [draw_prompt(rng) for _ in range(count)]
            noise = torch.randn(count, *model.latent_shape(size, size), generator=generator)
            guidance = rng.uniform(1, 7.5)
            with autocast(device, configuration["model"]["precision"]):
                latent = model.sample(noise, prompts, Sampling(settings["sampling_steps"], guidance))
            found.append(latent.cpu() / model.pipeline.vae.config.scaling_factor)
            bar.update(count)
    latents = torch.cat(found)
    write_checkpoint(path, {"latents": latents, "source": source})
    return latents


class Samples(NamedTuple):
    """What a diffusion model made of noise.

    Attributes:
        noise: The initial noise, with shape (B, C, h, w).
        latents: The clean latents, of the same shape.
    """

    noise: Tensor
    latents: Tensor

    def of(self, chosen: Tensor) -> Samples:
        """Some of them: by a mask (B,), or by their indices."""
        return Samples(self.noise[chosen], self.latents[chosen])


def sample_latents(
    model: LatentDiffusion,
    prompts: Sequence[str],
    folder: Path,
    *,
    steps: int,
    seed: int,
    callback: Callable[[int], None] | None = None,
    batch: int = 8,
) -> Samples:
    """Latents, one for each prompt, as people sample them: at guidance scales from 1 to 8, by every sampler, in half to
    one and a half times the steps; kept in a folder as they come.

    Arguments:
        model: The model to sample from, at its native size.
        prompts: B prompts.
        folder: Where batches are kept; those that are there already are read, not sampled.
        steps: Sampling steps, in the middle.
        seed: Seed of noise, guidance and steps.
        callback: Called with the number of latents that are ready.
        batch: Latents sampled together.
    """
    parts = []
    for start in range(0, len(prompts), batch):
        path = folder / f"samples-{start:05d}.pt"
        if path.exists():
            part = Samples(*read_checkpoint(path))
        else:
            scheduler = SAMPLERS[start // batch % len(SAMPLERS)]
            part = batch_of(model, prompts[start : start + batch], steps, scheduler, seed * 100_000 + start)
            write_checkpoint(path, tuple(part))
        parts.append(part)
        if callback:
            callback(min(start + batch, len(prompts)))
    return Samples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def batch_of(model: LatentDiffusion, prompts: Sequence[str], steps: int, scheduler: str, seed: int) -> Samples:
    """Latents that are sampled together, with a guidance scale and a number of steps that are drawn for them."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(prompts), *model.latent_shape(*model.native_size), generator=generator)
    guidance, length = torch.rand(2, generator=generator).tolist()
    sampling = Sampling(max(1, round(steps * (0.5 + length))), 1 + 7 * guidance, scheduler)
    return Samples(noise, model.sample(noise, prompts, sampling).cpu())


def hold_out(samples: Samples) -> tuple[Samples, Samples]:
    """Samples to learn from, and 16, evenly spread, that are held out.

    Raises:
        ModelError: If there are not more than that.
    """
    if len(samples.noise) <= HELD_OUT:
        raise ModelError(f"{len(samples.noise)} latents are too few to tune on: {HELD_OUT} are held out")
    apart = torch.zeros(len(samples.noise), dtype=torch.bool)
    apart[torch.linspace(0, len(apart) - 1, HELD_OUT).long()] = True
    return samples.of(~apart), samples.of(apart)


def draw_prompt(rng: random.Random) -> str:
    """A prompt of the captions' language: a BRIGHTNESS TEXTURE COLOUR [and COLOUR] SUBJECT wallpaper."""
    colours = rng.sample(COLOURS, rng.choice([1, 2]))
    chosen = [rng.choice(["", "", *BRIGHTNESS]), rng.choice(["", "", *TEXTURES]), " and ".join(colours)]
    return " ".join(word for word in ["a", *chosen, rng.choice(SUBJECTS), "wallpaper"] if word)
