"""`wmark bench inversion`: how well the noise of each sampler is recovered, by every method, and what that buys.

Latents are sampled from noise that carries a key, and inverted: with the prompt and at the guidance that they were
sampled with, or as a verifier has to, at guidance 1 with the empty prompt; from the true latent, or from the encoder's
of an 8-bit picture. Measured are the error of the noise, its cosine with the truth, the key's p-value where it was
planted, network calls, seconds of the processor, and memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..detectors.statistic import cosine, hypercone_log10_p
from ..inversion.nmse import nmse_db
from ..inversion.whitening import whiten
from ..models.clock import clock
from ..models.guidance import guided
from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import Predictor
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import read
from .corpus import Corpus, Origin, rounded_images
from .inversion_full_size import describe, full_size_call
from .inversion_methods import Cell, Method, cells, methods_of
from .inversion_plot import plot
from .memory import peak_memory
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["COLUMNS", "Extent", "run"]

KEY = ("model", "sampler", "steps", "guidance", "prompt", "source", "method")

COLUMNS: Columns = {
    **{name: f"{{{name}}}" for name in KEY},
    "images": "{images}",
    "NMSE dB": "{nmse_db:.1f}",
    "worst": "{worst_nmse_db:.1f}",
    "cosine": "{cosine:.4f}",
    "log10 p": "{median_log10_p:.0f}",
    "worst log10 p": "{worst_log10_p:.0f}",
    "calls": "{calls:.1f}",
    "seconds": "{seconds:.3f}",
    "memory MB": lambda r: "" if r["memory_mb"] is None else f"{r['memory_mb']:.0f}",
}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Arguments:
        images: Latents of each sampler at guidance 1, prompt known.
        few: Latents of everything else.
        lengths: Sampling steps.
        batch: Latents inverted together.
        full_size: Whether a call of Stable Diffusion 2.1's U-Net is timed, too, with random weights.
    """

    images: int = 8
    few: int = 2
    lengths: tuple[int, ...] = (10, 20, 50)
    batch: int = 8
    full_size: bool = False


def run(models: Sequence[LatentDiffusion], extent: Extent = Extent(), *, seed: int, out: Path) -> dict:
    """Measure, print the table and write `inversion.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        models: Models to sample from and invert.
        extent: How much is measured.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
    """
    named = {model.name: model.fingerprint for model in models}
    settings = dict(seed=seed, lengths=list(extent.lengths), models=named, pattern=repr(Pattern.of()))
    rows = Rows(out / "inversion.jsonl", settings, (*KEY, "image"))
    planned = [(model, cell) for model in models for cell in cells(model, extent.images, extent.few, extent.lengths)]
    for model, cell in tqdm(planned, unit="cell", disable=None):
        measure(model, cell, rows, extent, seed, out)
    summary = [
        summarise(rows, model, cell, method.name) for model, cell in planned for method in methods_of(model, cell)
    ]
    call = full_size_call(extent.full_size, models[0].dtype, models[0].device)
    about = provenance(models[0], **settings, images=extent.images, few=extent.few)
    result = {**about, "full_size_call": call, "results": summary}
    write_results(out / "inversion", COLUMNS, summary, result)
    plot(out / "inversion.png", summary)
    print(tabulate(COLUMNS, summary), describe(call, summary), sep="\n\n")
    return result


