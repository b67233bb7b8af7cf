"""`wmark bench latent`: what a better latent buys downstream.

Marked images are damaged and inverted: every decoder inversion, then DDIM inversion with every number of steps. What
is measured is the error of the latent, the error of the initial noise, and the p-value of the key where it was planted.
The true latent, which no detector knows, shows what there is to win.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..attacks import damaged
from ..detectors.statistic import cosine, hypercone_log10_p
from ..images import to_tensor
from ..inversion.chain import invert_decoder, invert_diffusion
from ..inversion.nmse import nmse_db
from ..inversion.recovery import Recovery
from ..inversion.whitening import whiten
from ..models.clock import clock
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import read
from .corpus import Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["STEPS", "run"]

TRIED = ("none", "jpeg-25", "noise-0.1")
"""Damages."""

STEPS = (5, 10, 20, 50)
INVERSIONS: dict[str, Recovery] = {
    recovery.name: recovery
    for recovery in (
        Recovery("encoder", tuned=False),
        Recovery("left inverse"),
        Recovery("forward x 10", "forward", 10, {"rho": 0.5}, tuned=False),
        Recovery("Anderson x 3", "anderson", 3, tuned=False),
        Recovery("Anderson x 10", "anderson", 10, tuned=False),
        Recovery("Anderson x 20", "anderson", 20, tuned=False),
        Recovery("left inverse, Anderson x 3", "anderson", 3),
        Recovery("left inverse, Anderson x 10", "anderson", 10),
        Recovery("gradient x 10", "gradient", 10, {"learning_rate": 0.03}, tuned=False),
    )
}
TRUE = "true latent"


def columns() -> Columns:
    return {
        "damage": "{damage}",
        "latent": "{latent}",
        "NMSE dB": lambda r: "" if r["latent"] == TRUE else f"{r['nmse_db']:.1f}",
        "seconds": "{seconds:.2f}",
        **{f"noise, {s} steps": lambda r, s=s: f"{r['noise_nmse_db'][str(s)]:.1f}" for s in STEPS},
        **{
            f"p, {s}": lambda r, s=s: f"{r['median_log10_p'][str(s)]:.0f} / {r['worst_log10_p'][str(s)]:.0f}"
            for s in STEPS
        },
    }


def run(
    model: LatentDiffusion,
    *,
    images: int,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `latent.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and invert with.
        images: Marked images, each with a key of its own.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.
    """
    settings = dict(seed=seed, sampling_steps=sampling.steps, guidance_scale=sampling.guidance_scale)
    settings["inversions"] = {name: asdict(recovery) for name, recovery in INVERSIONS.items()}
    settings["pattern"] = repr(Pattern.of())
    about = provenance(model, **settings, images=images, size=list(model.native_size))
    rows = Rows(out / "latent.jsonl", {**settings, "model": about["model"]}, ("image", "damage", "inversion", "steps"))
    inversions = {name: chosen for name, chosen in INVERSIONS.items() if model.codec.left_inverse or not chosen.tuned}
    measure(Corpus(model, sampling, out, batch_size=4), rows, inversions, images, seed)

    summary = [summarise(rows, images, damage, name) for damage in TRIED for name in (TRUE, *inversions)]
    summary = [r for r in summary if r]
    result = {**about, "results": summary}
    write_results(out / "latent", columns(), summary, result)
    plot(out / "latent.png", summary, images)
    print(tabulate(columns(), summary))
    return result


def measure(corpus: Corpus, rows: Rows, inversions: Mapping[str, Recovery], images: int, seed: int) -> None:
    """Generate and invert the images that have not been measured yet."""
    wanted = [(damage, name, steps) for damage in TRIED for name in inversions for steps in STEPS]
    missing = [i for i in range(images) if any((i, *job) not in rows for job in wanted)]
    if not missing:
        return
    model, prompts = corpus.model, draw_prompts(images, 910_000 + seed)
    secret = f"wmark bench latent {seed}".encode().ljust(32, b"\0")[:32]
    keys = [Key.derive(secret, f"key-{i}", Pattern.of()) for i in missing]
    origins = [Origin.draw(model, prompts[i], i, key) for i, key in zip(missing, keys, strict=True)]
    latents = corpus.latents(origins).split(1)
    for i, key, origin, latent in zip(tqdm(missing, unit="image", disable=None), keys, origins, latents, strict=True):
        (picture,) = pictures(model, latent)
        for damage in TRIED:
            image = to_tensor(damaged(damage, picture, seed=i))[None].to(model.device)
            found, seconds = invert(model, inversions, image)
            if damage == "none":
                found[TRUE], seconds[TRUE] = latent.to(model.device), 0.0
            for row in follow(model, key, origin.noise, latent, found):
                rows.add({"image": i, "damage": damage, **row, "seconds": round(seconds[row["inversion"]], 4)})


