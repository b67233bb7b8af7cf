"""Averaged weights -> a folder in diffusers' format, in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..files import write_atomically
from ..models.architectures import StableDiffusionPipeline, pipeline
from ..models.quiet import quiet
from .diffusion import scaling_factor_of
from .loop import load_averages
from .parts import build_autoencoder, build_scheduler, build_text_encoder, build_unet, tokenizer_of

__all__ = ["assemble", "export"]


def assemble(configuration: dict, run: Path) -> StableDiffusionPipeline:
    """The `StableDiffusionPipeline` of a run's averaged weights; the refined autoencoder, where there is one.

    Raises:
        ModelError: If a stage has not been run.
    """
    tokenizer = tokenizer_of(configuration, run)
    vae, unet = build_autoencoder(configuration), build_unet(configuration)
    text_encoder = build_text_encoder(configuration, tokenizer)
    load_averages(run / "diffusion.pt", {"unet": unet, "text_encoder": text_encoder})
    refined = run / "refine.pt"
    load_averages(refined if refined.exists() else run / "autoencoder.pt", {"vae": vae})
    vae.register_to_config(scaling_factor=scaling_factor_of(configuration, run))
    return pipeline(vae, unet, text_encoder, tokenizer, build_scheduler(configuration))


def export(configuration: dict, run: Path, folder: Path) -> int:
    """Write the model; returns the bytes of its weights.

    transformers loads a part in the precision that its configuration names, diffusers in float32 unless told otherwise.
    """
    with quiet():
        assemble(configuration, run).to(torch.float16).save_pretrained(folder, safe_serialization=True)
    config = folder / "text_encoder" / "config.json"
    told = json.loads(config.read_text()) | {"dtype": "float32"}
    write_atomically(config, (json.dumps(told, indent=2, sort_keys=True) + "\n").encode())
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
