"""`wmark bench cocoercivity`: does the assumption hold under which the iterations converge?

Hong et al. (NeurIPS 2024, section 3) prove that their iterations converge where `T` is cocoercive towards the solution:

    <T(z_k) - T(z*), z_k - z*>  >=  beta ||T(z_k) - T(z*)||^2        for some beta > 0 along the path.

Where the true latent z* is known, beta can be measured: at each iterate it is the left side over the square on the
right. The forward step method with step rho needs beta > rho / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from ..inversion.nmse import nmse_db
from ..models.base import Coder
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from .corpus import Corpus, rounded_images, unseen_latents
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["cocoercivity", "run"]


def columns(rho: float) -> Columns:
    return {
        "E": "{encoder}",
        "images": "{images}",
        "holds": "{share_that_holds:.1%}",
        f"beta > {rho / 2:g}": "{share_above_half_the_step:.1%}",
        "median beta": "{median_beta:.2f}",
        "NMSE, first": "{nmse_db_first:.1f}",
        "NMSE, last": "{nmse_db_last:.1f}",
        "rank correlation": "{rank_correlation:.2f}",
    }


def run(
    model: LatentDiffusion,
    *,
    images: int,
    iterations: int,
    rho: float,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure along the forward step method's path, print a table and write `cocoercivity.{csv,json,png}`.

    Arguments:
        model: The model to generate and invert with; its tuned left inverse is measured, too, if it has one.
        images: Images.
        iterations: Length of the path.
        rho: Step size.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.
    """
    settings = dict(iterations=iterations, rho=rho, seed=seed)
    generated = dict(images=images, guidance_scale=sampling.guidance_scale, sampling_steps=sampling.steps)
    about = provenance(model, **settings, **generated)
    rows = Rows(out / "cocoercivity.jsonl", {**settings, "model": about["model"]}, ("image", "encoder"))
    latents = unseen_latents(Corpus(model, sampling, out), images, seed)
    encoders: dict[str, Coder] = {"encoder": model.encode}
    if model.codec.left_inverse:
        encoders["left inverse"] = partial(model.encode, tuned=True)
    measure(model, rows, latents, encoders, iterations, rho)

    summary = {name: summarise(rows.select(encoder=name), rho) for name in encoders}
    result = {**about, "results": summary, "images": list(rows.rows.values())}
    shown = [{"encoder": name, **r} for name, r in summary.items()]
    write_results(out / "cocoercivity", columns(rho), shown, result)
    plot(out / "cocoercivity.png", rows, tuple(encoders), rho)
    print(tabulate(columns(rho), shown))
    return result


def measure(
    model: LatentDiffusion, rows: Rows, latents: Tensor, encoders: Mapping[str, Coder], iterations: int, rho: float
) -> None:
    """Follow the path of every latent with every encoder, unless that was done."""
    for i, latent in enumerate(tqdm(latents.split(1), unit="image", disable=None)):
        missing = [name for name in encoders if (i, name) not in rows]
        image = rounded_images(model, latent) if missing else None
        for name in missing:
            truth = latent.to(model.device)
            path = cocoercivity(encoders[name], model.decode, image, truth, iterations=iterations, rho=rho)
            rows.add({"image": i, "encoder": name, **path})


@torch.no_grad()
def cocoercivity(
    encode: Coder, decode: Coder, image: Tensor, latent: Tensor, *, iterations: int, rho: float
) -> dict[str, list]:
    """beta and NMSE in dB along the path of the forward step method.

    Arguments:
        encode, decode: `E` and `D`.
        image: One image, with shape (1, 3, H, W) in [-1, 1].
        latent: Its true latent z*, with shape (1, C, h, w).
        iterations: Length of the path.
        rho: Step size.
    """
    encoded = encode(image).float()
    residual = lambda z: encode(decode(z).clamp(-1, 1)).float() - encoded  # noqa: E731
    at_solution = residual(latent)
    z, betas, errors = encoded, [], []
    for _ in range(iterations + 1):
        slope = residual(z)
        change, distance = (slope - at_solution).flatten(), (z - latent).flatten()
        betas.append(round(float(change @ distance / change.square().sum()), 5))
        errors.append(round(nmse_db(z, latent).item(), 4))
        z = z - rho * slope
    return {"beta": betas, "nmse_db": errors}


def summarise(rows: list[dict], rho: float) -> dict:
    """Shares of the images on whose whole path the assumption holds, and how it goes with the error at its end."""
    beta = np.array([min(row["beta"]) for row in rows])
    last = np.array([row["nmse_db"][-1] for row in rows])
    return {
        "images": len(rows),
        "share_that_holds": float((beta > 0).mean()),
        "share_above_half_the_step": float((beta > rho / 2).mean()),
        "median_beta": float(np.median(beta)),
        "nmse_db_first": float(np.mean([row["nmse_db"][0] for row in rows])),
        "nmse_db_last": float(last.mean()),
        "rank_correlation": float(spearmanr(beta, last).statistic) if len(rows) > 2 else float("nan"),
    }


def plot(path: Path, rows: Rows, encoders: tuple[str, ...], rho: float) -> None:
    """beta along the path, and the smallest beta of each image against the error at its end."""
    from ..figures import figure, save

    canvas, axes = figure(1, 2, width=11, height=4.2)
    for number, name in enumerate(encoders):
        found = rows.select(encoder=name)
        beta = np.array([row["beta"] for row in found])
        steps = np.arange(beta.shape[1])
        axes[0, 0].plot(steps, np.median(beta, axis=0), color=f"C{number}", label=f"{name}: median")
        axes[0, 0].fill_between(steps, *np.quantile(beta, [0.05, 0.95], axis=0), color=f"C{number}", alpha=0.2)
        axes[0, 1].plot(
            beta.min(axis=1), [row["nmse_db"][-1] for row in found], ".", color=f"C{number}", label=f"T with the {name}"
        )
    axes[0, 0].axhline(rho / 2, color="black", linewidth=0.8, linestyle=":", label="half the step")
    axes[0, 0].set_xlabel(f"iteration of the forward step method, rho = {rho:g}")
    axes[0, 0].set_ylabel("beta, 5% to 95% of the images")
    axes[0, 1].axvline(0, color="black", linewidth=0.8)
    axes[0, 1].set_xlabel("smallest beta on the path")
    axes[0, 1].set_ylabel("NMSE at its end, dB")
    for axis in axes.flat:
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    save(canvas, path)
