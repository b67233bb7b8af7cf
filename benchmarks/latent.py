"""`wmark bench latent`: what a better latent buys downstream.

Marked images are damaged and inverted: every decoder inversion, then DDIM inversion with every number of steps. What
is measured is the error of the latent, the error of the initial noise, and the p-value of the key where it was planted.
The true latent, which no detector knows, shows what there is to win.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..detectors.statistic import cosine, hypercone_log10_p
from ..detectors.whitening import whiten
from ..images import to_image, to_tensor
from ..inversion.chain import invert_decoder, invert_diffusion
from ..inversion.nmse import nmse_db
from ..inversion.recovery import Recovery
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.noise import initial_noise
from ..watermark.patterns import Pattern
from ..watermark.spectrum import read
from .attacks import attack as damage
from .report import Rows, provenance, table, write_csv, write_json

__all__ = ["STEPS", "run"]

DAMAGES = ("none", "jpeg-25", "noise-0.1")
STEPS = (5, 10, 20, 50)
INVERSIONS: dict[str, tuple[str, dict, bool]] = {
    "encoder": ("encoder", {}, False),
    "left inverse": ("encoder", {}, True),
    "forward x 10": ("forward", {"iterations": 10, "rho": 0.5}, False),
    "Anderson x 3": ("anderson", {"iterations": 3}, False),
    "Anderson x 10": ("anderson", {"iterations": 10}, False),
    "Anderson x 20": ("anderson", {"iterations": 20}, False),
    "left inverse, Anderson x 3": ("anderson", {"iterations": 3}, True),
    "left inverse, Anderson x 10": ("anderson", {"iterations": 10}, True),
    "gradient x 10": ("gradient", {"iterations": 10, "learning_rate": 0.03}, False),
}
"""Method, options, and whether the left inverse stands where the encoder stands."""
TRUE = "true latent"


def run(model: LatentDiffusion, *, images: int, seed: int, out: Path, batch: int = 4, sampling_steps: int = 50) -> dict:
    """Measure, print the table and write `latent.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and invert with.
        images: Marked images, each with a key of its own.
        seed: Seed of keys, prompts and noise.
        out: Folder of the results.
        batch: Images generated together.
        sampling_steps: DDIM steps of the generation.
    """
    settings = dict(seed=seed, sampling_steps=sampling_steps, guidance_scale=7.5, inversions=INVERSIONS)
    about = provenance(model, **settings, images=images, size=list(model.native_size))
    rows = Rows(out / "latent.jsonl", {**settings, "model": about["model"]}, ("image", "damage", "inversion", "steps"))
    inversions = {name: chosen for name, chosen in INVERSIONS.items() if model.codec.tuned or not chosen[2]}
    secret = f"wmark bench latent {seed}".encode().ljust(32, b"\0")[:32]
    prompts = draw_prompts(images, 910_000 + seed)
    wanted = [(attack, name, steps) for attack in DAMAGES for name in inversions for steps in STEPS]
    missing = [i for i in range(images) if any((i, *key) not in rows for key in wanted)]
    with tqdm(total=len(missing), unit="image", disable=None) as bar:
        for start in range(0, len(missing), batch):
            part = missing[start : start + batch]
            keys = [Key.derive(secret, f"key-{i}", Pattern.of()) for i in part]
            noise = torch.cat(
                [
                    initial_noise(k, shape=model.latent_shape(*model.native_size), seed=i)
                    for i, k in zip(part, keys, strict=True)
                ]
            )
            latents = model.sample(noise, [prompts[i] for i in part], Sampling(sampling_steps))
            for j, i in enumerate(part):
                measure(model, rows, i, keys[j], noise[j : j + 1], latents[j : j + 1], inversions)
                bar.update(1)

    summary = [summarise(rows, images, attack, name) for attack in DAMAGES for name in (TRUE, *inversions)]
    summary = [r for r in summary if r]
    result = {**about, "results": summary}
    header = (
        "damage",
        "latent",
        "NMSE dB",
        "seconds",
        *(f"noise, {s} steps" for s in STEPS),
        *(f"p, {s}" for s in STEPS),
    )
    cells = [
        (
            r["damage"],
            r["latent"],
            "" if r["latent"] == TRUE else f"{r['nmse_db']:.1f}",
            f"{r['seconds']:.2f}",
            *(f"{r['noise_nmse_db'][str(s)]:.1f}" for s in STEPS),
            *(f"{r['median_log10_p'][str(s)]:.0f} / {r['worst_log10_p'][str(s)]:.0f}" for s in STEPS),
        )
        for r in summary
    ]
    write_csv(out / "latent.csv", header, cells)
    write_json(out / "latent.json", result)
    plot(out / "latent.png", summary, images)
    print(table(header, cells))
    return result


@torch.no_grad()
def measure(
    model: LatentDiffusion, rows: Rows, index: int, key: Key, noise: Tensor, latent: Tensor, inversions: dict
) -> None:
    """All decoder inversions of one image after each damage, then all numbers of steps, the latents as a batch."""
    picture = to_image(model.decode(latent)[0])
    for attack in DAMAGES:
        image = to_tensor(damage(attack, picture, seed=index))[None].to(model.device)
        found, seconds = {}, {}
        for name, (method, options, tuned) in inversions.items():
            begin = time.perf_counter()
            found[name] = invert_decoder(
                model, Recovery(name, method, options=options, left_inverse=tuned), image
            ).latent
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name] = time.perf_counter() - begin
        if attack == "none":
            found[TRUE], seconds[TRUE] = latent.to(model.device), 0.0
        batch = torch.cat(list(found.values()))
        errors = nmse_db(batch.cpu(), latent.cpu().expand(len(batch), -1, -1, -1))
        for steps in STEPS:
            recovered = invert_diffusion(model, Recovery("", steps=steps), batch).noise.cpu()
            coordinates = read(whiten(recovered), key.pattern).numpy()
            for name, error, estimate, c in zip(found, errors, recovered, coordinates, strict=True):
                rows.add(
                    {
                        "image": index,
                        "damage": attack,
                        "inversion": name,
                        "steps": steps,
                        "nmse_db": round(error.item(), 3) if name != TRUE else None,
                        "noise_nmse_db": round(nmse_db(estimate[None], noise).item(), 3),
                        "log10_p": round(float(hypercone_log10_p(cosine(c, key.direction), len(c))), 3),
                        "seconds": round(seconds[name], 4),
                    }
                )


def summarise(rows: Rows, images: int, attack: str, name: str) -> dict | None:
    found = {steps: rows.select(damage=attack, inversion=name, steps=steps, image=range(images)) for steps in STEPS}
    if not found[STEPS[0]]:
        return None
    errors = [row["nmse_db"] for row in found[STEPS[0]] if row["nmse_db"] is not None]
    return {
        "damage": attack,
        "latent": name,
        "images": len(found[STEPS[0]]),
        "nmse_db": float(np.mean(errors)) if errors else None,
        "seconds": float(np.median([row["seconds"] for row in found[STEPS[0]]])),
        "noise_nmse_db": {str(s): float(np.mean([row["noise_nmse_db"] for row in found[s]])) for s in STEPS},
        "median_log10_p": {str(s): float(np.median([row["log10_p"] for row in found[s]])) for s in STEPS},
        "worst_log10_p": {str(s): float(np.max([row["log10_p"] for row in found[s]])) for s in STEPS},
    }


def plot(path: Path, summary: list[dict], images: int) -> None:
    """Median log10 p against the number of inversion steps, one panel a damage, one line a decoder inversion."""
    from ..figures import figure, save

    canvas, axes = figure(1, len(DAMAGES), width=5 * len(DAMAGES), height=5)
    names = list(dict.fromkeys(r["latent"] for r in summary))
    for axis, attack in zip(axes.flat, DAMAGES, strict=True):
        for r in (r for r in summary if r["damage"] == attack):
            number = names.index(r["latent"])
            colour = "black" if r["latent"] == TRUE else f"C{(number - 1) % 10}"
            axis.plot(
                STEPS, [r["median_log10_p"][str(s)] for s in STEPS], "o-", color=colour, markersize=3, label=r["latent"]
            )
        axis.set_xscale("log")
        axis.set_xticks(STEPS, STEPS)
        axis.minorticks_off()
        axis.set_title(f"damage: {attack}", fontsize=10)
        axis.set_xlabel("DDIM inversion steps")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"log10 p, median of {images} images")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    save(canvas, path)
