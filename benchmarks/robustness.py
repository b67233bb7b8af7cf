"""`wmark bench robustness`: is a marked image found after every kind of damage, and how strong may each be?

Each image carries a name of its own, as `wmark embed` plants it, one of 2^40 that were all given out. It suffers one
damage at a time and is verified with the defaults of `wmark verify`. Every kind at its middle strength, and what is
claimed elsewhere, is measured on all images; the other strengths, which draw the curves, and what regenerates an image
with a model, on fewer. Unmarked images suffer it all as well, each damage a few of them, taken in turn: what is found
there is counted over all damages together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..attacks import KINDS, Damage, find_damage, sweep
from ..detectors.detector import Detector
from ..errors import WmarkError
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.layout import Layout
from ..watermark.numbers import NUMBERS
from .claims import CHAINS, CLAIMED
from .corpus import Corpus, Origin, pictures
from .identities import STATEMENTS, issued, named_origins
from .null_statistics import proportion
from .output import Columns, Rows, provenance, tabulate, write_results
from .quality import psnr, ssim
from .robustness_plots import plot_evidence, plot_power, plot_reach

__all__ = ["COLUMNS", "Extent", "run"]

FPR = 1e-6
RATES = {"1e-3": -3, "1e-6": -6}
"""False-positive rates at which the share that is found is given, and their log10."""

UNMARKED_EACH = 2
"""Unmarked images that suffer each damage."""

COLUMNS: Columns = {
    "damage": "{damage}",
    "category": "{category}",
    "images": "{images}",
    "found at 1e-6": lambda r: share(r, "1e-6"),
    "found at 1e-3": lambda r: share(r, "1e-3"),
    "named": "{named:.1%}",
    "another's": "{wrong}",
    "median log10 p": "{median_log10_p:.1f}",
    "worst log10 p": "{worst_log10_p:.1f}",
    "presence": "{presence:.1f}",
    "identity": "{identity:.1f}",
    "PSNR dB": lambda r: "" if r["psnr"] is None else f"{r['psnr']:.1f}",
    "SSIM": lambda r: "" if r["ssim"] is None else f"{r['ssim']:.3f}",
    "seconds": "{seconds:.2f}",
    "parts": "{parts:.1f}",
    "looks": lambda r: ", ".join(f"{look} {count}" for look, count in r["looks"].items()),
}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Arguments:
        images: Marked images, and as many unmarked ones.
        curve_images: Marked images for the other strengths of each kind, and for regeneration.
        damages: Names of damages to measure in place of all, each on all images.
        effort: What `wmark verify` is allowed.
        pilot: Strength of the pilot beside the names; None takes what keyrings have.
    """

    images: int = 64
    curve_images: int = 16
    damages: tuple[str, ...] = ()
    effort: str = "auto"
    pilot: float | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """A damage, the model that it takes, and how many images suffer it.

    Attributes:
        damage: The damage.
        images: Marked images.
        model: The model that regenerates, or None.
        label: What tables call it.
    """

    damage: Damage
    images: int
    model: LatentDiffusion | None
    label: str

    @property
    def by(self) -> str | None:
        """Fingerprint of the model that regenerates, or None."""
        return self.model.fingerprint if self.model else None


