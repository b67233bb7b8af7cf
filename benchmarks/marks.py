"""`wmark bench marks`: what each mark is worth as evidence, and what it costs the pictures.

Marks differ by where they live (discs of several radii, the whole half plane), by their strength, and by whether their
energy is spread evenly or by what each frequency returns. All are planted in the same white noises under the same
prompts, one direction a mark, and measured by

    evidence     log10 p where planted, clean and damaged, one test, read evenly and weighted
    distance     PSNR and SSIM against the unmarked twins
    likeness     mean pairwise correlation of the pictures, and of their high-pass
    quality      Frechet distance from unmarked pictures of other noise, less that of the twins (the floor)
    trace        what the mean of the pictures less their twins shows, and how much of that the decoder makes of the key
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from ..attacks import find_damage
from ..detectors.reading import prepare
from ..detectors.statistic import cosine, hypercone_log10_p
from ..files import write_atomically
from ..images import encode_image, to_pixels
from ..inversion.chain import recover
from ..inversion.recovery import FAST, READER, Recovery
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import mask_coordinates, plant, synthesise
from .appearance import correlation, likeness, trace
from .corpus import UNSEEN, Corpus, Origin, pictures
from .features import FEATURES, features, frechet_distance, load_network
from .marks_plot import plot
from .output import Columns, Rows, provenance, tabulate, write_results
from .quality import psnr, ssim
from .returns import Returns, measure_returns

__all__ = ["ENERGIES", "Mark", "run"]

ENERGIES = ("even", "return")
"""Energy spread evenly over a pattern's coordinates, or by the share that each channel and ring returns."""

READ = ("none", "jpeg:25", "jpeg:10", "blur:4", "noise:0.1", "brightness:2")
"""Damages that marks are read after."""

BATCH = 4


@dataclass(frozen=True)
class Mark:
    """A pattern, its strength among its values, and how its energy is spread."""

    pattern: Pattern
    energy: str = "even"

    @property
    def name(self) -> str:
        p = self.pattern
        return f"{p.kind}-{p.radius}-{p.strength:g}-{self.energy}"


UNMARKED = "unmarked"


def columns() -> Columns:
    def evidence(damage: str, reading: str) -> object:
        return lambda r: f"{np.median(r['log10_p'][damage][reading]):.0f}" if r["log10_p"] else ""

    def number(name: str, style: str) -> object:
        return lambda r: format(r[name], style) if r[name] is not None else ""

    return {
        "mark": "{mark}",
        "d": number("dimension", "d"),
        "clean, unweighted": evidence("none", "even"),
        **{"clean" if damage == "none" else damage: evidence(damage, "weighted") for damage in READ},
        "worst clean": lambda r: f"{max(r['log10_p']['none']['weighted']):.0f}" if r["log10_p"] else "",
        "PSNR": number("psnr", ".1f"),
        "SSIM": number("ssim", ".3f"),
        "likeness": "{likeness:.4f}",
        "high-pass": "{likeness_high_pass:.4f}",
        "Frechet": "{frechet:.3f}",
        "over floor": number("frechet_excess", ".3f"),
        "trace / chance": number("trace_over_chance", ".2f"),
        "trace, key": number("trace_key", ".3f"),
        "another key": number("trace_other", ".3f"),
    }


