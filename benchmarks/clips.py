"""`wmark bench clips`: what the frame before is worth to the inversion of the next.

Clips whose latents are known: the initial noise is turned by a small angle from frame to frame, towards another noise
and past it, while the prompt stays; sampling carries that smoothly to the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..inversion.decoder import anderson, invert_clip
from ..inversion.nmse import nmse_db
from ..models.clock import clock
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from .corpus import Corpus, Origin, rounded_images
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["TURNS", "run"]

TURNS = (0.01, 0.05, 0.2, 0.5)
"""Angles in radians by which the noise turns from one frame to the next."""

ITERATIONS = (1, 3, 8)

COLUMNS: Columns = {
    "turn, rad": "{turn}",
    "start": lambda r: "the frame before" if r["carried"] else "encoder",
    "iterations": "{iterations}",
    "first frame, dB": "{first_nmse_db:.2f}",
    "the others, dB": "{other_nmse_db:.2f}",
    "seconds a frame": "{seconds:.2f}",
}


def run(
    model: LatentDiffusion,
    *,
    clips: int,
    frames: int,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `clips.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and invert with.
        clips: Clips of each turn.
        frames: Frames of each.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        sampling: How frames are generated.
    """
    settings = dict(seed=seed, frames=frames)
    settings |= dict(sampling_steps=sampling.steps, guidance_scale=sampling.guidance_scale)
    about = provenance(model, **settings, clips=clips, size=list(model.native_size))
    rows = Rows(out / "clips.jsonl", {**settings, "model": about["model"]}, ("clip", "turn", "carried", "iterations"))
    corpus = Corpus(model, sampling, out, batch_size=1)
    prompts = draw_prompts(clips, 800_000 + seed)
    for clip, turn in tqdm([(clip, turn) for clip in range(clips) for turn in TURNS], unit="clip", disable=None):
        noise = turning_noise(model, frames, turn, 1000 * seed + clip)
        measure(corpus, rows, clip, turn, [Origin(prompts[clip], n) for n in noise])

    results = [
        summarise(rows.select(clip=range(clips), turn=turn, carried=carried, iterations=iterations))
        | {"turn": turn, "carried": carried, "iterations": iterations}
        for turn in TURNS
        for carried in (False, True)
        for iterations in ITERATIONS
    ]
    result = {**about, "results": results}
    write_results(out / "clips", COLUMNS, results, result)
    plot(out / "clips.png", results)
    print(tabulate(COLUMNS, results))
    return result


def measure(corpus: Corpus, rows: Rows, clip: int, turn: float, origins: Sequence[Origin]) -> None:
    """Generate and invert a clip, unless that was done."""
    wanted = [(c, k) for k in ITERATIONS for c in (False, True) if (clip, turn, c, k) not in rows]
    if not wanted:
        return
    model, latents = corpus.model, corpus.latents(origins)
    images = rounded_images(model, latents).to(model.device)
    for carried, iterations in wanted:
        begin = clock(model.device)
        found = invert(model, images, carried, iterations)
        seconds = (clock(model.device) - begin) / len(origins)
        errors = [round(value, 4) for value in nmse_db(found.cpu(), latents).tolist()]
        row = {"clip": clip, "turn": turn, "carried": carried, "iterations": iterations, "nmse_db": errors}
        rows.add({**row, "seconds": round(seconds, 4)})


def turning_noise(model: LatentDiffusion, frames: int, turn: float, seed: int) -> Tensor:
    """Initial noise of the frames, with shape (frames, C, h, w): points of a circle, each of them standard normal."""
    generator = torch.Generator().manual_seed(800_000 + seed)
    here, there = torch.randn(2, *model.latent_shape(*model.native_size), generator=generator)
    return torch.stack([math.cos(turn * t) * here + math.sin(turn * t) * there for t in range(frames)])


@torch.no_grad()
def invert(model: LatentDiffusion, images: Tensor, carried: bool, iterations: int) -> Tensor:
    if carried:
        return invert_clip(model.coders(), images, iterations=iterations, tolerance=0.0).latent
    alone = [anderson(model.coders(), x, iterations=iterations, tolerance=0.0) for x in images.split(1)]
    return torch.cat([one.latent for one in alone])


def summarise(rows: list[dict]) -> dict:
    errors = np.array([row["nmse_db"] for row in rows])
    return {
        "clips": len(rows),
        "first_nmse_db": float(errors[:, 0].mean()),
        "other_nmse_db": float(errors[:, 1:].mean()),
        "seconds": float(np.mean([row["seconds"] for row in rows])),
    }


def plot(path: Path, results: list[dict]) -> None:
    """Error of the frames after the first against the turn."""
    from ..figures import figure, save

    canvas, axes = figure(1, 1, width=8, height=4.5)
    axis = axes[0, 0]
    for carried in (False, True):
        for number, iterations in enumerate(ITERATIONS):
            curve = [r for r in results if (r["carried"], r["iterations"]) == (carried, iterations)]
            axis.plot(
                [r["turn"] for r in curve],
                [r["other_nmse_db"] for r in curve],
                "-o" if carried else "--s",
                color=f"C{number}",
                markersize=4,
                label=f"{'from the frame before' if carried else 'from the encoder'}, {iterations}",
            )
    axis.set_xscale("log")
    axis.set_xticks(TURNS, [f"{turn:g}" for turn in TURNS])
    axis.set_xlabel("turn of the initial noise from frame to frame, radians")
    axis.set_ylabel("NMSE of the frames after the first, dB")
    axis.legend(title="start, iterations", fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    axis.grid(alpha=0.3)
    save(canvas, path)
