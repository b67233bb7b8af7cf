"""`wmark bench confusion`: which of three keys, or none, does an image carry?

The experiment of Hong et al. (NeurIPS 2024, section 5.1) and its continuation. Images of three keys and of no key are
generated from the same prompts and seeds; each is inverted to noise by four decoder inversions, interleaved, and the
same DDIM inversion. Twice: with the classic `ring` pattern, classified by its distance as in the paper (the nearest
key, or no key above a threshold that is fitted on the other half of the images), and with `disc`, classified by the
hypercone test's p-value at 1e-6, which needs no fitting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..attacks import damaged, find_damage
from ..detectors.reading import prepare
from ..detectors.statistic import corrected, cosine, hypercone_log10_p
from ..images import to_tensor
from ..inversion.chain import Recovered, invert_decoder, invert_diffusion
from ..inversion.nmse import nmse_db
from ..inversion.recovery import EXACT, Recovery
from ..models.clock import clock
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import distance, read
from .corpus import Corpus, Origin, pictures
from .memory import peak_memory
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["run"]

CLASSES = ("unmarked", "key-1", "key-2", "key-3")
DECISION_FPR = 1e-6

COLUMNS: Columns = {
    "pattern": "{pattern}",
    "classifier": "{classifier}",
    "decoder inversion": "{inversion}",
    "accuracy": "{accuracy:.3f}",
    "TPR at 1e-3": "{tpr_1e-3:.3f}",
    "TPR at 1e-6": "{tpr_1e-6:.3f}",
    "AUC": "{auc:.4f}",
    "NMSE dB": "{nmse_db:.1f}",
    "memory MB": "{peak_memory_mb}",
    "seconds": "{seconds:.2f}",
}


def inversions(iterations: int) -> dict[str, Recovery]:
    """The decoder inversions compared: the paper's three, and what `wmark verify --effort exact` does."""
    return {
        "encoder only": Recovery("encoder only", tuned=False),
        "gradient-based": Recovery("gradient-based", "gradient", iterations, {"learning_rate": 0.03}, tuned=False),
        "gradient-free": Recovery("gradient-free", "forward", iterations, {"rho": 0.5}, tuned=False),
        "exact": EXACT,
    }


def run(
    model: LatentDiffusion,
    *,
    images: int,
    damage: str,
    iterations: int,
    steps: int,
    seed: int,
    out: Path,
    sampling: Sampling | None = None,
) -> dict:
    """Measure, print the table and write `confusion.{csv,json,png}`, with the names of a model other than `tiny` and of
    a damage in theirs; returns what the JSON holds.

    Arguments:
        model: The model to generate and invert with.
        images: Images in each class and pattern; the unmarked ones serve both patterns.
        damage: Name of a damage that all images suffer.
        iterations: Iterations of the paper's gradient-free and gradient-based inversion.
        steps: DDIM inversion steps.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
        sampling: How images are generated; None takes what the model is meant for.
    """
    find_damage(damage)
    sampling = sampling or model.usual
    methods = {name: replace(recovery, steps=steps) for name, recovery in inversions(iterations).items()}
    settings = dict(images=images, attack=damage, iterations=iterations, steps=steps, seed=seed)
    settings |= dict(
        pattern=repr(Pattern.of()),
        sampling_steps=sampling.steps,
        inversions={name: asdict(recovery) for name, recovery in inversions(iterations).items()},
    )
    about = provenance(model, **settings, guidance_scale=sampling.guidance_scale, size=list(model.native_size))
    of_model = [] if model.name == "tiny" else [Path(model.name).name]
    of_damage = [] if damage == "none" else [find_damage(damage).file_name]
    stem = out / "-".join(["confusion", *of_model, *of_damage])
    rings = {kind: three_keys(kind, seed) for kind in ("ring", "disc")}
    rows = Rows(Path(f"{stem}.jsonl"), {**about["settings"], "model": about["model"]}, ("group", "index", "inversion"))
    measure(Corpus(model, sampling, out, batch_size=6), rows, rings, methods, images, damage, seed)

    memory = measure_memory(model, iterations)
    summary = [
        {"pattern": kind, "inversion": name, **evaluate(rows, kind, name)}
        | {"peak_memory_mb": round(memory[name] / 1e6, 1)}
        for kind in rings
        for name in methods
    ]
    result = {**about, "classes": CLASSES, "results": summary}
    write_results(stem, COLUMNS, summary, result)
    plot(Path(f"{stem}.png"), summary, images, damage)
    print(tabulate(COLUMNS, summary))
    return result


