"""A rectified flow on encoded crops and their captions (Liu et al., ICLR 2023; Esser et al., ICML 2024).

    z_t = (1 - t) z + t n,    target n - z,    e = prediction - target
    loss = |e|^2

with a share of the times drawn from the noisy end, small pictures first, and what a caption adds learnt at a weight as
in :mod:`.diffusion`, which says why.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .bank import encode_crops
from .diffusion import draw_positions
from .graphed import predicting
from .loop import read_checkpoint, write_checkpoint
from .relatives import Captions, base_of, stage_of

__all__ = ["train_flow"]


def train_flow(
    configuration: dict, data: Path, run: Path, device: torch.device, minutes: float | None = None, small: bool = False
) -> bool:
    """Train a rectified flow; arguments as of :func:`~.relative.train_relative`."""
    settings = {"size": configuration["model"]["size"]} | configuration["diffusion"]
    if small:
        settings |= configuration["small"]
    base, name = base_of(configuration, device), "small" if small else "diffusion"
    scale, bank_file = base.codec.scale, run / f"bank-{settings['size']}.pt"
    bank = encode_crops(
        base.pipeline.vae, base.fingerprint, configuration, settings, base.pipeline.tokenizer, data, bank_file, scale
    )
    write_checkpoint(run / "base.pt", base.fingerprint)
    latents, captions = bank["latents"].to(device) * scale, Captions(base, bank["tokens"])
    before = run / "small.pt"
    weights = _averaged(before) if not small and before.exists() else None
    stage = stage_of(configuration, settings, run / f"{name}.pt", device, weights)

    first = torch.arange(settings["batch"])
    nothing = captions(torch.full_like(first, -1))
    example = latents[first.to(device) % len(latents)].float(), torch.zeros(len(first), device=device)
    live, average = predicting(stage, *example, nothing)

    def update() -> dict[str, Tensor]:
        count = settings["batch"]
        chosen = torch.randint(len(latents), (count,), generator=stage.generator)
        dropped = torch.rand(count, generator=stage.generator) < settings["text_dropout"]
        t = draw_positions(settings, stage.generator).to(device).reshape(-1, 1, 1, 1)
        z = latents[chosen.to(device)].float()
        n = torch.randn(z.shape, generator=stage.noise, device=device)
        noisy, target = (1 - t) * z + t * n, n - z
        if settings["caption_weight"] != 1:
            weight = torch.where(dropped, 1.0, settings["caption_weight"]).to(device).reshape(-1, 1, 1, 1)
            with torch.no_grad():
                target = torch.lerp(average(noisy, 1000 * t.flatten(), nothing), target, weight)
        text = captions(torch.where(dropped, -1, chosen))
        loss = (live(noisy, 1000 * t.flatten(), text) - target).square().mean()
        stage.descend("diffusion", loss)
        return {"loss": loss}

    return stage.train(update, minutes)


def _averaged(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged weights of a stage before."""
    state = read_checkpoint(checkpoint)["averages"]["unet"]
    return {key.removeprefix("module."): value for key, value in state.items() if key != "n_averaged"}
