"""Latents sampled from a diffusion model and kept: for an autoencoder's refinement, and for a left inverse's tuning."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

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

__all__ = ["refinement_latents", "sample_latents"]

BATCH = 32


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
            prompts = [_prompt(rng) for _ in range(count)]
            noise = torch.randn(count, *model.latent_shape(size, size), generator=generator)
            guidance = rng.uniform(1, 7.5)
            with torch.autocast(device.type, torch.bfloat16, enabled=configuration["model"]["precision"] == "bf16"):
                latent = model.sample(noise, prompts, Sampling(settings["sampling_steps"], guidance))
            found.append(latent.cpu() / model.pipeline.vae.config.scaling_factor)
            bar.update(count)
    latents = torch.cat(found)
    write_checkpoint(path, {"latents": latents, "source": source})
    return latents


def sample_latents(
    model: LatentDiffusion,
    prompts: Sequence[str],
    folder: Path,
    *,
    steps: int,
    seed: int,
    callback: Callable[[int], None] | None = None,
    batch: int = 8,
) -> Tensor:
    """Clean latents (B, C, h, w), one for each prompt, at guidance scales from 1 to 8; kept in a folder as they come.

    Arguments:
        model: The model to sample from, at its native size.
        prompts: B prompts.
        folder: Where batches are kept; those that are there already are read, not sampled.
        steps: DDIM steps.
        seed: Seed of noise and guidance.
        callback: Called with the number of latents that are ready.
        batch: Latents sampled together.
    """
    shape, latents = model.latent_shape(*model.native_size), []
    for start in range(0, len(prompts), batch):
        path = folder / f"latents-{start:05d}.pt"
        if path.exists():
            part = read_checkpoint(path)
        else:
            some = prompts[start : start + batch]
            generator = torch.Generator().manual_seed(seed * 100_000 + start)
            noise = torch.randn(len(some), *shape, generator=generator)
            guidance = 1 + 7 * torch.rand(1, generator=generator).item()
            part = model.sample(noise, some, Sampling(steps, guidance)).cpu()
            write_checkpoint(path, part)
        latents.append(part)
        if callback:
            callback(min(start + batch, len(prompts)))
    return torch.cat(latents)


def _prompt(rng: random.Random) -> str:
    colours = rng.sample(COLOURS, rng.choice([1, 2]))
    chosen = [rng.choice(["", "", *BRIGHTNESS]), rng.choice(["", "", *TEXTURES]), " and ".join(colours)]
    return " ".join(word for word in ["a", *chosen, rng.choice(SUBJECTS), "wallpaper"] if word)
