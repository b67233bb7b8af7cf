"""`wmark bench decoder-inversion`: how near to the true latent, at what cost.

Images are generated, so that their latents are known, decoded and rounded to 8 bits. Every method inverts every image,
one after the other on each image so that a drifting machine hits all alike, and the error of its best iterate so far is
written down after each call of the decoder, with the time. One run serves all numbers of iterations, but for learning
rates that are scheduled by their number, which run once for each.

The paper's methods are those of Hong et al. (NeurIPS 2024), kept from doing harm by the same loop as ours: without it
their means are worse.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..detectors.decoder_inversion import METHODS
from ..images import to_image, to_tensor
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.tuning import nmse_db
from .memory import peak_memory
from .report import Rows, provenance, table, write_csv, write_json

__all__ = ["CALLS", "VARIANTS", "Variant", "generated_latents", "rounded_images", "run"]

CALLS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100, 200)
SHOWN = 50
"""The paper's best is looked for within this many iterations."""


@dataclass(frozen=True)
class Variant:
    """A method with its settings.

    Attributes:
        name: What tables call it.
        family: `paper`, `gradient` or `ours`.
        method: A name in :data:`METHODS`.
        options: Its options.
        iterations: Largest number of iterations.
        tuned: Whether the tuned left inverse stands where the encoder stands, but for the start of iterations.
        dtype: Precision of the model.
    """

    name: str
    family: str
    method: str
    options: dict = field(default_factory=dict)
    iterations: int = 50
    tuned: bool = False
    dtype: str = "fp32"


KM = {"rho": 0.5, "alpha": 0.9}
VARIANTS = (
    Variant("forward, 0.5", "paper", "forward", {"rho": 0.5}, 20),
    Variant("KM", "paper", "km", KM),
    Variant("Adam, 0.1 in 20", "paper", "adam", {"learning_rate": 0.1}, 20),
    Variant("gradient, 0.03 in 20", "gradient", "gradient", {"learning_rate": 0.03}, 20),
    Variant("Anderson", "ours", "anderson", {}, 20),
    Variant("tuned", "ours", "encoder", {}, 0, tuned=True),
    Variant("tuned, Anderson", "ours", "anderson", {}, 20, tuned=True),
    Variant("KM, bf16", "paper", "km", KM, 20, dtype="bf16"),
    Variant("Anderson, bf16", "ours", "anderson", {}, 20, dtype="bf16"),
    Variant("tuned, Anderson, bf16", "ours", "anderson", {}, 20, tuned=True, dtype="bf16"),
)
DEEP = (
    Variant("forward, 1", "paper", "forward", {"rho": 1.0}, 50),
    Variant("forward, 0.5", "paper", "forward", {"rho": 0.5}, 200),
    Variant("KM", "paper", "km", KM, 200),
    Variant("Adam, 0.1 in 20", "paper", "adam", {"learning_rate": 0.1}, 20),
    Variant("Adam, 0.1 in 30", "paper", "adam", {"learning_rate": 0.1}, 30),
    Variant("Adam, 0.1 in 50", "paper", "adam", {"learning_rate": 0.1}, 50),
    Variant("Adam, 0.1 in 100", "paper", "adam", {"learning_rate": 0.1}, 100),
    Variant("Adam, 0.03 in 50", "paper", "adam", {"learning_rate": 0.03}, 50),
    Variant("Adam, 0.01 fixed", "paper", "adam", {"learning_rate": 0.01, "schedule": False}, 100),
    Variant("gradient, 0.1 in 20", "gradient", "gradient", {"learning_rate": 0.1}, 20),
    Variant("gradient, 0.03 in 50", "gradient", "gradient", {"learning_rate": 0.03}, 50),
    Variant("gradient, 0.03 in 20, bf16", "gradient", "gradient", {"learning_rate": 0.03}, 20, dtype="bf16"),
    Variant("Adam, 0.1 in 20, bf16", "paper", "adam", {"learning_rate": 0.1}, 20, dtype="bf16"),
    Variant("Anderson in T", "ours", "anderson", {"in_image": False}, 50),
    Variant("Anderson", "ours", "anderson", {}, 50),
    Variant("tuned, Anderson", "ours", "anderson", {}, 50, tuned=True),
)
"""More rates and more iterations, on a few images: the ablation in the paper's form."""


