"""`wmark bench restoration`: what restoring a picture of few pixels buys its p-value.

Marked pictures of which a share of the pixels is left are verified as they are (grey where nothing is known), filled in
by interpolation, and restored by the model through the wired chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..detectors.detector import Detector
from ..images import to_image, to_tensor
from ..inversion.restoration import filled, kept_pixels, restore
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.restorer import Restorer
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from .corpus import Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results
from .quality import psnr

__all__ = ["RATIOS", "WAYS", "run"]

RATIOS = (0.1, 0.25, 0.5)
PATCHES = (1, 32)
"""Sides in pixels of the squares that are kept or gone."""

WAYS = ("whole", "damaged", "filled", "restored")

COLUMNS: Columns = {
    "pixels left": "{ratio:.0%}",
    "in squares of": "{patch}",
    "picture": "{way}",
    "images": "{images}",
    "PSNR dB": "{psnr:.1f}",
    "found at 1e-6": "{found:.0%}",
    "median log10 p": "{median_log10_p:.1f}",
    "worst log10 p": "{worst_log10_p:.1f}",
}


def run(
    model: LatentDiffusion,
    restorer: Restorer,
    *,
    images: int,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `restoration.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model that makes and restores the pictures.
        restorer: What was trained for it.
        images: Pictures, each with a key of its own.
        seed: Seed of keys, prompts, noise and pixels.
        out: Folder of the results.
        sampling: How pictures are made.
    """
    settings = dict(seed=seed, sampling_steps=sampling.steps, guidance_scale=sampling.guidance_scale)
    settings["restorer"] = dict(restorer.about)
    settings["pattern"] = repr(Pattern.of())
    about = provenance(model, **settings, images=images)
    rows = Rows(out / "restoration.jsonl", {**settings, "model": about["model"]}, ("image", "ratio", "patch", "way"))
    prompts = draw_prompts(images, 950_000 + seed)
    secret = f"wmark bench restoration {seed}".encode().ljust(32, b"\0")[:32]
    keys = [Key.derive(secret, f"key-{i}", Pattern.of()) for i in range(images)]
    corpus = Corpus(model, sampling, out)
    latents = corpus.latents([Origin.draw(model, prompts[i], 1000 * seed + i, keys[i]) for i in range(images)])
    for i in tqdm(range(images), unit="image", disable=None):
        if all((i, *place, way) in rows for place in product(RATIOS, PATCHES) for way in WAYS):
            continue
        (picture,), detector = pictures(model, latents[i : i + 1]), Detector(model, keys[i], align="off")
        for ratio, patch in product(RATIOS, PATCHES):
            for way, image in versions(model, restorer, to_tensor(picture), (ratio, patch), seed=i):
                if (i, ratio, patch, way) not in rows:
                    (verdict,) = detector.verify(to_image(image))
                    likeness = round(min(psnr(picture, to_image(image)), 99.0), 2)
                    found = {"log10_p": round(verdict.log10_p, 2), "found": verdict.found, "psnr": likeness}
                    rows.add({"image": i, "ratio": ratio, "patch": patch, "way": way, **found})
    summary = [
        summarise(rows.select(ratio=ratio, patch=patch, way=way, image=range(images)))
        for patch, ratio, way in product(PATCHES, RATIOS, WAYS)
    ]
    result = {**about, "results": summary}
    write_results(out / "restoration", COLUMNS, summary, result)
    plot(out / "restoration.png", summary, images)
    print(tabulate(COLUMNS, summary))
    return result


@torch.no_grad()
def versions(
    model: LatentDiffusion, restorer: Restorer, image: Tensor, left: tuple[float, int], seed: int
) -> list[tuple[str, Tensor]]:
    """A picture (3, H, W) by the ways of :data:`WAYS`, with a share of its pixels left, in squares of some side."""
    ratio, patch = left
    known = kept_pixels(image.shape[-2:], ratio, torch.Generator().manual_seed(seed), patch)
    grey = torch.where(known, image, torch.zeros(()))
    guess = filled(grey[None], known[None, None])[0]
    return list(
        zip(WAYS, (image, grey, guess, restore(model, restorer, grey[None], known[None, None])[0]), strict=True)
    )


def summarise(of: Sequence[dict]) -> dict:
    """Means and medians over the pictures."""
    p = np.array([row["log10_p"] for row in of])
    return {
        **{name: of[0][name] for name in ("ratio", "patch", "way")},
        "images": len(of),
        "psnr": float(np.mean([row["psnr"] for row in of])),
        "found": float(np.mean([row["found"] for row in of])),
        "median_log10_p": float(np.median(p)),
        "worst_log10_p": float(p.max()),
    }


def plot(path: Path, summary: Sequence[dict], images: int) -> None:
    """Median log10 p against the share of pixels, a line for each way."""
    from ..figures import figure, save

    canvas, axes = figure(1, len(PATCHES), width=6 * len(PATCHES), height=4.5)
    for axis, patch in zip(axes.flat, PATCHES, strict=True):
        for way in WAYS:
            points = [r for r in summary if (r["way"], r["patch"]) == (way, patch)]
            axis.plot([100 * r["ratio"] for r in points], [r["median_log10_p"] for r in points], "o-", label=way)
        axis.set_title("single pixels" if patch == 1 else f"squares of {patch} pixels", fontsize=10)
        axis.set_xlabel("pixels left, %")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"log10 p, median of {images} pictures")
    axes[0, 0].legend()
    save(canvas, path)