def three_keys(kind: str, seed: int) -> list[Key]:
    secret = f"wmark bench confusion {seed}".encode().ljust(32, b"\0")[:32]
    return [Key.derive(secret, f"{kind}-{name}", Pattern.of(kind)) for name in CLASSES[1:]]


def measure(
    corpus: Corpus,
    rows: Rows,
    rings: dict[str, list[Key]],
    methods: dict[str, Recovery],
    images: int,
    damage: str,
    seed: int,
) -> None:
    """Generate and invert every image that has not been measured yet."""
    model, prompts = corpus.model, draw_prompts(images, seed)
    groups: dict[str, Key | None] = {"unmarked": None} | {key.id: key for keys in rings.values() for key in keys}
    jobs = [(group, i) for i in range(images) for group in groups]
    jobs = [job for job in jobs if any((*job, method) not in rows for method in methods)]
    if not jobs:
        return
    latents = corpus.latents([Origin.draw(model, prompts[i], seed * 100_000 + i, groups[group]) for group, i in jobs])
    for (group, i), latent in zip(tqdm(jobs, unit="image", disable=None), latents, strict=True):
        image = damaged(damage, pictures(model, latent[None])[0], i, model)
        for method, recovery in methods.items():
            if (group, i, method) not in rows:
                found = invert(model, to_tensor(image)[None], recovery)
                rows.add({"group": group, "index": i, "inversion": method, **read_rings(found, rings, latent)})


def invert(model: LatentDiffusion, image: Tensor, recovery: Recovery) -> dict:
    """Latent (C, h, w) and noise (1, C, h, w) of an image, on the CPU, and the seconds that each took."""
    begin = clock(model.device)
    latent = invert_decoder(model, recovery, image).latent
    decoded = clock(model.device)
    noise = invert_diffusion(model, recovery, latent).noise
    seconds = {"decoder_seconds": decoded - begin, "seconds": clock(model.device) - begin}
    return {"latent": latent[0].cpu(), "noise": noise.cpu(), **seconds}


def read_rings(found: dict, rings: dict[str, list[Key]], latent: Tensor) -> dict:
    """What is written down of an inverted image: cost, error, and how far every key of every pattern is."""
    row = {
        "seconds": round(found["seconds"], 4),
        "decoder_seconds": round(found["decoder_seconds"], 4),
        "nmse_db": round(nmse_db(found["latent"][None], latent[None]).item(), 3),
    }
    for kind, keys in rings.items():
        pattern = keys[0].pattern.fitted(latent.shape[-2:])
        coordinates = read(prepare(Recovered.whitened(found["noise"]), pattern), pattern)[0].numpy()
        cosines = cosine(coordinates, pattern.restrict(np.stack([key.direction for key in keys])))
        row[kind] = {
            "distance": [round(float(distance(found["noise"], key)), 6) for key in keys],
            "log10_p": hypercone_log10_p(cosines, pattern.dimension).tolist(),
        }
    return row