def run(
    models: dict[str, LatentDiffusion],
    *,
    images: int,
    deep_images: int,
    seed: int,
    out: Path,
    variants: Sequence[Variant] = VARIANTS,
    deep: Sequence[Variant] = DEEP,
    sampling_steps: int = 50,
    guidance_scale: float = 7.5,
) -> dict:
    """Measure, print the tables and write `decoder-inversion.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        models: The model in single precision, `fp32`, which makes the images, and in those of the variants.
        images: Images to invert.
        deep_images: Images of them that are also inverted with up to 200 iterations.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        variants, deep: What is compared.
        sampling_steps: DDIM steps of the generation.
        guidance_scale: Guidance of the generation.
    """
    model = models["fp32"]
    variants, deep = (
        [v for v in some if v.dtype in models and (model.tuned or not v.tuned)] for some in (variants, deep)
    )
    settings = dict(seed=seed, sampling_steps=sampling_steps, guidance_scale=guidance_scale)
    about = provenance(model, **settings, images=images, deep_images=deep_images, size=list(model.native_size))
    rows = Rows(out / "decoder-inversion.jsonl", {**settings, "model": about["model"]}, ("set", "image", "variant"))
    latents = generated_latents(model, images, seed, sampling_steps, guidance_scale, out)

    jobs = [("all", i, v) for i in range(images) for v in variants] + [
        ("deep", i, v) for i in range(deep_images) for v in deep
    ]
    for kind, i, variant in tqdm(jobs, unit="inversion", disable=None):
        if (kind, i, variant.name) not in rows:
            trace = invert(
                models[variant.dtype], variant, rounded_images(model, latents[i : i + 1]), latents[i : i + 1]
            )
            rows.add({"set": kind, "image": i, "variant": variant.name, **trace})

    memory = {variant.name: measure_memory(models[variant.dtype], variant) for variant in variants}
    summary = [
        summarise(rows.select(set="all", variant=v.name), v, k, memory[v.name]) for v in variants for k in stops(v)
    ]
    ablation = [summarise(rows.select(set="deep", variant=v.name), v, k, None) for v in deep for k in stops(v)]
    result = {**about, "results": summary, "ablation": ablation, "targets": compare(rows, variants)}
    header = ("method", "iterations", "NMSE dB", "worst", "seconds", "memory MB", "worse by residual", "worse by NMSE")
    cells = [
        (
            r["variant"],
            r["iterations"],
            f"{r['nmse_db']:.2f} ± {r['confidence_95']:.2f}",
            f"{r['worst_nmse_db']:.1f}",
            f"{r['seconds']:.2f}",
            "" if r["peak_memory_mb"] is None else f"{r['peak_memory_mb']:.0f}",
            r["worse_by_residual"],
            f"{r['worse_by_nmse']:.1%}",
        )
        for r in summary + ablation
    ]
    write_csv(out / "decoder-inversion.csv", header, cells)
    write_json(out / "decoder-inversion.json", result)
    plot(out / "decoder-inversion.png", summary, images)
    print(table(header, [row for row, r in zip(cells, summary + ablation, strict=True) if r["iterations"] in CALLS]))
    print("\n".join(f"{name}: {value}" for name, value in result["targets"].items()))
    return result


def generated_latents(
    model: LatentDiffusion, count: int, seed: int, steps: int, guidance_scale: float, folder: Path, batch: int = 8
) -> Tensor:
    """Clean latents (count, C, h, w) of prompts that no tuning has seen; kept in the folder."""
    path = folder / f"latents-{model.fingerprint}-{seed}-{steps}-{guidance_scale:g}.pt"
    latents = torch.load(path) if path.exists() else torch.empty(0, *model.latent_shape(*model.native_size))
    prompts = draw_prompts(count, 900_000 + seed)
    for start in range(len(latents), count, batch):
        some = prompts[start : start + batch]
        noise = [
            torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(900_000 + 1000 * seed + start + i))
            for i in range(len(some))
        ]
        made = model.sample(torch.stack(noise), some, steps=steps, guidance_scale=guidance_scale).cpu()
        latents = torch.cat([latents, made])
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(latents, path)
    return latents[:count]


@torch.no_grad()
def rounded_images(model: LatentDiffusion, latents: Tensor) -> Tensor:
    """What a PNG of each holds, with shape (B, 3, H, W) in [-1, 1]."""
    return torch.stack([to_tensor(to_image(image)) for image in model.decode(latents)])


def invert(model: LatentDiffusion, variant: Variant, image: Tensor, latent: Tensor) -> dict[str, list[float]]:
    """NMSE in dB and residual of the best iterate, and seconds, by number of iterations."""
    nmse, residuals, seconds = [], [], []

    def note(found) -> None:
        seconds.append(time.perf_counter() - begin)
        nmse.append(nmse_db(found.latent.cpu(), latent).item())
        residuals.append(found.residual.item())

    image = image.to(model.device)
    synchronize(model)
    begin = time.perf_counter()
    solve(model, variant, image, iterations=variant.iterations, callback=note)
    return {
        "nmse_db": [round(value, 4) for value in nmse],
        "residual": [round(value, 7) for value in residuals],
        "seconds": [round(value, 4) for value in seconds],
    }


@torch.no_grad()
def solve(model: LatentDiffusion, variant: Variant, image: Tensor, *, iterations: int, callback=None) -> None:
    options = {"iterations": iterations, "tolerance": 0.0, "callback": callback, **variant.options}
    if variant.method == "encoder":
        del options["iterations"], options["tolerance"]
    elif variant.tuned:
        options["start"] = model.encode(image)
    METHODS[variant.method](model.left_inverse if variant.tuned else model.encode, model.decode, image, **options)


def synchronize(model: LatentDiffusion) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def measure_memory(model: LatentDiffusion, variant: Variant) -> int:
    """Peak bytes beyond the weights, on one image; two iterations reach the peak."""
    image = torch.zeros(1, 3, *model.native_size, device=model.device)
    return peak_memory(lambda: solve(model, variant, image, iterations=2), model.device)


