"""`wmark bench identities`: whose name is told, how faint a mark may be, and what telling it costs.

reach       coordinates planted with real names, drowned in noise until a fixed key of strength 0.5 would stand at a
            p-value of 1e-4, 1e-6 ...: how often the name is told, and whether ever another's is
pictures    pictures of the model after each ordinary damage, through the detector, all 2^40 numbers given out
cost        derivation of the sections, seconds of one thread an image by how many numbers were given out, memory
"""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from tqdm import tqdm

from ..attacks import NAMED, damaged
from ..detectors.detector import Detector
from ..detectors.identity.identification import identify
from ..detectors.identity.places import Place, Places, of_pilot
from ..detectors.identity.statements import Statements
from ..detectors.plan import SIGNS
from ..detectors.statistic import corrected
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.layout import IssuerEntry, Layout
from ..watermark.names import Names
from ..watermark.noise import named_noise
from ..watermark.numbers import NUMBERS
from ..watermark.secret import Secret
from .corpus import Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["LOOKS", "STATEMENTS", "Extent", "drowned", "issued", "named_origins", "run", "told"]

ISSUED = {"10^6": 10**6, "10^8": 10**8, "all 2^40": NUMBERS}
EVIDENCE = (6, 8, 10, 12, 15, 20)
LOOKS = 6
STATEMENTS = ("presence", "series", "identity")
"""What is said of names, weakest first."""

REACH: Columns = {
    "numbers given out": "{issued}",
    "log10 p of a fixed key": "-{evidence}",
    "told": "{told:.1%}",
    "another's": "{wrong}",
    "presence": "{presence:.1f}",
    "series": "{series:.1f}",
    "identity": "{identity:.1f}",
}
PICTURES: Columns = {
    "damage": "{damage}",
    "images": "{images}",
    "told": "{told:.1%}",
    "another's": "{wrong}",
    "presence found": "{present:.1%}",
    "series found": "{series_found:.1%}",
    "presence": "{presence:.0f}",
    "series": "{series:.0f}",
    "identity, median / worst": "{identity:.0f} / {worst:.0f}",
}
COST: Columns = {
    "numbers given out": "{issued}",
    "first image, seconds": "{first:.3f}",
    "each further": "{further:.3f}",
    "names tested": "{tested:.0f}",
    "megabytes": "{megabytes:.0f}",
}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        trials: Simulated readings of each case.
        images: Pictures; 0 leaves them out.
    """

    trials: int
    images: int


def run(
    load: Callable[[], LatentDiffusion],
    extent: Extent,
    *,
    fpr: float,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the tables and write `identities.{csv,json}`; returns what the JSON holds.

    Arguments:
        load: Returns the model to generate and verify with; called only for pictures.
        extent: How much is measured.
        fpr: False-positive rate of each statement.
        seed: Seed of prompts, numbers and noise.
        out: Folder of the results.
        sampling: How images are generated.
    """
    model = load() if extent.images else None
    about = provenance(model, trials=extent.trials, images=extent.images, fpr=fpr, seed=seed)
    cost = [cost_of(label, count) for label, count in ISSUED.items()]
    cases = [(label, evidence) for label in ISSUED for evidence in EVIDENCE if extent.trials]
    reach = [reach_of(*case, extent.trials, fpr, seed) for case in cases]
    seen = of_pictures(model, extent.images, fpr, seed, out, sampling) if model else []
    result = {**about, "cost": cost, "reach": reach, "pictures": seen}
    shown = [(columns, rows) for columns, rows in ((PICTURES, seen), (REACH, reach), (COST, cost)) if rows]
    write_results(out / "identities", *shown[0], result)
    print(*(tabulate(columns, rows) for columns, rows in shown), sep="\n\n")
    return result


def issued(count: int, layout: Layout | None = None, secret: bytes = b"wmark bench identities") -> Names:
    """Names of a fixed keyring that has given out so many numbers."""
    master = Secret(secret.ljust(32, b"\0"))
    issuers = {IssuerEntry("bench", 0, count, ""): master.derive(b"own")}
    return Names(layout or Layout.of(), master.derive(b"shared"), issuers, master.tag(b"")[:16])


def named_origins(names: Names, model: LatentDiffusion, images: int, seed: int) -> tuple[list[int], list[Origin]]:
    """Numbers drawn from all that there are, and what images of these names are generated from."""
    shape = model.latent_shape(*model.native_size)
    numbers = [int(number) for number in np.random.default_rng(seed).integers(0, NUMBERS, images)]
    prompts = draw_prompts(images, seed)
    return numbers, [
        Origin(prompt, named_noise(names, number, seed + i, shape).float())
        for i, (prompt, number) in enumerate(zip(prompts, numbers, strict=True))
    ]


