"""`wmark bench autoencoders`: what decoder inversion costs on full-size autoencoders.

The autoencoders of Stable Diffusion 2.1 and InstaFlow (512x512), of LaVie (16 frames of 320x512) and of SDXL
(1024x1024), with random weights, so that nothing is downloaded. Peak memory is counted on tensors without data
(:func:`.memory.counted_memory`), so that what needs 100 GB is known on a laptop. Frames are decoded one by one, but for
the gradient of a whole clip, as one back-propagates when the frames are a batch. Seconds are measured, where wanted
and where the memory is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from tqdm import tqdm

from ..models.architectures import full_size_autoencoder
from ..models.patches.half_precision import widen_stream
from ..models.patches.lean import make_lean
from ..models.reader import Reader, ReaderNet, Shape
from .memory import counted_memory
from .output import Columns, Rows, provenance, tabulate, write_results
from .timing import median_seconds

__all__ = ["SHAPES", "run"]

SHAPES: dict[str, tuple[int, int, int]] = {
    "Stable Diffusion 2.1": (1, 512, 512),
    "InstaFlow": (1, 512, 512),
    "LaVie": (16, 320, 512),
    "SDXL": (1, 1024, 1024),
}
"""Images or frames, height and width. All four use the autoencoder architecture of Stable Diffusion."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
KINDS = ("encoder only", "gradient-free", "Anderson", "gradient-based", "gradient-based, frames at once")


def ratio(row: dict) -> str:
    """Peak memory of the gradient, of all frames at once if there are several, over that without gradients."""
    memory = row["memory_gb"]
    return f"{memory.get('gradient-based, frames at once', memory['gradient-based']) / memory['gradient-free']:.1f}"


COLUMNS: Columns = {
    "shape": "{shape}",
    "images": "{size[0]}x {size[1]}x{size[2]}",
    "precision": "{precision}",
    **{
        f"{kind}, GB": lambda r, kind=kind: f"{r['memory_gb'][kind]:.2f}" if kind in r["memory_gb"] else ""
        for kind in KINDS
    },
    "gradient / gradient-free": ratio,
    "seconds": lambda r: ", ".join(f"{name} {value:.2f}" for name, value in r["seconds"].items()),
}