def run(
    model: LatentDiffusion,
    extent: Extent = Extent(),
    *,
    another: LatentDiffusion | None = None,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008
) -> dict:
    """Measure, print the table, write `robustness.{csv,json,png}`, `robustness-{power,reach}.png`; returns the JSON.

    Arguments:
        model: The model to generate, regenerate and verify with.
        extent: How much is measured.
        another: Another model that regenerates images as well.
        seed: Seed of numbers, prompts, noise and damages.
        out: Folder of the results.
        sampling: How images are generated.

    Raises:
        WmarkError: If a damage is not known or cannot be done here, or the other model is the same.
    """
    if another and another.fingerprint == model.fingerprint:
        raise WmarkError(f"{another.name} is {model.name}, not another model: name one of other weights")
    trials = planned(extent, model, another)
    for trial in trials:
        if not trial.model:  # What cannot be done here is said before anything is generated.
            trial.damage(Image.new("RGB", (64, 64), "grey"), 0)
    names = issued(NUMBERS, Layout.of(pilot=extent.pilot))
    detector = Detector(model, (), extent.effort, fpr=FPR, names=names)
    settings = dict(fpr=FPR, seed=seed, sampling=asdict(sampling), layout=repr(names.layout))
    settings |= dict(basis=asdict(detector.basis), looks=[asdict(look) for look in detector.plan.looks])
    about = provenance(model, **settings, extent=asdict(extent), another=another and another.fingerprint)
    rows = Rows(out / "robustness.jsonl", settings, ("marked", "index", "damage", "by"))
    numbers, named = named_origins(names, model, extent.images, seed)
    prompts = enumerate(draw_prompts(extent.images, seed))
    plain = [Origin.draw(model, prompt, 100_000 * (seed + 1) + i) for i, prompt in prompts]
    marked, unmarked = Corpus(model, sampling, out, batch_size=6).latents(named + plain).split(extent.images)
    each = {i: [trial for trial in trials if i < trial.images] for i in range(extent.images)}
    measure(detector, rows, marked, each, numbers)
    measure(detector, rows, unmarked, in_turn(trials, extent.images), [None] * extent.images)

    summary = [summarise(rows, trial) for trial in trials]
    null = summarise_unmarked(rows, trials)
    result = {**about, "results": summary, "unmarked": null}
    write_results(out / "robustness", COLUMNS, summary, result)
    plot_evidence(out / "robustness.png", summary)
    plot_power(out / "robustness-power.png", summary)
    plot_reach(out / "robustness-reach.png", summary)
    print(tabulate(COLUMNS, summary), describe(null), sep="\n\n")
    return result


def planned(extent: Extent, model: LatentDiffusion, another: LatentDiffusion | None) -> list[Trial]:
    """What is measured: the damages that are named or all, regeneration by both models."""

    def by_each(damage: Damage, images: int) -> Iterator[Trial]:
        if not damage.needs_model:
            yield Trial(damage, images, None, damage.name)
            return
        yield Trial(damage, images, model, damage.name)
        if another:
            yield Trial(damage, images, another, f"{damage.name} by another")

    full, few = extent.images, min(extent.curve_images, extent.images)
    if extent.damages:
        chosen = {damage.name: damage for damage in map(find_damage, ("none", *extent.damages))}
        return [trial for damage in chosen.values() for trial in by_each(damage, full)]
    wanted = [Trial(Damage(), full, None, "none")]
    for kind in KINDS.values():
        for damage in sweep(kind):
            everywhere = damage.name in CLAIMED or damage.steps[0][1] == kind.middle
            wanted += by_each(damage, full if everywhere and not kind.needs_model else few)
    return [*wanted, *(Trial(find_damage(chain), full, None, chain) for chain in CHAINS)]


def in_turn(trials: Sequence[Trial], images: int) -> dict[int, list[Trial]]:
    """What each unmarked image suffers: nothing, and every damage a few of them."""
    suffered: dict[int, list[Trial]] = {i: [] for i in range(images)}
    for place, trial in enumerate(trials):
        each = images if not trial.damage.steps else min(UNMARKED_EACH, images)
        for i in range(each):
            suffered[(UNMARKED_EACH * place + i) % images].append(trial)
    return suffered


def measure(
    detector: Detector,
    rows: Rows,
    latents: Tensor,
    suffered: dict[int, list[Trial]],
    numbers: Sequence[int | None],
) -> None:
    """Verify the images of latents after every damage that each suffers, unless that was done; unmarked: no number."""

    def done(i: int, trial: Trial) -> bool:
        return (numbers[i] is not None, i, trial.damage.name, trial.by) in rows

    jobs = {i: [trial for trial in trials if not done(i, trial)] for i, trials in suffered.items()}
    with tqdm(total=sum(map(len, jobs.values())), unit="verdict", disable=None) as bar:
        for i, trials in jobs.items():
            (image,) = pictures(detector.model, latents[i : i + 1]) if trials else (None,)
            for trial in trials:
                said = verified(detector, image, trial, seed=i)
                rows.add({"marked": numbers[i] is not None, "index": i, "number": numbers[i], **said})
                bar.update()


