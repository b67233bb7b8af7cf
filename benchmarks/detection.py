"""`wmark bench detection`: is a marked image found after ordinary damage, and an unmarked one left alone?

Marked images carry one of three keys in turn and are tested against all three. Every damage is read at every effort
with the defaults of `wmark verify`. The false-positive side tests unmarked images against fresh random keys: their
p-values must be uniform, for each image exactly; for one fixed key over many images only about so, because images
resemble each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..attacks import NAMED, damaged
from ..detectors.detector import Detector
from ..detectors.geometry import Canvas
from ..detectors.reading import KeyGroup, read_as_planted, search
from ..detectors.statistic import cosine, hypercone_log10_p
from ..figures import figure, save
from ..images import to_pixels, to_unit
from ..inversion.chain import invert_decoder, recover
from ..inversion.recovery import EXACT, FAST
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import read
from .corpus import Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results
from .timing import median_seconds

__all__ = ["generate", "keys_in_turn", "run"]

RANDOM_KEYS = 200
REPEATS = 5

COLUMNS: Columns = {
    "damage": "{attack}",
    "effort": "{effort}",
    "images": "{images}",
    "found": "{tpr:.1%}",
    "right key": "{identified:.1%}",
    "median log10 p": "{median_log10_p:.1f}",
    "worst log10 p": "{worst_log10_p:.1f}",
    "seconds": "{seconds:.2f}",
}


def run(
    model: LatentDiffusion,
    *,
    images: int,
    exact_images: int,
    fpr: float,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the tables and write `detection.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and verify with.
        images: Marked images, and as many unmarked ones.
        exact_images: How many of them are read at the effort `exact` too.
        fpr: False-positive rate of a verdict.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.
    """
    recoveries = {recovery.name: asdict(recovery) for recovery in (FAST, EXACT)}
    settings = dict(images=images, fpr=fpr, seed=seed, sampling_steps=sampling.steps, stages=recoveries)
    settings["pattern"] = repr(Pattern.of())
    further = dict(exact_images=exact_images, guidance_scale=sampling.guidance_scale, size=list(model.native_size))
    about = provenance(model, **settings, **further)
    rows = Rows(out / "detection.jsonl", {**settings, "model": about["model"]}, ("marked", "index", "damage", "effort"))
    keys = keys_in_turn()
    marked, unmarked = generate(Corpus(model, sampling, out, batch_size=6), keys, images, seed)

    counts = {"fast": images, "auto": images, "exact": exact_images}
    detectors = {effort: Detector(model, keys, effort, fpr=fpr) for effort in counts}
    measure(model, rows, detectors, counts, marked, list(NAMED), marked=True)
    measure(model, rows, detectors, counts, unmarked, ["none"], marked=False)

    p_values = null_p_values(model, unmarked)
    summary = [summarise(rows, damage, effort) for damage in NAMED for effort in counts if counts[effort]]
    null = summarise_unmarked(rows, list(counts), p_values)
    seconds = stage_seconds(model, keys[0], pictures(model, marked[:1])[0])
    result = {**about, "results": summary, "unmarked": null, "stage_seconds": seconds}
    write_results(out / "detection", COLUMNS, summary, result)
    plot(out / "detection.png", rows, p_values, fpr)
    print(tabulate(COLUMNS, summary), describe(null, seconds), sep="\n\n")
    return result


def keys_in_turn() -> list[Key]:
    """The keys that marked images carry in turn."""
    return [Key.derive(b"wmark bench detection".ljust(32, b"\0"), f"key-{i + 1}", Pattern.of()) for i in range(3)]