def invert(
    model: LatentDiffusion, inversions: Mapping[str, Recovery], image: Tensor
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """What every decoder inversion makes of an image, and its seconds."""
    found, seconds = {}, {}
    for name, recovery in inversions.items():
        begin = clock(model.device)
        found[name] = invert_decoder(model, recovery, image).latent
        seconds[name] = clock(model.device) - begin
    return found, seconds


def follow(
    model: LatentDiffusion, key: Key, noise: Tensor, latent: Tensor, found: Mapping[str, Tensor]
) -> Iterator[dict]:
    """What comes of the latents that were found, as a batch, in every number of diffusion inversion steps.

    Arguments:
        model: The model.
        key: The key that was planted.
        noise: The true initial noise, with shape (C, h, w).
        latent: The true latent, with shape (1, C, h, w).
        found: Latents by the name of the decoder inversion, with shape (1, C, h, w) each.
    """
    batch = torch.cat(list(found.values()))
    errors = nmse_db(batch.cpu(), latent.expand(len(batch), -1, -1, -1))
    pattern = key.pattern.fitted(latent.shape[-2:])
    direction = pattern.restrict(key.direction)
    for steps in STEPS:
        recovered = invert_diffusion(model, Recovery("", steps=steps), batch).noise.cpu()
        coordinates = read(whiten(recovered), pattern).numpy()
        for name, error, estimate, c in zip(found, errors, recovered, coordinates, strict=True):
            yield {
                "inversion": name,
                "steps": steps,
                "nmse_db": round(error.item(), 3) if name != TRUE else None,
                "noise_nmse_db": round(nmse_db(estimate[None], noise[None]).item(), 3),
                "log10_p": round(float(hypercone_log10_p(cosine(c, direction), pattern.dimension)), 3),
            }


def summarise(rows: Rows, images: int, damage: str, name: str) -> dict | None:
    found = {steps: rows.select(damage=damage, inversion=name, steps=steps, image=range(images)) for steps in STEPS}
    if not found[STEPS[0]]:
        return None
    errors = [row["nmse_db"] for row in found[STEPS[0]] if row["nmse_db"] is not None]
    return {
        "damage": damage,
        "latent": name,
        "images": len(found[STEPS[0]]),
        "nmse_db": float(np.mean(errors)) if errors else None,
        "seconds": float(np.median([row["seconds"] for row in found[STEPS[0]]])),
        "noise_nmse_db": {str(s): float(np.mean([row["noise_nmse_db"] for row in found[s]])) for s in STEPS},
        "median_log10_p": {str(s): float(np.median([row["log10_p"] for row in found[s]])) for s in STEPS},
        "worst_log10_p": {str(s): float(np.max([row["log10_p"] for row in found[s]])) for s in STEPS},
    }


def plot(path: Path, summary: list[dict], images: int) -> None:
    """Median log10 p against the number of inversion steps, one panel a damage, one line a decoder inversion."""
    from ..figures import figure, save

    canvas, axes = figure(1, len(TRIED), width=5 * len(TRIED), height=5)
    names = list(dict.fromkeys(r["latent"] for r in summary))
    for axis, damage in zip(axes.flat, TRIED, strict=True):
        for r in (r for r in summary if r["damage"] == damage):
            number = names.index(r["latent"])
            colour = "black" if r["latent"] == TRUE else f"C{(number - 1) % 10}"
            axis.plot(
                STEPS, [r["median_log10_p"][str(s)] for s in STEPS], "o-", color=colour, markersize=3, label=r["latent"]
            )
        axis.set_xscale("log")
        axis.set_xticks(STEPS, STEPS)
        axis.minorticks_off()
        axis.set_title(f"damage: {damage}", fontsize=10)
        axis.set_xlabel("DDIM inversion steps")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"log10 p, median of {images} images")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    save(canvas, path)