def stops(variant: Variant) -> list[int]:
    """Numbers of iterations at which a variant is reported: one with a schedule only at its end."""
    if variant.options.get("schedule", True) and variant.method in ("adam", "gradient"):
        return [variant.iterations]
    return [0, *(k for k in CALLS if k <= variant.iterations)]


def at(row: dict, name: str, k: int) -> float:
    """A value after k iterations; that of the last one where the run ended earlier."""
    return row[name][min(k, len(row[name]) - 1)]


def summarise(rows: Sequence[dict], variant: Variant, k: int, memory: int | None) -> dict:
    nmse = np.array([at(row, "nmse_db", k) for row in rows])
    start = np.array([row["nmse_db"][0] for row in rows])
    return {
        "variant": variant.name,
        "family": variant.family,
        "iterations": k,
        "images": len(rows),
        "nmse_db": float(nmse.mean()),
        "confidence_95": float(1.96 * nmse.std(ddof=1) / math.sqrt(len(nmse))) if len(nmse) > 1 else math.nan,
        "worst_nmse_db": float(nmse.max()),
        "seconds": float(np.mean([at(row, "seconds", k) for row in rows])),
        "peak_memory_mb": None if memory is None else memory / 1e6,
        "worse_by_residual": int(sum(at(row, "residual", k) > row["residual"][0] for row in rows)),
        "worse_by_nmse": float((nmse > start).mean()),
    }


def compare(rows: Rows, variants: Sequence[Variant]) -> dict:
    """Ours against the best of the paper's, and against the gradient, on means over the images."""

    def means(variant: Variant, name: str) -> np.ndarray:
        found = rows.select(set="all", variant=variant.name)
        return np.array([np.mean([at(row, name, k) for row in found]) for k in range(variant.iterations + 1)])

    def reported(variant: Variant) -> range:
        last = variant.iterations
        return range(last, last + 1) if stops(variant) == [last] else range(last + 1)

    def best(family: str) -> tuple[float, int, Variant]:
        members = [v for v in variants if v.family == family and v.dtype == "fp32"]
        candidates = [(means(v, "nmse_db")[k], k, v) for v in members for k in reported(v) if k <= SHOWN]
        return min(candidates, key=lambda candidate: candidate[0])

    paper, calls, which = best("paper")
    result = {"paper_best": f"{paper:.2f} dB by {which.name} after {calls} iterations"}
    gradient, k_gradient, slow = best("gradient")
    spent = means(slow, "seconds")[k_gradient]
    result["gradient_best"] = f"{gradient:.2f} dB by {slow.name} after {k_gradient} iterations, {spent:.2f} s"
    for variant in (v for v in variants if v.family == "ours"):
        nmse, seconds = means(variant, "nmse_db"), means(variant, "seconds")
        reaches = first(nmse <= paper)
        equal = first(nmse <= gradient)
        faster = None if equal is None else round(float(spent / seconds[equal]), 1)
        within = seconds <= spent
        result[variant.name] = {
            "nmse_db_at_20": round(float(nmse[min(20, len(nmse) - 1)]), 2),
            "iterations_to_paper_best": reaches,
            "calls_ratio": None if reaches is None else round(calls / max(reaches, 1), 2),
            "db_below_paper_best": round(float(paper - nmse[min(20, len(nmse) - 1)]), 2),
            "times_faster_than_gradient_at_equal_nmse": faster,
            "db_below_gradient_at_equal_time": round(float(gradient - nmse[within].min()), 2) if within.any() else None,
        }
    return result


def first(condition: np.ndarray) -> int | None:
    return int(condition.argmax()) if condition.any() else None


def plot(path: Path, summary: Sequence[dict], images: int) -> None:
    """Error against calls, seconds and memory, all methods in one figure each."""
    from matplotlib.ticker import LogLocator

    from ..figures import figure, save

    canvas, axes = figure(1, 3, width=15, height=5)
    names = list(dict.fromkeys(r["variant"] for r in summary))
    markers = {"paper": "o", "gradient": "s", "ours": "D"}
    panels = (
        ("iterations", "calls of D and E"),
        ("seconds", "seconds an image"),
        ("peak_memory_mb", "peak memory beyond the weights, MB"),
    )
    for axis, (quantity, label) in zip(axes.flat, panels, strict=True):
        for number, name in enumerate(names):
            points = [r for r in summary if r["variant"] == name]
            if quantity == "peak_memory_mb":
                points = [min(points, key=lambda r: r["nmse_db"])]
            axis.errorbar(
                [r[quantity] + (quantity == "iterations") for r in points],
                [r["nmse_db"] for r in points],
                yerr=[r["confidence_95"] for r in points],
                marker=markers[points[0]["family"]],
                linestyle="--" if "bf16" in name else "-",
                color=f"C{number % 10}",
                markersize=4,
                linewidth=1,
                elinewidth=0.5,
                label=name,
            )
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"NMSE, dB: mean of {images} images, 95% interval")
    axes[0, 2].legend(fontsize=6.5)
    save(canvas, path)