def measure(model: LatentDiffusion, cell: Cell, rows: Rows, extent: Extent, seed: int, out: Path) -> None:
    """Sample and invert the latents of a cell, unless that was done."""
    methods, about = methods_of(model, cell), {"model": model.name, **cell.about}

    def missing(method: Method, image: int) -> bool:
        return tuple({**about, "method": method.name, "image": image}[field] for field in rows.fields) not in rows

    wanted = [i for i in range(cell.images) if any(missing(method, i) for method in methods)]
    if not wanted:
        return
    key = Key.derive(f"wmark bench inversion {seed}".encode().ljust(32, b"\0")[:32], "key", Pattern.of())
    prompts = draw_prompts(cell.images, 930_000 + seed)
    corpus = Corpus(model, Sampling(cell.steps, cell.guidance, cell.sampler), out, extent.batch)
    for start in range(0, len(wanted), extent.batch):
        some = wanted[start : start + extent.batch]
        origins = [Origin.draw(model, prompts[i], 1000 * seed + i, key) for i in some]
        latents = corpus.latents(origins)
        if cell.source == "picture":
            with torch.no_grad():
                latents = model.encode(rounded_images(model, latents))
        predict, noise = predictor(model, cell, [prompts[i] for i in some]), torch.stack([o.noise for o in origins])
        for method in (m for m in methods if any(missing(m, i) for i in some)):
            first = start == 0 and cell.guidance == 1 and cell.known
            memory = memory_of(model, cell, method, latents[:1], prompts[some[0]]) if first else None
            found, calls, seconds = invert(method, predict, latents.to(model.device), noise.to(model.device))
            weight = 2 if cell.known and cell.guidance > 1 else 1
            spent = {"calls": weight * calls, "seconds": round(seconds / len(some), 5), "memory": memory}
            for i, row in zip(some, judge(found, noise, key), strict=True):
                rows.add({**about, "method": method.name, "image": i, **row, **spent})


def predictor(model: LatentDiffusion, cell: Cell, prompts: Sequence[str]) -> Predictor:
    """What whoever inverts the latents of a cell knows to ask the network."""
    if not cell.known:
        return guided(model.denoiser, model.unprompted, None, 1.0)
    with torch.no_grad():
        return guided(model.denoiser, model.condition(prompts), model.unprompted, cell.guidance)


def invert(method: Method, predict: Predictor, latents: Tensor, noise: Tensor) -> tuple[Tensor, int, float]:
    """Noise (B, C, h, w), calls of the predictor, and seconds: of the processor on a CPU, which may be shared."""
    calls = 0

    def counted(z: Tensor, t: float) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        return predict(z, t)

    device = latents.device
    tell = time.process_time if device.type == "cpu" else lambda: clock(device)
    begin = tell()
    with torch.no_grad():
        found = method.invert(counted, latents, noise)
    return found.cpu(), calls, tell() - begin


def memory_of(model: LatentDiffusion, cell: Cell, method: Method, latent: Tensor, prompt: str) -> float:
    """Peak memory of inverting one latent, beyond the weights, in MB."""
    predict, latent = predictor(model, cell, [prompt]), latent.to(model.device)
    with torch.no_grad():
        return round(peak_memory(lambda: method.invert(predict, latent, latent), model.device) / 1e6, 2)


def judge(found: Tensor, truth: Tensor, key: Key) -> list[dict]:
    """Error, cosine and the key's p-value of each noise that was found."""
    pattern = key.pattern.fitted(found.shape[-2:])
    coordinates = read(whiten(found), pattern).numpy()
    near = torch.nn.functional.cosine_similarity(found.flatten(1).double(), truth.flatten(1).double())
    p = hypercone_log10_p(cosine(coordinates, pattern.restrict(key.direction)), pattern.dimension)
    return [
        {"nmse_db": round(error, 3), "cosine": round(c, 6), "log10_p": round(float(value), 2)}
        for error, c, value in zip(nmse_db(found, truth).tolist(), near.tolist(), p, strict=True)
    ]


def summarise(rows: Rows, model: LatentDiffusion, cell: Cell, method: str) -> dict:
    """Means, medians and worst values over the images of a cell."""
    of = rows.select(model=model.name, **cell.about, method=method, image=range(cell.images))
    errors, p = np.array([row["nmse_db"] for row in of]), np.array([row["log10_p"] for row in of])
    return {
        "model": model.name,
        **cell.about,
        "method": method,
        "images": len(of),
        "nmse_db": float(errors.mean()),
        "worst_nmse_db": float(errors.max()),
        "cosine": float(np.mean([row["cosine"] for row in of])),
        "median_log10_p": float(np.median(p)),
        "worst_log10_p": float(p.max()),
        "calls": float(np.mean([row["calls"] for row in of])),
        "seconds": float(np.median([row["seconds"] for row in of])),
        "memory_mb": max((row["memory"] for row in of if row["memory"] is not None), default=None),
    }
