"""`wmark bench guidance`: pictures reconstructed at a guidance scale from their inversion without one.

Latents of the model, their prompts known, are inverted at guidance 1 and sampled again at guidance w: as they are, with
embeddings that lead back (null text, prompt tuning, negative prompt), and from a noise that is refined for it (SDO).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..inversion.diffusion import invert
from ..inversion.guidance import Tuned, Tuning, negative_prompt, null_text, prompt_tuning
from ..inversion.nmse import nmse_db
from ..inversion.refinement import refine
from ..models.guidance import guided
from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import ddim, sample
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..models.schedule import Grid
from .corpus import Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results
from .quality import psnr

__all__ = ["METHODS", "run"]

COLUMNS: Columns = {
    "method": "{method}",
    "images": "{images}",
    "latent NMSE dB": "{nmse_db:.1f}",
    "worst": "{worst_nmse_db:.1f}",
    "PSNR dB": "{psnr:.1f}",
    "noise NMSE dB": "{noise_nmse_db:.1f}",
    "seconds": "{seconds:.1f}",
}

Found = tuple[Tensor, Tensor]
"""A noise, and the latent that is sampled from it, each with shape (B, C, h, w)."""

Reconstruct = Callable[[LatentDiffusion, Grid, Tensor, Tensor, float], Found]
"""From a model, times, latents (B, C, h, w), their prompt's embedding and a guidance scale to what brings them back."""


def plain(model: LatentDiffusion, grid: Grid, latent: Tensor, condition: Tensor, scale: float) -> Found:
    """Sampled at the scale from the noise that inversion found at guidance 1."""
    source = partial(model.denoiser.predict, condition=condition)
    noise = invert(source, ddim(grid), latent, Tuning().correction).noise
    return noise, sample(guided(model.denoiser, condition, model.unprompted, scale), ddim(grid), noise)


def by_null_text(model: LatentDiffusion, grid: Grid, latent: Tensor, condition: Tensor, scale: float) -> Found:
    return of_tuned(null_text(model.denoiser, grid, latent, condition, model.unprompted, Tuning(scale)))


def by_prompt_tuning(model: LatentDiffusion, grid: Grid, latent: Tensor, condition: Tensor, scale: float) -> Found:
    return of_tuned(prompt_tuning(model.denoiser, grid, latent, condition, model.unprompted, Tuning(scale)))


def by_negative_prompt(model: LatentDiffusion, grid: Grid, latent: Tensor, condition: Tensor, scale: float) -> Found:
    return of_tuned(negative_prompt(model.denoiser, grid, latent, condition, Tuning(scale)))


def of_tuned(tuned: Tuned) -> Found:
    return tuned.noise, tuned.latent


def by_refining(model: LatentDiffusion, grid: Grid, latent: Tensor, condition: Tensor, scale: float) -> Found:
    """The same noise as plainly, refined."""
    noise, _ = plain(model, grid, latent, condition, scale)
    predict = guided(model.denoiser, condition, model.unprompted, scale)
    noise = refine(predict, grid, noise, latent).value
    return noise, sample(predict, ddim(grid), noise)


METHODS: dict[str, Reconstruct] = {
    "plain": plain,
    "negative prompt": by_negative_prompt,
    "prompt tuning": by_prompt_tuning,
    "null text": by_null_text,
    "refined noise": by_refining,
}


def run(model: LatentDiffusion, *, images: int, steps: int, guidance: float, seed: int, out: Path) -> dict:
    """Measure, print the table and write `guidance.{csv,json}`; returns what the JSON holds.

    Arguments:
        model: The model that makes and reconstructs the pictures.
        images: Pictures.
        steps: Sampling steps.
        guidance: Guidance scale of the reconstruction, and of the pictures.
        seed: Seed of prompts and noise.
        out: Folder of the results.
    """
    settings = dict(seed=seed, steps=steps, guidance=guidance)
    about = provenance(model, **settings, images=images)
    rows = Rows(out / "guidance.jsonl", {**settings, "model": about["model"]}, ("image", "method"))
    prompts, grid = draw_prompts(images, 970_000 + seed), Grid.of(model.denoiser.schedule, steps)
    corpus = Corpus(model, Sampling(steps, guidance), out)
    origins = [Origin.draw(model, prompt, 1000 * seed + i) for i, prompt in enumerate(prompts)]
    latents = corpus.latents(origins)
    for i in tqdm(range(images), unit="image", disable=None):
        for name in [name for name in METHODS if (i, name) not in rows]:
            with torch.no_grad():
                condition = model.condition([prompts[i]])
            latent, begin = latents[i : i + 1].to(model.device), time.process_time()
            with torch.no_grad():
                noise, made = METHODS[name](model, grid, latent, condition, guidance)
            spent = round(time.process_time() - begin, 3)
            errors = {
                "nmse_db": round(nmse_db(made, latent).item(), 3),
                "noise_nmse_db": round(nmse_db(noise, origins[i].noise[None]).item(), 3),
            }
            likeness = min(psnr(*pictures(model, torch.cat([made, latent]))), 99.0)
            rows.add({"image": i, "method": name, **errors, "psnr": likeness, "seconds": spent})
    summary = [summarise(rows.select(method=name, image=range(images))) for name in METHODS]
    result = {**about, "results": summary}
    write_results(out / "guidance", COLUMNS, summary, result)
    print(tabulate(COLUMNS, summary))
    return result


def summarise(of: Sequence[dict]) -> dict:
    """Means over the pictures."""
    errors = np.array([row["nmse_db"] for row in of])
    return {
        "method": of[0]["method"],
        "images": len(of),
        "nmse_db": float(errors.mean()),
        "worst_nmse_db": float(errors.max()),
        "psnr": float(np.mean([row["psnr"] for row in of])),
        "noise_nmse_db": float(np.mean([row["noise_nmse_db"] for row in of])),
        "seconds": float(np.median([row["seconds"] for row in of])),
    }