def autoencoder(dtype: torch.dtype) -> torch.nn.Module:
    """The autoencoder of Stable Diffusion, 84 M parameters, random."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        vae = full_size_autoencoder()
    finally:
        torch.set_default_dtype(before)
    make_lean(vae)
    if dtype is torch.bfloat16:
        widen_stream(vae)
    return vae.requires_grad_(False)


def coders(vae: torch.nn.Module, at_once: int) -> tuple[Callable, Callable]:
    """E and D on a few images at a time."""

    def in_chunks(function: Callable, part: torch.nn.Module) -> Callable:
        dtype = part.conv_in.weight.dtype
        return lambda batch: torch.cat([function(chunk.to(dtype)) for chunk in batch.split(at_once)])

    encode = in_chunks(lambda x: vae.encode(x).latent_dist.mean, vae.encoder)
    return encode, in_chunks(lambda z: vae.decode(z).sample, vae.decoder)


def run(*, out: Path, timed: bool, device: str, repeats: int = 3) -> dict:
    """Count, measure, print the table and write `autoencoders.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        out: Folder of the results.
        timed: Whether to measure seconds of one call of E, of a reader, of D, and of D with its gradient.
        device: Where to measure them.
        repeats: Measurements of each, interleaved; the median counts.
    """
    settings = dict(timed=timed, device=device, repeats=repeats)
    rows = Rows(out / "autoencoders.jsonl", settings, ("shape", "precision"))
    for shape, precision in tqdm(list(product(SHAPES, PRECISIONS)), unit="autoencoder", disable=None):
        if (shape, precision) in rows:
            continue
        size, dtype = list(SHAPES[shape]), PRECISIONS[precision]
        memory = {kind: memory_of(kind, size, dtype) for kind in KINDS if size[0] > 1 or "at once" not in kind}
        same = [row["seconds"] for row in rows.select(size=[size], precision=precision)]
        fits = memory["gradient-based"] < 0.8 * memory_at_hand(device)
        seconds = (same[0] if same else measure_seconds(size, dtype, device, repeats, fits)) if timed else {}
        rows.add({"shape": shape, "size": size, "precision": precision, "memory_gb": memory, "seconds": seconds})
    results = rows.select(shape=list(SHAPES))
    result = {**provenance(None, **settings), "results": results}
    write_results(out / "autoencoders", COLUMNS, results, result)
    plot(out / "autoencoders.png", results)
    print(tabulate(COLUMNS, results))
    return result


def memory_of(kind: str, size: Sequence[int], dtype: torch.dtype) -> float:
    """Peak memory of one iteration beyond the weights, in GB, with all that the solver keeps between iterations."""
    images, height, width = size
    with FakeTensorMode(), torch.no_grad():
        vae = autoencoder(dtype)
        encode, decode = coders(vae, images if "at once" in kind else 1)

        def iterate() -> None:
            x, z = torch.zeros(images, 3, height, width), torch.zeros(images, 4, height // 8, width // 8)
            if kind == "encoder only":
                encode(x)
            elif "gradient-based" in kind:
                for latents, targets in zip(
                    *(t.split(images if "at once" in kind else 1) for t in (z, x)), strict=True
                ):
                    with torch.enable_grad():
                        latents.requires_grad_()
                        torch.autograd.grad((decode(latents).float() - targets).square().mean(), latents)
            else:
                # Anderson remembers the image 9 times: 5 changes, and now, last, the best of it and of its regions.
                remembered = (x.new_zeros(9, *x.shape), x.new_zeros(18, *z.shape)) if kind == "Anderson" else None
                encode(decode(z).clamp(-1, 1)) - z
                del remembered

        return counted_memory(iterate) / 1e9


def memory_at_hand(device: str) -> float:
    """GB of the machine, or free on the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0] / 1e9
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def measure_seconds(
    size: Sequence[int], dtype: torch.dtype, device: str, repeats: int, gradient_fits: bool
) -> dict[str, float]:
    """Median seconds on one image or frame: of E, of a learned reader after it, of D and, where its activations fit, of
    D with its gradient."""
    _, height, width = size
    vae = autoencoder(dtype).to(device)
    encode, decode = coders(vae, 1)
    image = torch.zeros(1, 3, height, width, device=device)
    latent = torch.zeros(1, 4, height // 8, width // 8, device=device)

    def gradient() -> None:
        with torch.enable_grad():
            z = latent.clone().requires_grad_()
            decode(z).float().square().mean().backward()

    reader = Reader(ReaderNet(Shape())).to(torch.device(device))
    calls = {"E": lambda: encode(image), "reader": lambda: reader(latent), "D": lambda: decode(latent)}
    if gradient_fits:
        calls["D and gradient"] = gradient
    return median_seconds(calls, device, repeats)


def plot(path: Path, results: list[dict]) -> None:
    """Peak memory by shape and method, single precision."""
    from ..figures import figure, save

    canvas, axes = figure(1, 1, width=8, height=4.5)
    axis = axes[0, 0]
    shown = [r for r in results if r["precision"] == "fp32"]
    for number, kind in enumerate(KINDS):
        places = [(i, r["memory_gb"][kind]) for i, r in enumerate(shown) if kind in r["memory_gb"]]
        axis.bar([i + (number - 2) * 0.16 for i, _ in places], [gb for _, gb in places], 0.15, label=kind)
    axis.set_xticks(range(len(shown)), ["{}\n{} x {}x{}".format(r["shape"], *r["size"]) for r in shown])
    axis.set_yscale("log")
    axis.set_ylabel("peak memory beyond the weights, GB (fp32)")
    axis.legend(fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    save(canvas, path)