def run(
    model: LatentDiffusion,
    *,
    marks: Sequence[Mark],
    images: int,
    damaged_images: int,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `marks.{csv,json,png}` and each trace; returns what the JSON holds.

    Arguments:
        model: The model to generate and read with.
        marks: The marks, of patterns whose every coordinate is free.
        images: Pictures of each mark, as many unmarked twins of them, and as many unmarked ones of other noise.
        damaged_images: How many of them are read damaged too.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.
    """
    network = load_network()
    settings = dict(images=images, damaged_images=damaged_images, seed=seed, sampling=asdict(sampling))
    settings |= dict(recovery=asdict(first_recovery(model)), damages=list(READ), features=FEATURES)
    about = provenance(model, **settings, size=list(model.native_size))
    rows = Rows(out / "marks.jsonl", {**settings, "model": about["model"]}, ("mark",))
    if (UNMARKED,) not in rows or any((mark.name,) not in rows for mark in marks):
        bench = prepare_bench(Corpus(model, sampling, out), network, images, seed)
        if (UNMARKED,) not in rows:
            rows.add(measure_unmarked(bench))
        for mark in tqdm(marks, unit="mark", disable=None):
            if (mark.name,) not in rows:
                rows.add(measure(bench, mark, damaged_images, out))
    results = [summarise(row, rows) for row in rows.select(mark=[UNMARKED, *(mark.name for mark in marks)])]
    result = {**about, "results": results}
    write_results(out / "marks", columns(), results, result)
    plot(out / "marks.png", results)
    print(tabulate(columns(), results))
    return result


def first_recovery(model: LatentDiffusion) -> Recovery:
    """How marks are read: by the model's reader where it has one, as `verify` does at first."""
    return READER if model.reader else FAST


@dataclass(frozen=True, eq=False)
class Bench:
    """What all marks are measured against.

    Attributes:
        corpus: Where pictures come from.
        network: What sees features in them.
        origins: Prompts and white noise, unmarked.
        twins: Their pictures.
        reference: Features of unmarked pictures of the same prompts and other noise.
        returns: What each channel and ring returns, measured on these.
    """

    corpus: Corpus
    network: nn.Module
    origins: list[Origin]
    twins: list[Image.Image]
    reference: Tensor
    returns: Returns


def prepare_bench(corpus: Corpus, network: nn.Module, images: int, seed: int) -> Bench:
    """Generate unmarked pictures, twice as many as images."""
    model, prompts = corpus.model, draw_prompts(images, seed)

    def drawn(first: int) -> list[Origin]:
        return [Origin.draw(model, prompt, first + i) for i, prompt in enumerate(prompts)]

    origins, others = drawn(seed * 100_000), drawn((UNSEEN + seed) * 100_000)
    latents = corpus.latents(origins + others)
    twins, apart = pictures(model, latents[:images]), pictures(model, latents[images:])
    noise = torch.stack([origin.noise for origin in others])
    recovered = torch.cat(list(recovered_noise(model, apart)))
    return Bench(corpus, network, origins, twins, features(network, apart), measure_returns(recovered, noise))


def recovered_noise(model: LatentDiffusion, images: Sequence[Image.Image]) -> Iterator[Tensor]:
    """The noise of pictures of one size, whitened, batch by batch, on the CPU."""
    for start in range(0, len(images), BATCH):
        pixels = torch.stack([to_pixels(image) for image in images[start : start + BATCH]])
        yield prepare(recover(model, first_recovery(model), pixels), Pattern.of()).cpu()


def measure_unmarked(bench: Bench) -> dict:
    """The row of the twins: how alike they are, and how far from the reference, which is the floor of the distance."""
    distance = frechet_distance(features(bench.network, bench.twins), bench.reference)
    return {"mark": UNMARKED, "log10_p": {}, **likeness(bench.twins), "frechet": distance}


def measure(bench: Bench, mark: Mark, damaged_images: int, out: Path) -> dict:
    """The row of a mark; its trace is written to `marks/NAME.png`."""
    model, pattern = bench.corpus.model, mark.pattern.fitted(bench.origins[0].noise.shape[-2:])
    key, other = (Key.derive(b"wmark bench marks".ljust(32, b"\0"), name, mark.pattern) for name in ("mark", "other"))
    profile = None if mark.energy == "even" else bench.returns.profile(pattern)
    origins = [replace(o, noise=plant(o.noise[None], key, profile)[0]) for o in bench.origins]
    marked = pictures(model, bench.corpus.latents(origins))
    left = trace(marked, bench.twins)
    write_atomically(out / "marks" / f"{mark.name}.png", encode_image(left.picture(), ".png"))
    weights = bench.returns.weights(pattern) * (1 if profile is None else profile)
    direction = pattern.restrict(key.direction)
    damaged = {damage: marked if damage == "none" else marked[:damaged_images] for damage in READ}
    return {
        "mark": mark.name,
        "pattern": mark.pattern.to_json(),
        "energy": mark.energy,
        "dimension": pattern.dimension,
        "log10_p": {
            damage: evidence(model, damaged_by(damage, some), pattern, direction, weights)
            for damage, some in damaged.items()
        },
        "psnr": float(np.mean([psnr(*pair) for pair in zip(marked, bench.twins, strict=True)])),
        "ssim": float(np.mean([ssim(*pair) for pair in zip(marked, bench.twins, strict=True)])),
        **likeness(marked),
        "frechet": frechet_distance(features(bench.network, marked), bench.reference),
        "trace_rms": left.rms,
        "trace_chance": left.chance,
        "trace_key": correlation(left.mean, decoded(model, key, profile, left.mean.shape[:2])),
        "trace_other": correlation(left.mean, decoded(model, other, profile, left.mean.shape[:2])),
    }


def damaged_by(damage: str, images: Sequence[Image.Image]) -> list[Image.Image]:
    return [find_damage(damage)(image, seed=i) for i, image in enumerate(images)]


def evidence(
    model: LatentDiffusion, images: Sequence[Image.Image], pattern: Pattern, direction: np.ndarray, weights: Tensor
) -> dict[str, list[float]]:
    """log10 p of a direction in each picture where it was planted, one test, by reading."""
    found: dict[str, list[float]] = {"even": [], "weighted": []}
    for noise in recovered_noise(model, images):
        coordinates = mask_coordinates(noise, pattern)
        for reading, values in (("even", coordinates), ("weighted", coordinates * weights)):
            cosines = cosine(pattern.project(values).numpy(), direction)
            found[reading] += hypercone_log10_p(cosines, pattern.dimension).round(3).tolist()
    return found


@torch.no_grad()
def decoded(model: LatentDiffusion, key: Key, profile: Tensor | None, size: Sequence[int]) -> np.ndarray:
    """What the decoder makes of a key's pattern alone, as strong as it is planted, with shape (H, W, 3)."""
    channels, *canvas = model.latent_shape(*size)
    pattern = key.pattern.fitted(canvas)
    strength = pattern.strength if profile is None else profile
    coordinates = pattern.lift(pattern.restrict(key.direction)) * strength * pattern.size**0.5
    latent = torch.zeros(1, channels, *canvas, dtype=model.dtype, device=model.device)
    latent[:, list(pattern.channels)] = synthesise(coordinates[None], pattern, canvas).to(latent)
    shown = model.decode(latent) - model.decode(torch.zeros_like(latent))
    return shown[0].permute(1, 2, 0).float().cpu().numpy()


def summarise(row: dict, rows: Rows) -> dict:
    """A row with what it is worth beside the unmarked one."""
    (floor,) = rows.select(mark=UNMARKED)
    marked = row is not floor
    values = {name: row.get(name) for name in ("dimension", "psnr", "ssim", "trace_key", "trace_other")}
    return {
        **row,
        **values,
        "frechet_excess": row["frechet"] - floor["frechet"] if marked else None,
        "trace_over_chance": row["trace_rms"] / row["trace_chance"] if marked else None,
    }