def evaluate(rows: Rows, kind: str, inversion: str) -> dict:
    """Confusion matrix and scores of one pattern and inversion."""
    from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

    groups = ["unmarked", *(f"{kind}-{name}" for name in CLASSES[1:])]
    members = [
        (label, row) for label, group in enumerate(groups) for row in rows.select(group=group, inversion=inversion)
    ]
    truth = np.array([label for label, _ in members])
    fold = np.array([row["index"] % 2 for _, row in members])
    log10_p = np.array([row[kind]["log10_p"] for _, row in members])
    p_of_image = corrected(log10_p.min(1), log10_p.shape[1])
    marked = truth > 0
    if kind == "ring":
        distances = np.array([row[kind]["distance"] for _, row in members])
        predicted = classify_by_distance(distances, truth, fold)
        score, classifier = -distances.min(1), "distance"
    else:
        predicted = np.where(p_of_image <= math.log10(DECISION_FPR), log10_p.argmin(1) + 1, 0)
        score, classifier = -log10_p.min(1), "p-value"
    return {
        "classifier": classifier,
        "confusion": confusion_matrix(truth, predicted, labels=range(len(CLASSES))).tolist(),
        "accuracy": float(accuracy_score(truth, predicted)),
        "tpr_1e-3": float((p_of_image[marked] <= -3).mean()),
        "tpr_1e-6": float((p_of_image[marked] <= -6).mean()),
        "median_log10_p": float(np.median(p_of_image[marked])),
        "auc": float(roc_auc_score(marked, score)),
        "nmse_db": float(np.mean([row["nmse_db"] for _, row in members])),
        "seconds": float(np.median([row["seconds"] for _, row in members])),
        "decoder_seconds": float(np.median([row["decoder_seconds"] for _, row in members])),
    }


def classify_by_distance(distances: np.ndarray, truth: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Nearest key, or 0 above a threshold chosen for accuracy on the other fold.

    Arguments:
        distances: With shape (images, keys).
        truth: Classes, 0 for unmarked, with shape (images,).
        fold: 0 or 1, with shape (images,).
    """
    nearest, smallest = distances.argmin(1) + 1, distances.min(1)
    predicted = np.empty_like(truth)
    for part in (0, 1):
        fit, use = fold != part, fold == part
        levels = np.sort(smallest[fit])
        candidates = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1]])
        hits = [(np.where(smallest[fit] <= t, nearest[fit], 0) == truth[fit]).mean() for t in candidates]
        predicted[use] = np.where(smallest[use] <= candidates[int(np.argmax(hits))], nearest[use], 0)
    return predicted


def measure_memory(model: LatentDiffusion, iterations: int) -> dict[str, int]:
    """Peak bytes beyond the weights of each decoder inversion, on one image; two iterations reach the peak."""
    height, width = model.native_size
    image = torch.zeros(1, 3, height, width, device=model.device)

    def solve(recovery: Recovery) -> None:
        invert_decoder(model, replace(recovery, iterations=recovery.iterations and 2), image)

    return {name: peak_memory(partial(solve, one), model.device) for name, one in inversions(iterations).items()}


def plot(path: Path, summary: Sequence[dict], images: int, damage: str) -> None:
    """The confusion matrices, one row a pattern, one column an inversion."""
    from ..figures import figure, save

    canvas, axes = figure(2, len(summary) // 2, width=14, height=7)
    for axis, result in zip(axes.flat, summary, strict=True):
        matrix = np.array(result["confusion"])
        axis.imshow(matrix, cmap="Blues", vmin=0, vmax=images)
        for (i, j), count in np.ndenumerate(matrix):
            axis.text(j, i, count, ha="center", va="center", color="white" if count > images / 2 else "black")
        axis.set_xticks(range(len(CLASSES)), CLASSES, fontsize=8)
        axis.set_yticks(range(len(CLASSES)), CLASSES, fontsize=8)
        axis.set_title(
            f"{result['pattern']} by {result['classifier']}, {result['inversion']}\n"
            f"accuracy {result['accuracy']:.3f}, {result['seconds']:.1f} s",
            fontsize=9,
        )
    for axis in axes[1]:
        axis.set_xlabel("predicted")
    axes[0, 0].set_ylabel("true class")
    axes[1, 0].set_ylabel("true class")
    canvas.suptitle(f"{images} images a class, damage: {damage}", fontsize=10)
    save(canvas, path)
