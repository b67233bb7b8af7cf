"""`wmark bench ablation`: every decoder inversion at every number of iterations, learning rate and precision.

It is the ablation of the paper (Hong et al., NeurIPS 2024) and goes beyond it, up to 200 iterations. That takes half an
hour an image on two cores, so it is a few images, from those that the encoder inverts best to those it inverts worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..models.latent_diffusion import LatentDiffusion
from ..models.tuning import nmse_db
from .decoder_inversion import generated_latents, measure, report, rounded_images, usable
from .inversion_variants import ABLATION, Variant
from .report import Rows, provenance

__all__ = ["run"]


def run(
    models: dict[str, LatentDiffusion],
    *,
    images: int,
    among: int,
    seed: int,
    out: Path,
    variants: Sequence[Variant] = ABLATION,
    sampling_steps: int = 50,
    guidance_scale: float = 7.5,
) -> dict:
    """Measure, print the table and write `ablation.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        models: The model in single precision, `fp32`, which makes the images, and in those of the variants.
        images: Images to invert.
        among: Images that are generated for them to be chosen from, those of `wmark bench decoder-inversion`.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        variants: What is compared.
        sampling_steps: DDIM steps of the generation.
        guidance_scale: Guidance of the generation.
    """
    model, variants = models["fp32"], usable(variants, models)
    settings = dict(seed=seed, sampling_steps=sampling_steps, guidance_scale=guidance_scale)
    about = provenance(model, **settings, images=images, among=among, size=list(model.native_size))
    rows = Rows(out / "ablation.jsonl", {**settings, "model": about["model"]}, ("image", "variant"))
    latents = generated_latents(model, among, seed, sampling_steps, guidance_scale, out)
    traces = measure(models, variants, latents, spread(encoder_errors(model, latents), images), rows)
    return report("ablation", models, traces, variants, about, out)


@torch.no_grad()
def encoder_errors(model: LatentDiffusion, latents: Tensor) -> list[float]:
    """NMSE in dB of what the encoder finds of each."""
    return [
        nmse_db(model.encode(rounded_images(model, latent).to(model.device)).cpu(), latent).item()
        for latent in tqdm(latents.split(1), unit="image", disable=None)
    ]


def spread(values: Sequence[float], count: int) -> list[int]:
    """Indices of `count` of the values, evenly over their ranks, the smallest and the largest among them."""
    order, count = sorted(range(len(values)), key=values.__getitem__), min(count, len(values))
    return [order[round(i * (len(order) - 1) / max(1, count - 1))] for i in range(count)]
