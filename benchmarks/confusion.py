"""`wmark bench confusion`: which of three keys, or none, does an image carry?

The experiment of Hong et al. (NeurIPS 2024, section 5.1) and its continuation. Images of three keys and of no key are
generated from the same prompts and seeds; each is inverted to noise by four decoder inversions, interleaved, and the
same DDIM inversion. Twice: with the classic `ring` pattern, classified by its distance as in the paper (the nearest
key, or no key above a threshold that is fitted on the other half of the images), and with `disc`, classified by the
hypercone test's p-value at 1e-6, which needs no fitting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..detectors.reading import prepare
from ..detectors.statistic import corrected, cosine, hypercone_log10_p
from ..images import to_image, to_tensor
from ..inversion.chain import invert_decoder, invert_diffusion
from ..inversion.recovery import EXACT, Recovery
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.noise import initial_noise
from ..watermark.patterns import Pattern
from ..watermark.spectrum import distance, read
from .attacks import attack as damage
from .attacks import find_attack
from .memory import peak_memory
from .report import Rows, provenance, table, write_csv, write_json

__all__ = ["run"]

CLASSES = ("unmarked", "key-1", "key-2", "key-3")
DECISION_FPR = 1e-6


def inversions(iterations: int) -> dict[str, Recovery]:
    """The decoder inversions compared: the paper's three, and what `wmark verify --effort exact` does."""
    return {
        "encoder only": Recovery("encoder only", left_inverse=False),
        "gradient-based": Recovery(
            "gradient-based", "gradient", iterations, {"learning_rate": 0.03}, left_inverse=False
        ),
        "gradient-free": Recovery("gradient-free", "forward", iterations, {"rho": 0.5}, left_inverse=False),
        "exact": EXACT,
    }


def run(
    model: LatentDiffusion,
    *,
    images: int,
    attack: str,
    iterations: int,
    steps: int,
    seed: int,
    out: Path,
    batch: int = 6,
    sampling_steps: int = 50,
) -> dict:
    """Measure, print the table and write `confusion.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and invert with.
        images: Images in each class and pattern; the unmarked ones serve both patterns.
        attack: Name of a damage.
        iterations: Iterations of the paper's gradient-free and gradient-based inversion.
        steps: DDIM inversion steps.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
        batch: Images generated together.
        sampling_steps: DDIM steps of the generation.
    """
    find_attack(attack)
    settings = dict(
        images=images,
        attack=attack,
        iterations=iterations,
        steps=steps,
        seed=seed,
        sampling_steps=sampling_steps,
        inversions={name: asdict(stage) for name, stage in inversions(iterations).items()},
    )
    about = provenance(model, **settings, guidance_scale=7.5, size=list(model.native_size))
    name = "confusion" if attack == "none" else f"confusion-{attack}"
    keys = {kind: three_keys(kind, seed) for kind in ("ring", "disc")}
    rows = Rows(out / f"{name}.jsonl", {**about["settings"], "model": about["model"]}, ("group", "index", "inversion"))
    measure(model, rows, keys, settings, batch)

    memory = measure_memory(model, iterations)
    summary = []
    for kind in ("ring", "disc"):
        for inversion in inversions(iterations):
            summary.append(
                {
                    "pattern": kind,
                    "inversion": inversion,
                    **evaluate(rows, kind, inversion),
                    "peak_memory_mb": round(memory[inversion] / 1e6, 1),
                }
            )
    result = {**about, "classes": CLASSES, "results": summary}
    header = (
        "pattern",
        "classifier",
        "decoder inversion",
        "accuracy",
        "TPR at 1e-3",
        "TPR at 1e-6",
        "AUC",
        "NMSE dB",
        "memory MB",
        "seconds",
    )
    cells = [
        (
            r["pattern"],
            r["classifier"],
            r["inversion"],
            f"{r['accuracy']:.3f}",
            f"{r['tpr_1e-3']:.3f}",
            f"{r['tpr_1e-6']:.3f}",
            f"{r['auc']:.4f}",
            f"{r['nmse_db']:.1f}",
            r["peak_memory_mb"],
            f"{r['seconds']:.2f}",
        )
        for r in summary
    ]
    write_csv(out / f"{name}.csv", header, cells)
    write_json(out / f"{name}.json", result)
    plot(out / f"{name}.png", summary, images, attack)
    print(table(header, cells))
    return result