def drowned(coordinates: np.ndarray, keep: float, rng: np.random.Generator) -> np.ndarray:
    """What a reader returns of coordinates (..., d), as simulated: `keep` of them, and white noise."""
    return keep * coordinates + math.sqrt(1 - keep**2) * rng.standard_normal(coordinates.shape)


def told(coordinates: np.ndarray, names: Names, fpr: float) -> Statements:
    """What is said of coordinates (d,) that were read where they were planted."""
    here = Place(coordinates, np.ones(len(coordinates), dtype=bool), (64, 64))
    return identify(Places([here], float(corrected(of_pilot(here, names.pilot), SIGNS))), names, LOOKS, fpr)


def reach_of(label: str, evidence: int, trials: int, fpr: float, seed: int) -> dict:
    """How often names are told where a fixed key of strength 0.5 would stand at 10^-evidence."""
    names, rng = issued(ISSUED[label]), np.random.default_rng([seed, evidence])
    keep = -ndtri(10.0**-evidence) / (0.5 * math.sqrt(names.layout.pattern.dimension))
    numbers = rng.integers(0, ISSUED[label], trials)
    said = [told(drowned(names.coordinates(int(n)), keep, rng), names, fpr) for n in tqdm(numbers, disable=None)]
    return {"issued": label, "evidence": evidence, **summarised(said, numbers)}


def summarised(said: list[Statements], numbers: np.ndarray) -> dict:
    """Shares and medians of statements on images of numbers."""
    found = [one.named.number if one.identity.found else None for one in said]
    return {
        "told": float(np.mean([a == b for a, b in zip(found, numbers, strict=True)])),
        "wrong": sum(a not in (None, int(b)) for a, b in zip(found, numbers, strict=True)),
        "present": float(np.mean([one.presence.found for one in said])),
        "series_found": float(np.mean([one.series.found for one in said])),
        **{part: float(np.median([getattr(one, part).log10_p for one in said])) for part in STATEMENTS},
        "worst": max(one.identity.log10_p for one in said),
    }


def cost_of(label: str, count: int) -> dict:
    """Seconds of one thread and memory of telling a name, the sections derived at the first image."""
    names, rng = issued(count), np.random.default_rng(0)
    readings = [drowned(names.coordinates(count * i // 8), 0.4, rng) for i in range(6)]
    spent, tested = [], []
    for reading in readings:
        begin = time.process_time()
        tested.append(told(reading, names, 1e-6).names_tested)
        spent.append(time.process_time() - begin)
    tracemalloc.start()
    told(readings[0], issued(count), 1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    seconds = {"first": spent[0], "further": float(np.median(spent[1:]))}
    return {"issued": label, **seconds, "tested": float(np.mean(tested)), "megabytes": peak / 1e6}


def of_pictures(
    model: LatentDiffusion, images: int, fpr: float, seed: int, out: Path, sampling: Sampling
) -> list[dict]:
    """The statements on pictures after each ordinary damage."""
    names = issued(NUMBERS)
    numbers, origins = named_origins(names, model, images, seed)
    settings = dict(images=images, fpr=fpr, seed=seed, sampling_steps=sampling.steps, fingerprint=model.fingerprint)
    rows = Rows(out / "identities.jsonl", settings, ("index", "damage"))
    detector = Detector(model, names=names, fpr=fpr)
    latents = Corpus(model, sampling, out).latents(origins).split(1)
    for i, latent in enumerate(tqdm(latents, unit="image", disable=None)):
        missing = [damage for damage in NAMED if (i, damage) not in rows]
        (image,) = pictures(model, latent) if missing else (None,)
        for damage in missing:
            (verdict,) = detector.verify(damaged(damage, image, seed=i))
            said = verdict.names
            named = said.named.number if said.named and said.identity.found else None
            p = {part: getattr(said, part).log10_p for part in STATEMENTS}
            row = {"index": i, "damage": damage, "number": numbers[i], "named": named, "look": verdict.look}
            rows.add({**row, **p})
    return [{"damage": damage, **of_damage(rows.select(damage=damage), fpr)} for damage in NAMED]


def of_damage(rows: list[dict], fpr: float) -> dict:
    p = {part: np.array([row[part] for row in rows]) for part in STATEMENTS}
    return {
        "images": len(rows),
        "told": float(np.mean([row["named"] == row["number"] for row in rows])),
        "wrong": sum(row["named"] not in (None, row["number"]) for row in rows),
        "present": float(np.mean(p["presence"] <= math.log10(fpr))),
        "series_found": float(np.mean(p["series"] <= math.log10(fpr))),
        **{part: float(np.median(values)) for part, values in p.items()},
        "worst": float(p["identity"].max()),
    }
