"""`wmark bench detection`: is a marked image found after ordinary damage, and an unmarked one left alone?

Marked images carry one of three keys in turn and are tested against all three. Every damage is read at every effort
with the defaults of `wmark verify`. The false-positive side tests unmarked images against fresh random keys: their
p-values must be uniform, for each image exactly; for one fixed key over many images only about so, because images
resemble each other.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..detectors.alignment import AlignmentSearch, padded_spectrum
from ..detectors.detector import Detector
from ..detectors.reading import Keys
from ..detectors.reading import read as read_keys
from ..detectors.statistic import cosine, hypercone_log10_p
from ..detectors.whitening import whiten
from ..figures import figure, save
from ..files import write_atomically
from ..images import encode_image, to_image, to_pixels, to_unit
from ..inversion.chain import invert_decoder, recover
from ..inversion.recovery import EXACT, FAST
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.noise import initial_noise
from ..watermark.patterns import Pattern
from ..watermark.spectrum import read
from .attacks import ATTACKS
from .attacks import attack as damage
from .report import Rows, provenance, table, write_csv, write_json

__all__ = ["run"]

RANDOM_KEYS = 200
REPEATS = 5


def run(
    model: LatentDiffusion,
    *,
    images: int,
    exact_images: int,
    fpr: float,
    seed: int,
    out: Path,
    sampling_steps: int = 50,
) -> dict:
    """Measure, print the tables and write `detection.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and verify with.
        images: Marked images, and as many unmarked ones.
        exact_images: How many of them are read at the effort `exact` too.
        fpr: False-positive rate of a verdict.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
        sampling_steps: DDIM steps of the generation.
    """
    stages = {stage.name: asdict(stage) for stage in (FAST, EXACT)}
    settings = dict(images=images, fpr=fpr, seed=seed, sampling_steps=sampling_steps, stages=stages)
    about = provenance(
        model,
        **settings,
        exact_images=exact_images,
        guidance_scale=7.5,
        size=list(model.native_size),
    )
    rows = Rows(out / "detection.jsonl", {**settings, "model": about["model"]}, ("marked", "index", "attack", "effort"))
    keys = [Key.derive(b"wmark bench detection".ljust(32, b"\0"), f"key-{i + 1}", Pattern.of()) for i in range(3)]
    pictures = out / f"detection-images-{model.fingerprint}-{seed}-{sampling_steps}"
    generate(model, keys, images, seed, sampling_steps, pictures)

    counts = {"fast": images, "auto": images, "exact": exact_images}
    detectors = {effort: Detector(model, keys, effort, fpr=fpr) for effort in counts}
    jobs = [
        (True, i, name, effort) for i in range(images) for name in ATTACKS for effort in counts if i < counts[effort]
    ]
    jobs += [(False, i, "none", effort) for i in range(images) for effort in counts if i < counts[effort]]
    for marked, i, name, effort in tqdm(jobs, unit="verdict", disable=None):
        if (marked, i, name, effort) not in rows:
            image = damage(name, _open(pictures, marked, i), seed=i)
            (verdict,) = detectors[effort].verify(image)
            rows.add(
                {
                    "marked": marked,
                    "index": i,
                    "attack": name,
                    "effort": effort,
                    "found": verdict.found,
                    "key": verdict.key_id,
                    "log10_p": verdict.log10_p,
                    "look": verdict.look,
                    "seconds": round(verdict.seconds, 4),
                }
            )

    summary = [
        _summarise(rows.select(marked=True, attack=name, effort=effort), name, effort)
        for name in ATTACKS
        for effort in counts
        if counts[effort]
    ]
    unmarked = {effort: [row for row in rows.select(marked=False, effort=effort)] for effort in counts}
    p_values = null_p_values(model, pictures, images)
    false_positives = {
        "ks_random_keys": _ks(p_values.ravel()),
        "ks_median_over_fixed_keys": float(np.median([_ks(column)["p"] for column in p_values.T])),
        "share_of_fixed_keys_below_0.05": float(np.mean([_ks(column)["p"] < 0.05 for column in p_values.T])),
        "share_below": {f"{a:g}": float((p_values <= a).mean()) for a in (0.1, 0.01, 0.001)},
        "found": {
            effort: f"{sum(row['found'] for row in found)} of {len(found)}" for effort, found in unmarked.items()
        },
        "smallest_log10_p": min((row["log10_p"] for found in unmarked.values() for row in found), default=0.0),
        "seconds": {
            effort: float(np.median([row["seconds"] for row in found])) for effort, found in unmarked.items() if found
        },
    }
    seconds = stage_seconds(model, keys, _open(pictures, True, 0))
    result = {**about, "results": summary, "unmarked": false_positives, "stage_seconds": seconds}

    header = ("damage", "effort", "images", "found", "right key", "median log10 p", "worst log10 p", "seconds")
    cells = [
        (
            r["attack"],
            r["effort"],
            r["images"],
            f"{r['tpr']:.1%}",
            f"{r['identified']:.1%}",
            f"{r['median_log10_p']:.1f}",
            f"{r['worst_log10_p']:.1f}",
            f"{r['seconds']:.2f}",
        )
        for r in summary
    ]
    write_csv(out / "detection.csv", header, cells)
    write_json(out / "detection.json", result)
    plot(out / "detection.png", rows, p_values, fpr)
    print(table(header, cells))
    print(
        f"\nunmarked: found {false_positives['found']}, smallest log10 p {false_positives['smallest_log10_p']:.2f}; "
        f"{RANDOM_KEYS} random keys on each: KS p {false_positives['ks_random_keys']['p']:.3f}, "
        f"share below 0.01: {false_positives['share_below']['0.01']:.4f}; seconds {false_positives['seconds']}"
    )
    print("seconds per image and stage: " + ", ".join(f"{name} {value:.3f}" for name, value in seconds.items()))
    return result


def generate(
    model: LatentDiffusion, keys: list[Key], images: int, seed: int, steps: int, folder: Path, batch: int = 6
) -> None:
    """Marked and unmarked images from the same prompts and seeds, as PNG files; those that exist are kept."""
    prompts = draw_prompts(images, seed)
    shape = model.latent_shape(*model.native_size)
    jobs = [(marked, i) for marked in (True, False) for i in range(images) if not _path(folder, marked, i).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(jobs), unit="image", disable=None) as bar:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            noise = []
            for marked, i in part:
                s = seed * 100_000 + i
                white = torch.randn(1, *shape, generator=torch.Generator().manual_seed(s))
                noise.append(initial_noise(keys[i % len(keys)], shape=shape, seed=s) if marked else white)
            latents = model.sample(torch.cat(noise), [prompts[i] for _, i in part], Sampling(steps))
            for (marked, i), latent in zip(part, latents, strict=True):
                with torch.no_grad():
                    image = to_image(model.decode(latent[None])[0])
                write_atomically(_path(folder, marked, i), encode_image(image, ".png"))
                bar.update(1)


def null_p_values(model: LatentDiffusion, pictures: Path, images: int) -> np.ndarray:
    """p-values of unmarked images under random keys, read where planted, with shape (images, RANDOM_KEYS)."""
    pattern = Pattern.of()
    keys = [Key.derive(b"wmark bench null".ljust(32, b"\0"), f"null-{i}", pattern) for i in range(RANDOM_KEYS)]
    directions = np.stack([key.direction for key in keys])
    rows = []
    for i in range(images):
        noise = whiten(recover(model, FAST, to_pixels(_open(pictures, False, i))[None]).noise)
        coordinates = read(noise, pattern)[0].numpy()
        rows.append(10 ** hypercone_log10_p(cosine(coordinates, directions), pattern.dimension))
    return np.array(rows)


def stage_seconds(model: LatentDiffusion, keys: list[Key], image: Image.Image) -> dict[str, float]:
    """Median seconds of each part of the chain on one image, one key; the parts are interleaved."""
    pixels = to_pixels(image)[None].to(model.device)
    x = to_unit(pixels)
    one = Keys(keys[0].pattern, tuple(keys[:1]))
    noise = whiten(recover(model, FAST, pixels).noise)
    search = AlignmentSearch(canvas := tuple(noise.shape[-2:]))
    with torch.no_grad():
        parts = {
            "encoder": lambda: model.encode(x),
            "decoder inversion (exact)": lambda: invert_decoder(model, EXACT, x),
            "fast recovery": lambda: recover(model, FAST, pixels),
            "exact recovery": lambda: recover(model, EXACT, pixels),
            "identity test": lambda: read_keys(noise, one, canvas),
            "alignment search, one key": lambda: search.best(
                [padded_spectrum(noise[0], one.pattern)], one.planted, one.pattern
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(REPEATS):
            for name, part in parts.items():
                begin = time.perf_counter()
                part()
                seconds[name].append(time.perf_counter() - begin)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def plot(path: Path, rows: Rows, p_values: np.ndarray, fpr: float) -> None:
    """Evidence by damage and effort, and the p-values of unmarked images against the uniform law."""
    canvas, ((left, right),) = figure(1, 2, width=12, height=4.8)
    efforts = [effort for effort in ("fast", "auto", "exact") if rows.select(effort=effort)]
    for offset, effort in enumerate(efforts):
        for position, name in enumerate(ATTACKS):
            values = [row["log10_p"] for row in rows.select(marked=True, attack=name, effort=effort)]
            x = np.full(len(values), position + 0.25 * (offset - 1))
            left.scatter(x, values, s=9, alpha=0.6, color=f"C{offset}", label=effort if position == 0 else None)
    left.axhline(math.log10(fpr), color="black", lw=0.8, ls="--")
    left.set_xticks(range(len(ATTACKS)), list(ATTACKS), rotation=35, ha="right")
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


def _summarise(found: list[dict], name: str, effort: str) -> dict:
    hits = [row for row in found if row["found"]]
    log10_p = [row["log10_p"] for row in found]
    return {
        "attack": name,
        "effort": effort,
        "images": len(found),
        "tpr": len(hits) / len(found),
        "identified": np.mean([row["key"] == f"key-{row['index'] % 3 + 1}" for row in hits]).item()
        if hits
        else math.nan,
        "median_log10_p": float(np.median(log10_p)),
        "worst_log10_p": max(log10_p),
        "seconds": float(np.median([row["seconds"] for row in found])),
    }


def _ks(p_values: np.ndarray) -> dict:
    from scipy.stats import kstest

    test = kstest(p_values, "uniform")
    return {"statistic": float(test.statistic), "p": float(test.pvalue)}


def _path(folder: Path, marked: bool, i: int) -> Path:
    return folder / f"{'marked' if marked else 'unmarked'}-{i:04d}.png"


def _open(folder: Path, marked: bool, i: int) -> Image.Image:
    return Image.open(_path(folder, marked, i)).convert("RGB")
