"""Latents sampled from the diffusion model, for the autoencoder's refinement."""

from __future__ import annotations

import io
import random
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..files import sha256, write_atomically
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from ..progress import progress
from .captions import BRIGHTNESS, COLOURS, SUBJECTS, TEXTURES
from .export import assemble
from .loop import read_checkpoint

__all__ = ["sampled_latents"]

BATCH = 32


def sampled_latents(configuration: dict, run: Path, device: torch.device) -> Tensor:
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
    latents, content = torch.cat(found), io.BytesIO()
    torch.save({"latents": latents, "source": source}, content)
    write_atomically(path, content.getvalue())
    return latents


def _prompt(rng: random.Random) -> str:
    colours = rng.sample(COLOURS, rng.choice([1, 2]))
    chosen = [rng.choice(["", "", *BRIGHTNESS]), rng.choice(["", "", *TEXTURES]), " and ".join(colours)]
    return " ".join(word for word in ["a", *chosen, rng.choice(SUBJECTS), "wallpaper"] if word)
