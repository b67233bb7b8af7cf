"""The bank: encoded crops and their captions, computed once and kept beside the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..files import sha256
from ..progress import progress
from .captions import captions
from .dataset import Pictures
from .loop import load_averages, read_checkpoint, write_checkpoint
from .parts import build_autoencoder, tokenise
from .precision import autocast

if TYPE_CHECKING:
    from torch import nn

    from ..models.architectures import CLIPTokenizer

__all__ = ["encode_crops", "encoded_crops"]

CHUNK = 16
"""Crops that are drawn together."""


def encoded_crops(
    configuration: dict,
    settings: dict,
    tokenizer: CLIPTokenizer,
    data: Path,
    run: Path,
    device: torch.device,
    scaling_factor: float | None = None,
) -> dict:
    """Encoded crops and their captions' tokens, kept beside the checkpoints: `latents`, `tokens`, `scaling_factor`."""
    vae = build_autoencoder(configuration)
    load_averages(run / "autoencoder.pt", {"vae": vae})
    vae.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()
    path, weights = run / f"bank-{settings['size']}.pt", sha256(run / "autoencoder.pt")
    return encode_crops(vae, weights, configuration, settings, tokenizer, data, path, scaling_factor)


def encode_crops(
    vae: nn.Module,
    weights: str,
    configuration: dict,
    settings: dict,
    tokenizer: CLIPTokenizer,
    data: Path,
    path: Path,
    scaling_factor: float | None = None,
) -> dict:
    """As :func:`encoded_crops`, by any autoencoder, where it is to run, and a name of its weights, kept at a path."""
    made_of = weights, sha256(data / "manifest.json"), settings["bank"], settings["largest_crop"]
    source, device = " ".join(map(str, made_of)), vae.device
    if path.exists():
        bank = read_checkpoint(path)
        if bank["source"] == source:
            return bank
    chunk = 1 if device.type == "cpu" else CHUNK
    pictures = Pictures(data, device=device)
    generator = torch.Generator().manual_seed(configuration["model"]["seed"])
    latents, tokens = [], []
    with progress(settings["bank"], "crop") as bar:
        while sum(map(len, latents)) < settings["bank"]:
            count = min(CHUNK, settings["bank"] - sum(map(len, latents)))
            x, subjects = pictures.crops(count, settings["size"], generator, settings["largest_crop"])
            with (
                torch.no_grad(),
                autocast(device, configuration["model"]["precision"]),
            ):
                # Large pictures one by one: on a CPU, a batch of them falls out of the caches and takes twice as long.
                latents.extend(vae.encode(one).latent_dist.mean.half().cpu() for one in x.split(chunk))
            tokens.append(tokenise(tokenizer, captions(x, subjects, seed=len(tokens))))
            bar.update(count)
    z = torch.cat(latents)
    scaling_factor = scaling_factor or float(1 / z.float().std())
    bank = {"latents": z, "tokens": torch.cat(tokens), "scaling_factor": scaling_factor, "source": source}
    write_checkpoint(path, bank)
    return bank
