"""`wmark bench likeness`: whether the picture that a name was found in is the one that was registered under it.

The same picture after every kind of damage, brought back by the damage's own map (as verification brings it back by the
place where the mark was found, which we take to be off by up to half a degree, one percent and four pixels of 512); and
others: the very same initial noise under another prompt (a replay), and other pictures. Layouts, whose maps nobody
hands out, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from ..attacks import KINDS, Warp, sweep
from ..errors import ImageError, WmarkError
from ..images import open_image
from ..ledger.likeness import fingerprint
from ..ledger.transplant import COMPARISON, aligned, least_alike, likeness
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..progress import progress
from .corpus import UNSEEN, Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["Extent", "run"]

SIDE = 512
UNDO = 48
LEFT_OUT = {"print-and-photograph"}
RATES = (0.01, 0.001)
LAXEST = least_alike(0.0)
UNDECIDED = 2.0


@dataclass(frozen=True)
class Extent:
    """How much is compared.

    Attributes:
        images: Pictures of the model, each with a replay of its noise.
        further: Pictures of a folder.
    """

    images: int
    further: int


def run(model: LatentDiffusion, *, extent: Extent, data: Path | None, seed: int, out: Path) -> dict:
    """Measure, print the tables and write `likeness.{csv,json}`; returns what the JSON holds. Each picture's
    scores are in `likeness.jsonl`.

    Arguments:
        model: The model whose pictures are registered and replayed.
        extent: How much.
        data: Folder of further pictures, or None.
        seed: Seed of prompts, noise and damages.
        out: Folder of the results.
    """
    settings = provenance(model, **asdict(extent), data=str(data), seed=seed, comparison=COMPARISON)
    kept = Rows(out / "likeness.jsonl", {**settings["settings"], "model": settings["model"]}, ("picture", "what"))
    own, replayed = registered(model, extent.images, seed, out)
    everything = {**own, **(dict(chosen(data, extent.further)) if data else {})}
    damages = [damage for kind in KINDS.values() if fit(kind) for damage in sweep(kind)]
    names = list(everything)
    with progress(len(names) * (len(damages) + 2), "picture") as bar:
        for i, (name, picture) in enumerate(everything.items()):
            other = everything[names[(i + 1) % len(names)]]
            seen = [(damage.name, "same", damage) for damage in damages] + [("another picture", "other", other)]
            seen += [("replay", "other", replayed[name])] if name in replayed else []
            for number, (what, truth, how) in enumerate(seen):
                if (name, what) not in kept:
                    chance = np.random.default_rng([seed, i, number])
                    scores = compared(picture, how, chance)
                    kept.add({"picture": name, "what": what, "truth": truth, "scores": scores})
                bar.update(1)
    rows = list(kept.rows.values())
    summary = [summarised(method, rows) for method in methods(rows)]
    result = {**settings, "threshold": LAXEST, "results": summary, "worst": worst(rows)}
    write_results(out / "likeness", columns(), summary, result)
    print(tabulate(columns(), summary))
    print(f"\nfalse flags at {LAXEST:g}, by damage: {result['worst'] or 'none'}")
    return result


def fit(kind) -> bool:
    return not kind.needs_model and kind.category != "layout" and kind.name not in LEFT_OUT


def registered(model: LatentDiffusion, count: int, seed: int, out: Path) -> tuple[dict, dict]:
    """Pictures of the model, and those of the same noise under other prompts, by name."""
    corpus = Corpus(model, Sampling(steps=20), out)
    found: list[dict] = []
    for turn in range(2):
        prompts = draw_prompts(count, UNSEEN + seed + 1000 * turn)
        origins = [Origin.draw(model, prompt, UNSEEN + 1000 * seed + i) for i, prompt in enumerate(prompts)]
        made = pictures(model, corpus.latents(origins))
        found.append({f"{model.name}-{i}": squared(picture) for i, picture in enumerate(made)})
    return found[0], found[1]


def chosen(folder: Path, count: int) -> Iterator[tuple[str, Image.Image]]:
    """So many pictures of a folder, in the order of their names."""
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if not count:
            return
        try:
            picture = open_image(path)
        except ImageError:
            continue
        if min(picture.size) >= SIDE // 2:
            yield path.name, squared(picture)
            count -= 1


def squared(picture: Image.Image) -> Image.Image:
    """The middle of a picture, 512 pixels a side."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    part = picture.crop((left, top, left + side, top + side))
    return part.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def compared(picture: Image.Image, how, chance: np.random.Generator) -> dict[str, float | None] | None:
    """Likeness by each method of a registered picture and what became of it, or another; None if nothing is left."""
    if isinstance(how, Image.Image):
        found, moved = how, Warp(lambda positions: positions)
    else:
        seed = int(chance.integers(1 << 31))
        try:
            found = how(picture, seed)
        except WmarkError:  # A codec that is not there.
            return None
        moved = undone(how.warp((SIDE, SIDE), seed))
        if moved is None:
            return None
    part, visible = aligned(found, misled(moved, chance))
    return {"ours": likeness(fingerprint(picture), part, visible).score, **hashes(picture, part)}