def generate(corpus: Corpus, keys: Sequence[Key], images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents of marked images, the keys in turn, and of unmarked ones from the same prompts and seeds."""
    prompts = draw_prompts(images, seed)

    def origins(keys: Sequence[Key | None]) -> list[Origin]:
        draw = Origin.draw
        return [draw(corpus.model, p, seed * 100_000 + i, keys[i % len(keys)]) for i, p in enumerate(prompts)]

    marked, unmarked = corpus.latents(origins(keys) + origins([None])).split(images)
    return marked, unmarked


def measure(
    model: LatentDiffusion,
    rows: Rows,
    detectors: Mapping[str, Detector],
    counts: Mapping[str, int],
    latents: Tensor,
    damages: Sequence[str],
    *,
    marked: bool,
) -> None:
    """Verify the images of latents after every damage at every effort, unless that was done."""
    for i, latent in enumerate(tqdm(latents.split(1), unit="image", disable=None)):
        jobs = [(damage, effort) for damage in damages for effort in counts if i < counts[effort]]
        jobs = [job for job in jobs if (marked, i, *job) not in rows]
        (image,) = pictures(model, latent) if jobs else (None,)
        for damage, effort in jobs:
            (verdict,) = detectors[effort].verify(damaged(damage, image, seed=i))
            rows.add(
                {
                    "marked": marked,
                    "index": i,
                    "damage": damage,
                    "effort": effort,
                    "found": verdict.found,
                    "key": verdict.key_id,
                    "log10_p": verdict.log10_p,
                    "look": verdict.look,
                    "seconds": round(verdict.seconds, 4),
                }
            )


def null_p_values(model: LatentDiffusion, latents: Tensor) -> np.ndarray:
    """p-values of unmarked images under random keys, read where planted, with shape (images, RANDOM_KEYS)."""
    whole = Pattern.of()
    keys = [Key.derive(b"wmark bench null".ljust(32, b"\0"), f"null-{i}", whole) for i in range(RANDOM_KEYS)]
    pattern = whole.fitted(latents.shape[-2:])
    directions = pattern.restrict(np.stack([key.direction for key in keys]))
    rows = []
    for image in pictures(model, latents):
        noise = recover(model, FAST, to_pixels(image)[None]).reading
        coordinates = read(noise, pattern)[0].numpy()
        rows.append(10 ** hypercone_log10_p(cosine(coordinates, directions), pattern.dimension))
    return np.array(rows)


@torch.no_grad()
def stage_seconds(model: LatentDiffusion, key: Key, image: Image.Image) -> dict[str, float]:
    """Median seconds of each part of the chain on one image, one key."""
    pixels = to_pixels(image)[None].to(model.device)
    x = to_unit(pixels)
    group = KeyGroup([key])
    noise = recover(model, FAST, pixels).reading
    canvas = tuple(noise.shape[-2:])
    parts = {
        "encoder": lambda: model.encode(x),
        "decoder inversion (exact)": lambda: invert_decoder(model, EXACT, x),
        "fast recovery": lambda: recover(model, FAST, pixels),
        "exact recovery": lambda: recover(model, EXACT, pixels),
        "identity test": lambda: read_as_planted(noise, group, canvas),
        "alignment search, one key": lambda: search(noise, group, [Canvas(canvas)]),
    }
    return median_seconds(parts, model.device, REPEATS)


def summarise(rows: Rows, damage: str, effort: str) -> dict:
    """How many marked images are found, and under which key, after a damage at an effort."""
    verdicts = rows.select(marked=True, damage=damage, effort=effort)
    found = [row for row in verdicts if row["found"]]
    log10_p = [row["log10_p"] for row in verdicts]
    right = [row["key"] == f"key-{row['index'] % 3 + 1}" for row in found]
    return {
        "attack": damage,
        "effort": effort,
        "images": len(verdicts),
        "tpr": len(found) / len(verdicts),
        "identified": float(np.mean(right)) if found else math.nan,
        "median_log10_p": float(np.median(log10_p)),
        "worst_log10_p": max(log10_p),
        "seconds": float(np.median([row["seconds"] for row in verdicts])),
    }


def summarise_unmarked(rows: Rows, efforts: Sequence[str], p_values: np.ndarray) -> dict:
    """What is found in unmarked images, and whether their p-values (images, RANDOM_KEYS) are uniform."""
    verdicts = {effort: rows.select(marked=False, effort=effort) for effort in efforts}
    fixed = [uniformity(column)["p"] for column in p_values.T]
    return {
        "ks_random_keys": uniformity(p_values.ravel()),
        "ks_median_over_fixed_keys": float(np.median(fixed)),
        "share_of_fixed_keys_below_0.05": float(np.mean([p < 0.05 for p in fixed])),
        "share_below": {f"{a:g}": float((p_values <= a).mean()) for a in (0.1, 0.01, 0.001)},
        "found": {effort: f"{sum(v['found'] for v in of)} of {len(of)}" for effort, of in verdicts.items()},
        "smallest_log10_p": min((v["log10_p"] for of in verdicts.values() for v in of), default=0.0),
        "seconds": {effort: float(np.median([v["seconds"] for v in of])) for effort, of in verdicts.items() if of},
    }


def uniformity(p_values: np.ndarray) -> dict:
    """Kolmogorov and Smirnov's test of p-values against the uniform law."""
    from scipy.stats import kstest

    test = kstest(p_values, "uniform")
    return {"statistic": float(test.statistic), "p": float(test.pvalue)}


def describe(null: dict, seconds: Mapping[str, float]) -> str:
    """What is printed below the table."""
    return (
        f"unmarked: found {null['found']}, smallest log10 p {null['smallest_log10_p']:.2f}; "
        f"{RANDOM_KEYS} random keys on each: KS p {null['ks_random_keys']['p']:.3f}, "
        f"share below 0.01: {null['share_below']['0.01']:.4f}; seconds {null['seconds']}\n"
        "seconds per image and stage: " + ", ".join(f"{name} {value:.3f}" for name, value in seconds.items())
    )


def plot(path: Path, rows: Rows, p_values: np.ndarray, fpr: float) -> None:
    """Evidence by damage and effort, and the p-values of unmarked images against the uniform law."""
    canvas, ((left, right),) = figure(1, 2, width=12, height=4.8)
    efforts = [effort for effort in ("fast", "auto", "exact") if rows.select(effort=effort)]
    for offset, effort in enumerate(efforts):
        for position, name in enumerate(NAMED):
            values = [row["log10_p"] for row in rows.select(marked=True, damage=name, effort=effort)]
            x = np.full(len(values), position + 0.25 * (offset - 1))
            left.scatter(x, values, s=9, alpha=0.6, color=f"C{offset}", label=effort if position == 0 else None)
    left.axhline(math.log10(fpr), color="black", lw=0.8, ls="--")
    left.set_xticks(range(len(NAMED)), list(NAMED), rotation=35, ha="right")
    left.set_ylabel("log10 p of marked images")
    left.legend(frameon=False)
    quantiles = (np.arange(p_values.size) + 0.5) / p_values.size
    right.plot(quantiles, np.sort(p_values.ravel()), lw=1.5)
    right.plot([1e-4, 1], [1e-4, 1], color="black", lw=0.8, ls="--")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="uniform quantile",
        ylabel="p of unmarked images, random keys",
        xlim=(1 / p_values.size, 1),
    )
    save(canvas, path)