def three_keys(kind: str, seed: int) -> list[Key]:
    secret = f"wmark bench confusion {seed}".encode().ljust(32, b"\0")[:32]
    return [Key.derive(secret, f"{kind}-{name}", Pattern.of(kind)) for name in CLASSES[1:]]


def measure(model: LatentDiffusion, rows: Rows, keys: dict[str, list[Key]], settings: dict, batch: int) -> None:
    """Generate and invert every image that has not been measured yet."""
    methods = inversions(settings["iterations"])
    groups: dict[str, Key | None] = {"unmarked": None} | {key.id: key for ring in keys.values() for key in ring}
    prompts = draw_prompts(settings["images"], settings["seed"])
    jobs = [(i, group) for i in range(settings["images"]) for group in groups]
    jobs = [(i, group) for i, group in jobs if any((group, i, method) not in rows for method in methods)]
    shape = model.latent_shape(*model.native_size)
    with tqdm(total=len(jobs), unit="image", disable=None) as bar:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            noise = torch.cat([_noise(groups[group], shape, settings["seed"] * 100_000 + i) for i, group in part])
            latents = model.sample(noise, [prompts[i] for i, _ in part], Sampling(settings["sampling_steps"]))
            for (i, group), latent in zip(part, latents, strict=True):
                with torch.no_grad():
                    image = damage(settings["attack"], to_image(model.decode(latent[None])[0]), seed=i)
                for method, recovery in methods.items():
                    if (group, i, method) not in rows:
                        found = _invert(model, to_tensor(image)[None], replace(recovery, steps=settings["steps"]))
                        rows.add({"group": group, "index": i, "inversion": method, **_read(found, keys, latent)})
                bar.update(1)


def _noise(key: Key | None, shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    if key is None:
        return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    return initial_noise(key, shape=shape, seed=seed)


def _invert(model: LatentDiffusion, image: torch.Tensor, recovery: Recovery) -> dict:
    begin = time.perf_counter()
    latent = invert_decoder(model, recovery, image).latent
    decoded = time.perf_counter()
    noise = invert_diffusion(model, recovery, latent).noise
    return {
        "latent": latent[0].cpu(),
        "noise": noise.cpu(),
        "decoder_seconds": decoded - begin,
        "seconds": time.perf_counter() - begin,
    }


def _read(found: dict, keys: dict[str, list[Key]], latent: torch.Tensor) -> dict:
    error = (found["latent"] - latent.cpu()).square().sum() / latent.square().sum().cpu()
    row = {
        "seconds": round(found["seconds"], 4),
        "decoder_seconds": round(found["decoder_seconds"], 4),
        "nmse_db": round(10 * math.log10(error), 3),
    }
    for kind, ring in keys.items():
        pattern = ring[0].pattern
        coordinates = read(prepare(found["noise"], pattern), pattern)[0].numpy()
        row[kind] = {
            "distance": [round(float(distance(found["noise"], key)), 6) for key in ring],
            "log10_p": [float(hypercone_log10_p(cosine(coordinates, key.direction), len(coordinates))) for key in ring],
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
    p_of_image = np.array([corrected(p.min(), log10_p.shape[1]) for p in log10_p])
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


def plot(path: Path, summary: Sequence[dict], images: int, attack: str) -> None:
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
    canvas.suptitle(f"{images} images a class, damage: {attack}", fontsize=10)
    save(canvas, path)
