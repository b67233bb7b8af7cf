"""`wmark bench decoder-inversion` and `wmark bench ablation`: how near to the true latent, at what cost.

Images are generated, so that their latents are known, decoded and rounded to 8 bits. Every method inverts every image,
one after the other on each image so that a drifting machine hits all alike, and the error of its best iterate so far is
written down after each call of the decoder, with the time. One run serves all numbers of iterations, but for learning
rates that are scheduled by their number, which run once for each.

The paper's methods are those of Hong et al. (NeurIPS 2024), kept from doing harm by the same loop as ours: without it
their means are worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..inversion.chain import invert_decoder
from ..inversion.decoder import DecoderInversion
from ..inversion.decoder.iteration import Callback
from ..inversion.nmse import nmse_db
from ..inversion.recovery import Recovery
from ..models.clock import clock
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from .corpus import Corpus, rounded_images, unseen_latents
from .inversion_summary import compare, plot, stops, summarise
from .inversion_variants import CALLS, VARIANTS, Variant
from .memory import peak_memory
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["run"]

COLUMNS: Columns = {
    "method": "{variant}",
    "iterations": "{iterations}",
    "NMSE dB": "{nmse_db:.2f} ± {confidence_95:.2f}",
    "worst": "{worst_nmse_db:.1f}",
    "seconds": "{seconds:.2f}",
    "memory MB": "{peak_memory_mb:.0f}",
    "worse by residual": "{worse_by_residual}",
    "worse by NMSE": "{worse_by_nmse:.1%}",
}


def run(
    models: dict[str, LatentDiffusion],
    *,
    images: int,
    seed: int,
    out: Path,
    name: str = "decoder-inversion",
    variants: Sequence[Variant] = VARIANTS,
    among: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `name.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        models: The model in single precision, `fp32`, which makes the images, and in those of the variants.
        images: Images to invert.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        name: What they are called.
        variants: What is compared.
        among: Images to generate and choose those from, evenly from the one that the encoder inverts best to the one it
            inverts worst; None generates no others.
        sampling: How images are generated.
    """
    model, variants = models["fp32"], usable(variants, models)
    settings = dict(seed=seed, sampling_steps=sampling.steps, guidance_scale=sampling.guidance_scale)
    about = provenance(model, **settings, images=images, among=among, size=list(model.native_size))
    rows = Rows(out / f"{name}.jsonl", {**settings, "model": about["model"]}, ("image", "variant"))
    latents = unseen_latents(Corpus(model, sampling, out), among or images, seed)
    chosen = spread(encoder_errors(model, latents), images) if among else range(images)
    traces = measure(models, variants, latents, chosen, rows)
    return report(name, models, traces, variants, about, out)


def usable(variants: Sequence[Variant], models: dict[str, LatentDiffusion]) -> list[Variant]:
    """Those whose precision is loaded and, where they need the tuned left inverse, whose model has one."""
    return [v for v in variants if v.dtype in models and (models[v.dtype].codec.left_inverse or not v.tuned)]


def measure(
    models: dict[str, LatentDiffusion], variants: Sequence[Variant], latents: Tensor, chosen: Sequence[int], rows: Rows
) -> dict[str, list[dict]]:
    """The rows of each variant, by its name: of the chosen latents, measured unless they are there."""
    for i, variant in tqdm([(i, v) for i in chosen for v in variants], unit="inversion", disable=None):
        if (i, variant.name) not in rows:
            latent = latents[i : i + 1]
            trace = invert(models[variant.dtype], variant, rounded_images(models["fp32"], latent), latent)
            rows.add({"image": i, "variant": variant.name, **trace})
    return {v.name: rows.select(variant=v.name, image=chosen) for v in variants}


def report(
    name: str,
    models: dict[str, LatentDiffusion],
    traces: Mapping[str, Sequence[dict]],
    variants: Sequence[Variant],
    about: dict,
    out: Path,
) -> dict:
    """Print what was measured and write `name.{csv,json,png}`; returns what the JSON holds."""
    memory: dict[str, int] = {}
    for variant in variants:
        if variant.curve not in memory:
            memory[variant.curve] = measure_memory(models[variant.dtype], variant)
    summary = [summarise(traces[v.name], v, k, memory[v.curve]) for v in variants for k in stops(v)]
    result = {**about, "targets": compare(traces, variants), "results": summary}
    write_results(out / name, COLUMNS, summary, result)
    plot(out / f"{name}.png", summary, summary[0]["images"])
    print(tabulate(COLUMNS, [r for r in summary if r["iterations"] in CALLS]))
    print("\n".join(f"{method}: {value}" for method, value in result["targets"].items()))
    return result


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


def invert(model: LatentDiffusion, variant: Variant, image: Tensor, latent: Tensor) -> dict[str, list[float]]:
    """NMSE in dB and residual of the best iterate, and seconds, by number of iterations."""
    nmse, residuals, seconds = [], [], []

    def note(found: DecoderInversion) -> None:
        seconds.append(clock(model.device) - begin)
        nmse.append(nmse_db(found.latent.cpu(), latent).item())
        residuals.append(found.residual.item())

    image = image.to(model.device)
    begin = clock(model.device)
    solve(model, variant, image, iterations=variant.iterations, callback=note)
    return {
        "nmse_db": [round(value, 4) for value in nmse],
        "residual": [round(value, 7) for value in residuals],
        "seconds": [round(value, 4) for value in seconds],
    }


@torch.no_grad()
def solve(
    model: LatentDiffusion, variant: Variant, image: Tensor, *, iterations: int, callback: Callback | None = None
) -> None:
    """Run a variant on images (B, 3, H, W), as far as it goes."""
    options = {"callback": callback, **variant.options}
    if variant.method == "encoder":
        iterations = None
    else:
        options["tolerance"] = 0.0
    invert_decoder(model, Recovery("", variant.method, iterations, options, tuned=variant.tuned), image)


def measure_memory(model: LatentDiffusion, variant: Variant) -> int:
    """Peak bytes beyond the weights, on one image; two iterations reach the peak."""
    image = torch.zeros(1, 3, *model.native_size, device=model.device)
    return peak_memory(lambda: solve(model, variant, image, iterations=2), model.device)