def undone(moved: Warp) -> Warp | None:
    """The inverse of a map, linear between the points of a grid; None if it takes everything to one line."""
    grid = moved.grid(UNDO, UNDO)[0].reshape(-1, 2).double().numpy()
    at = Warp(lambda positions: positions).grid(UNDO, UNDO)[0].reshape(-1, 2).double().numpy()
    try:
        inverse = LinearNDInterpolator(grid, at * UNDO / (UNDO - 1), fill_value=9.0)
    except QhullError:
        return None
    return Warp(lambda p: torch.from_numpy(inverse(p.double().numpy())).float())


def misled(moved: Warp, chance: np.random.Generator) -> Warp:
    """A map as verification knows it: nearly."""
    angle, scale = math.radians(chance.uniform(-0.5, 0.5)), 1 + chance.uniform(-0.01, 0.01)
    shift = torch.from_numpy(chance.uniform(-4, 4, 2) * 2 / SIDE).float()
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    turn = torch.tensor([[c, s], [-s, c]])
    return Warp(lambda positions: moved.source(positions @ turn + shift))


def hashes(picture: Image.Image, part: Image.Image) -> dict[str, float]:
    """Share of equal bits by the hashes of libraries, as far as they are installed."""
    found: dict[str, Callable[[Image.Image], np.ndarray]] = {}
    try:
        import imagehash

        found |= {
            "imagehash phash": lambda image: imagehash.phash(image).hash,
            "imagehash phash 16": lambda image: imagehash.phash(image, 16).hash,
            "imagehash whash": lambda image: imagehash.whash(image).hash,
            "imagehash dhash": lambda image: imagehash.dhash(image).hash,
        }
    except ImportError:
        pass
    try:
        import pdqhash

        found["pdqhash"] = lambda image: pdqhash.compute(np.asarray(image))[0].astype(bool)
    except ImportError:
        pass
    return {name: float((hash_of(picture) == hash_of(part)).mean()) for name, hash_of in found.items()}


def methods(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(name for row in rows if row["scores"] for name in row["scores"]))


def summarised(method: str, rows: list[dict]) -> dict:
    """How a method separates: the share of others below the score that 99% and 99.9% of the same pictures reach."""
    same = scores_of(method, [row for row in rows if row["truth"] == "same"])
    told: dict = {"method": method, "same": len(same), "worst": float(same.min()), "median": float(np.median(same))}
    told["undecided"] = int((same == UNDECIDED).sum())
    for what in ("replay", "another picture"):
        other = scores_of(method, [row for row in rows if row["what"] == what])
        told[what] = {f"{rate:g}": float(np.mean(other < np.quantile(same, rate))) for rate in RATES}
        told[f"{what} at threshold"] = float(np.mean(other < LAXEST)) if method == "ours" else None
    told["false flags"] = float(np.mean(same < LAXEST)) if method == "ours" else None
    return told


def scores_of(method: str, rows: list[dict]) -> np.ndarray:
    """Scores by a method; what it cannot tell counts as alike, since it is not flagged."""
    scores = [row["scores"][method] for row in rows if row["scores"]]
    return np.array([UNDECIDED if score is None else score for score in scores])


def worst(rows: list[dict]) -> dict[str, int]:
    """How many of each damage our threshold flags falsely."""
    scores = scores_of("ours", same := [row for row in rows if row["truth"] == "same" and row["scores"]])
    flagged = [row["what"] for row, score in zip(same, scores, strict=True) if score < LAXEST]
    return {what: flagged.count(what) for what in dict.fromkeys(flagged)}


def columns() -> Columns:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    return {
        "method": "{method}",
        "the same, compared": "{same}",
        "of them undecided": "{undecided}",
        "likeness, median / worst": "{median:.2f} / {worst:.2f}",
        **{
            f"{what} flagged at {rate:.1%} false flags": lambda r, w=what, f=rate: share(r[w][f"{f:g}"])
            for what in ("replay", "another picture")
            for rate in RATES
        },
        "false flags at our threshold": lambda r: share(r["false flags"]),
        "replay flagged": lambda r: share(r["replay at threshold"]),
        "another flagged": lambda r: share(r["another picture at threshold"]),
    }
