"""`wmark bench gradients`: what the gradient of a sampling chain costs, kept whole, for one step, or wired reversibly.

An initial noise is optimised until the latent that it is sampled to is a given one (SDO's problem), by plain
back-propagation, with the graph of a random or of the last step, and through the wired chain. Loss by seconds of the
processor, and memory by the number of steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from tqdm import tqdm

from ..inversion.shortcut import optimise, through
from ..inversion.wiring import reversible
from ..models import architectures
from ..models.base import Schedule
from ..models.families.stable_diffusion import UNetDenoiser
from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import Predictor
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..models.schedule import Grid
from ..models.wired import MIX, blocks
from .corpus import Corpus, Origin
from .memory import counted_memory, peak_memory
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["LENGTHS", "WAYS", "run"]

LENGTHS = (10, 20, 50)
WAYS = ("all", "random", "last", "wired")
"""Which graphs are kept: all, one, or none."""

COLUMNS: Columns = {
    "graph": "{way}",
    "steps": "{steps}",
    "memory MB": "{memory_mb:.0f}",
    "SD 2.1, GB": "{full_size_gb:.1f}",
    "loss at first": "{first:.4f}",
    "loss at last": "{last:.4f}",
    "seconds": "{seconds:.1f}",
    "seconds to the loss of `all`": lambda r: "" if r["reaches"] is None else f"{r['reaches']:.1f}",
}


def run(model: LatentDiffusion, *, images: int, iterations: int, steps: int, seed: int, out: Path) -> dict:
    """Measure, print the table and write `gradients.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model whose chain it is.
        images: Noises that are optimised.
        iterations: Updates of plain back-propagation; the others get as much time.
        steps: Sampling steps of the optimisation.
        seed: Seed of noises and targets.
        out: Folder of the results.
    """
    settings = dict(seed=seed, images=images, iterations=iterations, steps=steps)
    about = provenance(model, **settings)
    rows = Rows(out / "gradients.jsonl", {**settings, "model": about["model"]}, ("way", "steps"))
    corpus, prompts = Corpus(model, Sampling(20, 1.0), out), draw_prompts(images, 960_000 + seed)
    target = corpus.latents([Origin.draw(model, prompt, 1000 * seed + i) for i, prompt in enumerate(prompts)])
    for way in tqdm(WAYS, unit="way", disable=None):
        for length in LENGTHS:
            if (way, length) not in rows:
                sizes = {"memory": memory_of(model, way, length), "full_size": full_size_memory(way, length)}
                rows.add({"way": way, "steps": length, **sizes})
        if (way, 0) not in rows:
            whole = rows.select(way="all", steps=0)
            limit = whole[0]["seconds"][-1] if whole else None
            rows.add({"way": way, "steps": 0, **descent(model, way, target, settings, limit)})
    reference = rows.select(way="all", steps=0)[0]["loss"][-1]
    summary = [summarise(rows, way, length, reference) for way in WAYS for length in LENGTHS]
    result = {**about, "results": summary, "descents": rows.select(steps=0)}
    write_results(out / "gradients", COLUMNS, summary, result)
    plot(out / "gradients.png", summary, result["descents"])
    print(tabulate(COLUMNS, summary))
    return result


def runner(predict: Predictor, schedule: Schedule, way: str, steps: int, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """The function from noise to latent, with a gradient of one kind."""
    grid = Grid.of(schedule, steps)
    if way != "wired":
        return through(blocks(predict, grid, 0.0), way, seed)
    chain = blocks(predict, grid)
    return lambda z: reversible(chain, z, z, torch.full((steps,), MIX, device=z.device))[0]


def memory_of(model: LatentDiffusion, way: str, steps: int) -> float:
    """Peak memory of one gradient of one noise, in MB."""
    chain, shape = runner(*asked(model), way, steps), (1, *model.latent_shape(*model.native_size))
    return round(peak_memory(partial(differentiate, chain, shape, model.device), model.device) / 1e6, 2)


def full_size_memory(way: str, steps: int) -> float:
    """The same for the U-Net of Stable Diffusion 2.1 in bfloat16, at 512x512, in MB: counted, nothing is computed."""
    fake, before = FakeTensorMode(), torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with fake:
            unet = architectures.full_size_unet(64).requires_grad_(False)
            condition = torch.zeros(1, 77, 1024)
    finally:
        torch.set_default_dtype(before)
    denoiser = UNetDenoiser(unet, architectures.scheduler("v_prediction"))
    chain = runner(partial(denoiser.predict, condition=condition), denoiser.schedule, way, steps)
    with fake:
        return round(counted_memory(partial(differentiate, chain, (1, 4, 64, 64), torch.device("cpu"))) / 1e6, 2)


def differentiate(chain: Callable[[Tensor], Tensor], shape: Sequence[int], device: torch.device) -> None:
    """One gradient through a chain."""
    noise = torch.zeros(tuple(shape), device=device, requires_grad=True)
    torch.autograd.grad(chain(noise).square().sum(), noise)


def asked(model: LatentDiffusion) -> tuple[Predictor, Schedule]:
    """What a model says without a prompt, and its levels."""
    return partial(model.denoiser.predict, condition=model.unprompted), model.denoiser.schedule


def descent(model: LatentDiffusion, way: str, target: Tensor, settings: dict, limit: float | None) -> dict:
    """Mean losses by iteration, and seconds at each; as many iterations as fit into a time limit, if there is one."""
    target = target.to(model.device)
    start = torch.randn(target.shape, generator=torch.Generator().manual_seed(settings["seed"])).to(model.device)
    seconds, losses, begin = [], [], time.process_time()

    def note(_: int, loss: Tensor) -> None:
        seconds.append(round(time.process_time() - begin, 3))
        losses.append(float(loss.mean()))
        if limit is not None and seconds[-1] > limit:
            raise TimeoutError

    chain = runner(*asked(model), way, settings["steps"], settings["seed"])
    many = settings["iterations"] if limit is None else 50 * settings["iterations"]
    with contextlib.suppress(TimeoutError):
        optimise(chain, start, lambda z: (z - target).flatten(1).square().mean(1), iterations=many, callback=note)
    return {"loss": losses, "seconds": seconds}


def summarise(rows: Rows, way: str, steps: int, reference: float) -> dict:
    """Memory at a number of steps, and how the descent went."""
    of = rows.select(way=way, steps=0)[0]
    reached = [t for t, loss in zip(of["seconds"], of["loss"], strict=True) if loss <= reference]
    return {
        "way": way,
        "steps": steps,
        "memory_mb": rows.select(way=way, steps=steps)[0]["memory"],
        "full_size_gb": rows.select(way=way, steps=steps)[0]["full_size"] / 1e3,
        "first": of["loss"][0],
        "last": min(of["loss"]),
        "seconds": of["seconds"][-1],
        "reaches": reached[0] if reached else None,
    }


def plot(path: Path, summary: Sequence[dict], descents: Sequence[dict]) -> None:
    """Memory against steps, and loss against seconds, a line for each way."""
    from ..figures import figure, save

    canvas, axes = figure(1, 2, width=11, height=4.2)
    for way in WAYS:
        points = [r for r in summary if r["way"] == way]
        axes[0, 0].plot([r["steps"] for r in points], [r["memory_mb"] for r in points], "o-", label=way)
        (of,) = [r for r in descents if r["way"] == way]
        best = [min(of["loss"][: i + 1]) for i in range(len(of["loss"]))]
        axes[0, 1].plot(of["seconds"], best, label=way)
    axes[0, 0].set_xlabel("sampling steps")
    axes[0, 0].set_ylabel("memory of a gradient, MB")
    axes[0, 1].set_xlabel("seconds of the processor")
    axes[0, 1].set_ylabel("mean square distance of the latent")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.set_yscale("log")
    axes[0, 1].legend()
    save(canvas, path)