def verified(detector: Detector, image: Image.Image, trial: Trial, seed: int) -> dict:
    """What is written down of one damaged image."""
    picture = trial.damage(image, seed, trial.model)
    (verdict,) = detector.verify(picture)
    alike = trial.damage.aligned and picture.size == image.size and trial.damage.steps
    return {
        "damage": trial.damage.name,
        "by": trial.by,
        "named": verdict.name and verdict.name.number,
        "log10_p": round(verdict.log10_p, 3),
        **{part: round(getattr(verdict.names, part).log10_p, 3) for part in STATEMENTS},
        "look": verdict.look,
        "seconds": round(verdict.seconds, 4),
        "parts": len(verdict.parts),
        "psnr": round(min(psnr(image, picture), 99.0), 2) if alike else None,
        "ssim": round(ssim(image, picture), 4) if alike else None,
    }


def summarise(rows: Rows, trial: Trial) -> dict:
    """How many marked images are found, with what evidence, by which look, and what is left of the picture."""
    of = rows.select(marked=True, damage=trial.damage.name, by=trial.by, index=range(trial.images))
    log10_p = np.array([row["log10_p"] for row in of])
    kind, strength = trial.damage.steps[0] if len(trial.damage.steps) == 1 else (None, None)
    looks = Counter(row["look"] if row["log10_p"] <= RATES["1e-6"] else "none" for row in of)
    return {
        "damage": trial.label,
        "kind": trial.label.replace(trial.damage.name, kind.name) if kind else None,
        "category": kind.category if kind else "none" if not trial.damage.steps else "chain",
        "strength": strength,
        "unit": kind.unit if kind else None,
        "images": len(of),
        **{f"found_{rate}": proportion(int((log10_p <= least).sum()), len(of)) for rate, least in RATES.items()},
        "named": float(np.mean([row["named"] == row["number"] for row in of])),
        "wrong": sum(row["named"] not in (None, row["number"]) for row in of),
        "median_log10_p": float(np.median(log10_p)),
        "worst_log10_p": float(log10_p.max()),
        **{part: median([row[part] for row in of]) for part in STATEMENTS},
        "log10_p": sorted(round(float(p), 2) for p in log10_p),
        "psnr": median([row["psnr"] for row in of]),
        "ssim": median([row["ssim"] for row in of]),
        "seconds": float(np.median([row["seconds"] for row in of])),
        "parts": float(np.mean([row["parts"] for row in of])),
        "looks": dict(looks.most_common()),
    }


def summarise_unmarked(rows: Rows, trials: Sequence[Trial]) -> dict:
    """How many unmarked images are found, over all damages."""
    of = rows.select(marked=False, damage=[trial.damage.name for trial in trials])
    log10_p = np.array([row["log10_p"] for row in of])
    return {
        "images": len({row["index"] for row in of}),
        "verdicts": len(of),
        **{f"found_{rate}": proportion(int((log10_p <= least).sum()), len(of)) for rate, least in RATES.items()},
        "smallest_log10_p": float(log10_p.min()),
        "seconds": float(np.median([row["seconds"] for row in of])),
    }


def median(values: Sequence[float | None]) -> float | None:
    """The median; None where nothing was measured."""
    return None if None in values else float(np.median(values))


def share(row: dict, rate: str) -> str:
    """A share with its interval, in per cent."""
    found = row[f"found_{rate}"]
    return f"{100 * found['share']:.0f} ({100 * found['low']:.0f} to {100 * found['high']:.0f}) %"


def describe(null: dict) -> str:
    """What is printed below the table."""
    found = "; ".join(f"{null[f'found_{rate}']['count']} at {rate}" for rate in RATES)
    return (
        f"unmarked: {null['images']} images, {null['verdicts']} verdicts, found {found} (95%: at most "
        f"{null['found_1e-3']['high']:.2%} at 1e-3), smallest log10 p {null['smallest_log10_p']:.2f}, "
        f"{null['seconds']:.2f} seconds"
    )
