"""One step from noise to latent, distilled from a rectified flow as InstaFlow is (Liu et al., ICLR 2024).

The teacher's own pairs of noise n and latent z, sampled at a guidance scale that is thereby baked in, are what the
student learns, on the straight line between them:

    z_t = (1 - t) z + t n,    target n - z

at all times first (reflow, which leaves the lines that the flow bends), then at t = 1 alone (distillation): there
`n - prediction` is the latent. The student starts from the teacher's weights. InstaFlow draws new pairs from the
reflowed model for its second half; here both halves share the teacher's. Pairs are sampled once and mirrored at random.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..models.latent_diffusion import LatentDiffusion
from ..models.registry import load_model
from ..models.sampling import Sampling
from ..progress import progress
from .graphed import predicting
from .loop import read_checkpoint, write_checkpoint
from .parts import tokenise
from .precision import autocast
from .relatives import Captions, base_of, stage_of
from .samples import draw_prompt

__all__ = ["sample_pairs", "train_one_step"]


def train_one_step(configuration: dict, run: Path, device: torch.device, minutes: float | None = None) -> bool:
    """Distil a flow; arguments as of :func:`~.relative.train_relative`."""
    base, settings = base_of(configuration, device), configuration["distil"]
    teacher = load_model(configuration["relative"]["teacher"], device=str(device), tuned=False)
    if teacher.denoiser.prediction_type != "flow":
        raise ModelError(f"the teacher {teacher.name} is no rectified flow: set relative.teacher to one")
    write_checkpoint(run / "base.pt", base.fingerprint)
    prompts, latents = sample_pairs(configuration, teacher, run)
    captions = Captions(base, tokenise(base.pipeline.tokenizer, prompts))
    weights = {name: value.float() for name, value in teacher.pipeline.unet.state_dict().items()}
    stage = stage_of(configuration, settings, run / "diffusion.pt", device, weights)
    seed, first = configuration["model"]["seed"], torch.arange(settings["batch"]) % len(latents)
    live, _ = predicting(
        stage, latents[first].float().to(device), torch.zeros(len(first), device=device), captions(first)
    )

    def update() -> dict[str, Tensor]:
        chosen = torch.randint(len(latents), (settings["batch"],), generator=stage.generator)
        t = torch.rand(settings["batch"], generator=stage.generator)
        mirrored = torch.rand(settings["batch"], generator=stage.generator) < 0.5
        if stage.done >= settings["reflow_until"]:
            t = torch.ones_like(t)
        z = latents[chosen].float()
        n = torch.stack([pair_noise(seed, i, z.shape[1:]) for i in chosen.tolist()])
        z[mirrored], n[mirrored] = z[mirrored].flip(-1), n[mirrored].flip(-1)
        z, n, t = z.to(device), n.to(device), t.to(device).reshape(-1, 1, 1, 1)
        prediction = live((1 - t) * z + t * n, 1000 * t.flatten(), captions(chosen))
        loss = (prediction - (n - z)).square().mean()
        stage.descend("diffusion", loss)
        return {"loss": loss}

    return stage.train(update, minutes)


def pair_noise(seed: int, index: int, shape: torch.Size) -> Tensor:
    """The initial noise of a pair, (C, h, w), the same whenever it is asked for."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed * 1_000_000 + index))


def sample_pairs(configuration: dict, teacher: LatentDiffusion, run: Path) -> tuple[list[str], Tensor]:
    """Prompts and what the teacher makes of them, (N, C, h, w) in half precision; kept batch by batch as they come.

    Raises:
        ModelError: If those kept are of another teacher.
    """
    settings, model = configuration["pairs"], configuration["model"]
    shape, seed = teacher.latent_shape(*teacher.native_size), model["seed"]
    rng, prompts = random.Random(seed), []
    for _ in range(settings["count"]):
        prompts.append(draw_prompt(rng))
    sampling = Sampling(settings["steps"], settings["guidance_scale"])
    parts, made_of = [], f"{teacher.fingerprint} {sampling} {seed}"
    with progress(settings["count"], "pair") as bar:
        for start in range(0, settings["count"], settings["batch"]):
            some, path = prompts[start : start + settings["batch"]], run / "pairs" / f"{start:06d}.pt"
            if path.exists():
                kept = read_checkpoint(path)
                if (kept["source"], len(kept["latents"])) != (made_of, len(some)):
                    raise ModelError(f"{path.parent} has pairs of another teacher or sampling: choose another --run")
                latents = kept["latents"]
            else:
                noise = torch.stack([pair_noise(seed, start + i, shape) for i in range(len(some))])
                with autocast(teacher.device, model["precision"]):
                    latents = teacher.sample(noise, some, sampling).half().cpu()
                write_checkpoint(path, {"latents": latents, "source": made_of})
            parts.append(latents)
            bar.update(len(some))
    return prompts, torch.cat(parts)
