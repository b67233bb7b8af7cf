"""`wmark bench transplants`: is it told that a picture under a name is not the registered one, and only then?

Through the detector and the ledger as `wmark verify` goes: named and registered pictures after every damage, which are
the registered ones, and replays, which are not: the noise that is recovered from each, sampled under other prompts, as
it is and damaged. Layouts are left out, where parts are judged for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..attacks import KINDS, find_damage, sweep
from ..errors import WmarkError
from ..images import to_image, to_pixels
from ..inversion.forging import stolen
from ..ledger.transplant import COMPARISON, least_alike
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from .attackers_victims import Victim, victims
from .corpus import UNSEEN, Corpus
from .likeness import fit
from .null_statistics import proportion
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["Extent", "run"]

REPLAYED = ("none", "jpeg:75", "jpeg:25", "noise:0.05", "crop:80", "crop:50", "brightness:2", "blur:2")
"""What becomes of replays."""

EVIDENCE = ((-1000.0, "log10 p -1000 or less"), (-300.0, "down to -300"), (0.0, "more"))

COLUMNS: Columns = {
    "pictures": "{pictures}",
    "evidence": "{evidence}",
    "compared": "{compared}",
    "not to be told": "{undecided}",
    "told as transplant": "{flagged}",
    "share": "{share:.2%}",
    "95% interval": "{low:.2%} to {high:.2%}",
}


@dataclass(frozen=True)
class Extent:
    """How much is compared.

    Attributes:
        images: Named pictures.
        prompts: Replays of each.
    """

    images: int = 8
    prompts: int = 4


def run(
    model: LatentDiffusion,
    extent: Extent,
    *,
    fpr: float,
    seed: int,
    out: Path,
    sampling: Sampling | None = None,
) -> dict:
    """Measure, print the table and write `transplants.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model that makes, verifies and replays the pictures.
        extent: How much.
        fpr: False-positive rate of each statement.
        seed: Seed of prompts, noise and damages.
        out: Folder of the results and of `transplants.jsonl`, where an interrupted run goes on.
        sampling: How images are generated and replayed; None takes what the model is meant for.
    """
    sampling = sampling or model.usual
    settings = dict(fpr=fpr, seed=seed, sampling=asdict(sampling), comparison=COMPARISON)
    about = provenance(model, **settings, **asdict(extent))
    with victims(Corpus(model, sampling, out), extent.images, fpr, seed) as held:
        named = [victim for victim in held.each if victim.against == "names"]
        settings |= dict(model=about["model"], basis=asdict(held.detectors["names"].basis))
        rows = Rows(out / "transplants.jsonl", settings, ("picture", "what"))
        for victim in tqdm(named, unit="picture", disable=None):
            for what, truth, make in [*replays(model, sampling, victim, extent.prompts), *damages(victim, seed)]:
                if (victim.index, what) not in rows:
                    picture = make()
                    judged = held.judged(victim, picture) if picture else {"identified": False}
                    rows.add({"picture": victim.index, "what": what, "truth": truth, **judged})
    measured = [row for row in rows.rows.values() if row["picture"] < extent.images and row["identified"]]
    summary = list(summarised(measured))
    result = {**about, "results": summary, "wrong": [*wrongly(measured)]}
    write_results(out / "transplants", COLUMNS, summary, result)
    plot(out / "transplants.png", measured)
    print(tabulate(COLUMNS, summary))
    return result


def damages(victim: Victim, seed: int) -> Iterator[tuple[str, str, Callable[[], Image.Image | None]]]:
    """The registered picture as it is and after each damage; none after one whose codec is not there."""
    for damage in [find_damage("none"), *(damage for kind in KINDS.values() if fit(kind) for damage in sweep(kind))]:

        def damaged(damage=damage) -> Image.Image | None:
            try:
                return damage(victim.picture, 1000 * seed + victim.index)
            except WmarkError:
                return None

        yield damage.name, "registered", damaged


def replays(
    model: LatentDiffusion, sampling: Sampling, victim: Victim, count: int
) -> Iterator[tuple[str, str, Callable[[], Image.Image]]]:
    """Its noise under other prompts, and what becomes of those pictures."""

    @cache
    def noise() -> Tensor:
        return stolen(model, to_pixels(victim.picture)).reading

    @cache
    def replayed(prompt: str) -> Image.Image:
        with torch.no_grad():
            return to_image(model.decode(model.sample(noise(), [prompt], sampling))[0])

    for number, prompt in enumerate(draw_prompts(count, 2 * UNSEEN + victim.seed)):
        for name in REPLAYED:
            yield (
                f"replay {number}, {name}",
                "replay",
                lambda p=prompt, d=name: find_damage(d)(replayed(p), victim.index),
            )


def summarised(rows: list[dict]) -> Iterator[dict]:
    """Rows of the table: each truth by evidence and in all."""
    for truth, pictures in (("registered", "the registered ones, damaged"), ("replay", "replays")):
        of = [row for row in rows if row["truth"] == truth]
        groups = {told: [row for row in of if evidence(row) == told] for _, told in EVIDENCE}
        for told, group in {**groups, "any": of}.items():
            compared = [row for row in group if row["transplant"] is not None]
            if compared:
                share = proportion(sum(row["transplant"] for row in compared), len(compared))
                about = {"pictures": pictures, "evidence": told, "compared": len(compared)}
                yield {**about, "undecided": len(group) - len(compared), "flagged": share.pop("count"), **share}


def evidence(row: dict) -> str:
    return next(told for level, told in EVIDENCE if row["identity"] <= level)


def wrongly(rows: list[dict]) -> Iterator[dict]:
    """Registered pictures that are told as transplants, and replays that pass for them."""
    for row in rows:
        if row["transplant"] is not None and row["transplant"] != (row["truth"] == "replay"):
            yield {key: row[key] for key in ("picture", "what", "identity", "likeness")}


def plot(path: Path, rows: list[dict]) -> None:
    """Unlikeness against evidence, a point for each picture, and the threshold."""
    from ..figures import figure, save

    canvas, ((axis,),) = figure(1, 1, width=8, height=5)
    for truth, colour, size in (("registered", "C0", 6), ("replay", "C3", 14)):
        of = [row for row in rows if row["truth"] == truth and row["likeness"] is not None]
        x, y = [max(1.0, -row["identity"]) for row in of], [max(1e-6, 1 - row["likeness"]) for row in of]
        axis.scatter(x, y, s=size, color=colour, alpha=0.6, linewidths=0, label=f"{truth}, {len(of)}")
    evidences = np.geomspace(1, 1e4, 200)
    axis.plot(evidences, [1 - least_alike(-evidence) for evidence in evidences], "k--", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel="-log10 p of the identity", ylabel="1 - likeness")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    save(canvas, path)
