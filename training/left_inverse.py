"""Tuning the left inverse of a decoder, `min ||E'(D(z)) - z||^2` over the weights of `E'`.

1. Sample clean latents z from the diffusion model itself, at guidance from 1 to 8 (:mod:`.samples`): that is where an
   encoder trained on photographs is wrong, and where detection needs it.
2. Decode them, mirrored, turned and with a little noise added, round to 8 bits, damage a part of them, and fit `E'` to
   the latents they came from. The decoder is never differentiated.

The loss is the mean of `||E'(x) - z|| / ||z||`, so that no image outweighs the others. What is kept is an exponential
moving average of the weights. Everything is written down as it is made: an interrupted run goes on.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..figures import figure, save
from ..files import sha256
from ..images import rounded
from ..inversion.nmse import nmse_db
from ..models.latent_diffusion import LatentDiffusion
from ..models.left_inverse import FILE_NAME, LeftInverse, user_path
from ..models.registry import EMBEDDED
from .augmentation import DAMAGES, damage
from .loop import read_checkpoint, write_checkpoint

__all__ = [
    "HELD_OUT",
    "Settings",
    "Tuning",
    "default_output",
    "draw_curve",
    "tune",
    "working_folder",
]

HELD_OUT = 16
EVALUATE_EVERY = 120.0
"""Seconds of tuning between two evaluations, each followed by a checkpoint."""


@dataclass(frozen=True)
class Settings:
    """How a left inverse is tuned.

    Arguments:
        latents: Sampled latents to fit, beside the 16 that are held out.
        sampling_steps: DDIM steps of each.
        learning_rate: Peak, after a short warm-up and before a cosine decay over the whole time.
        batch: Images in a step.
        damaged: Share of the images that are compressed, made noisy or blurred before they are encoded.
        latent_noise: Largest standard deviation of the noise added to a latent before it is decoded.
        seed: Seed of prompts, noise and order.
    """

    latents: int = 384
    sampling_steps: int = 20
    learning_rate: float = 4e-4
    batch: int = 1
    damaged: float = 0.5
    latent_noise: float = 0.2
    seed: int = 0


@dataclass
class Tuning:
    """What a tuning has come to.

    Attributes:
        inverse: The tuned left inverse.
        curve: Mean NMSE in dB on held-out latents, by damage, one entry an evaluation: `minutes`, `steps` and the names
            of :data:`DAMAGES`. The first is the encoder's.
    """

    inverse: LeftInverse
    curve: list[dict] = field(default_factory=list)


def tune(
    model: LatentDiffusion,
    latents: Tensor,
    *,
    minutes: float,
    folder: Path,
    settings: Settings,
    callback: Callable[[float, list[dict]], None] | None = None,
) -> Tuning:
    """Tune a left inverse on sampled latents; a run with the same folder goes on where the last one stopped.

    Arguments:
        model: The model; its decoder is used as it is.
        latents: Clean latents (B, C, h, w) from :func:`~.samples.sample_latents`. 16, evenly spread, are held out.
        minutes: Time to tune for, that of earlier runs counted in, evaluations not.
        folder: Where checkpoints are kept.
        settings: How.
        callback: Called after each step with the share of the time that has passed and the curve so far.

    Raises:
        ModelError: If there are no latents to learn from, or the model is in float16, whose range training leaves.
    """
    if model.dtype is torch.float16:
        raise ModelError("a left inverse cannot be tuned in fp16: load the model in fp32 or bf16")
    if len(latents) <= HELD_OUT:
        raise ModelError(f"{len(latents)} latents are too few to tune on: {HELD_OUT} are held out")
    apart = torch.zeros(len(latents), dtype=torch.bool)
    apart[torch.linspace(0, len(latents) - 1, HELD_OUT).long()] = True
    held_out, latents = latents[apart], latents[~apart]
    tests = _tests(model, held_out, settings.seed)
    fit = _Fit(model, settings, folder / "checkpoint.pt")
    if not fit.curve:
        fit.evaluate(tests, held_out)
    begin = time.perf_counter()
    while (share := fit.spent / (60 * minutes)) < 1:
        fit.step(*_draw(model, latents, settings, fit.generator), share)
        now = time.perf_counter()
        fit.spent, begin = fit.spent + now - begin, now
        if fit.spent - fit.evaluated_at >= EVALUATE_EVERY or fit.spent >= 60 * minutes:
            fit.evaluate(tests, held_out)
            begin = time.perf_counter()
        if callback:
            callback(fit.spent / (60 * minutes), fit.curve)
    return Tuning(fit.average, fit.curve)


class _Fit:
    """A tuning under way, from its last checkpoint on.

    Attributes:
        tuned, average: The left inverse, and the moving average of its weights.
        curve: As of :class:`Tuning`.
        spent, evaluated_at: Seconds of tuning so far, and up to the last evaluation.
        steps: Steps so far.
        generator: What draws latents, noise and damage.
    """

    def __init__(self, model: LatentDiffusion, settings: Settings, checkpoint: Path) -> None:
        self.checkpoint, self.device, self.peak = checkpoint, model.device, settings.learning_rate
        self.tuned, self.average = (
            LeftInverse(model.codec.vae).float().to(model.device, memory_format=torch.channels_last) for _ in range(2)
        )
        self.parameters = list(self.tuned.requires_grad_(True).parameters())
        self.averages = list(self.average.requires_grad_(False).parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.peak, betas=(0.9, 0.99), weight_decay=0.0)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.curve, self.spent, self.steps, self.evaluated_at = [], 0.0, 0, -math.inf
        if checkpoint.exists():
            self._load()

    def step(self, z: Tensor, x: Tensor, share: float) -> None:
        """One step towards `E'(x) = z`, after a share of the time: linear warm-up, cosine decay to a hundredth."""
        rate = min(1, (self.steps + 1) / 50) * (0.505 + 0.495 * math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * rate
        with torch.autocast(self.device.type, torch.bfloat16):
            found = self.tuned(x)
        loss = ((found.float() - z).flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.steps += 1
        torch._foreach_lerp_(self.averages, self.parameters, 1 - min(0.995, self.steps / (self.steps + 10)))

    @torch.no_grad()
    def evaluate(self, tests: dict[str, Tensor], held_out: Tensor) -> None:
        """Add a point to the curve, by the images of held-out latents (B, C, h, w), and write a checkpoint."""
        found = {
            name: torch.cat([self.average(x.to(self.device)).cpu() for x in images.split(1)])
            for name, images in tests.items()
        }
        errors = {name: nmse_db(z, held_out).mean().item() for name, z in found.items()}
        self.curve.append({"minutes": self.spent / 60, "steps": self.steps, **errors})
        self.evaluated_at = self.spent
        parts = {name: getattr(self, name).state_dict() for name in ("tuned", "average", "optimizer")}
        state = {"generator": self.generator.get_state(), "curve": self.curve, "spent": self.spent, "step": self.steps}
        write_checkpoint(self.checkpoint, {**parts, **state, "evaluated_at": self.evaluated_at})

    def _load(self) -> None:
        saved = read_checkpoint(self.checkpoint, self.device)
        for name in ("tuned", "average", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        self.generator.set_state(saved["generator"].cpu())
        self.curve, self.spent, self.steps = saved["curve"], saved["spent"], saved["step"]
        self.evaluated_at = saved["evaluated_at"]


def _draw(
    model: LatentDiffusion, latents: Tensor, settings: Settings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch of latents (B, C, h, w) and of the images (B, 3, H, W) they decode to, as a detector would meet them."""
    draw = lambda: torch.rand(1, generator=generator).item()  # noqa: E731
    chosen = []
    for index in torch.randint(len(latents), (settings.batch,), generator=generator):
        z = latents[index]
        z = torch.rot90(z, int(4 * draw()), (1, 2)) if z.shape[1] == z.shape[2] else z
        z = z.flip(2) if draw() < 0.5 else z
        spread = settings.latent_noise * max(0.0, 2 * draw() - 1)
        chosen.append(z + spread * torch.randn(z.shape, generator=generator))
    z = torch.stack(chosen).to(model.device)
    with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16):
        decoded = model.decode(z).float().cpu()
    images = [damage(image, draw, generator) if draw() < settings.damaged else image for image in decoded]
    x = torch.stack([rounded(image) for image in images])
    return z, x.to(model.device, memory_format=torch.channels_last)


def _tests(model: LatentDiffusion, latents: Tensor, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        decoded = torch.cat([model.decode(z).float().cpu() for z in latents.split(1)])
    return {
        name: torch.stack([rounded(apply(image, generator)) for image in decoded]) for name, apply in DAMAGES.items()
    }


def default_output(name: str, fingerprint: str) -> Path:
    """Where `verify` looks for the left inverse of a model: beside a model in the user's own folder, else in the user's
    data folder, as the embedded model and those of the hub are not to be written to."""
    folder = Path(name)
    ours = name not in EMBEDDED and folder.is_dir() and os.access(folder, os.W_OK)
    return folder / FILE_NAME if ours else user_path(fingerprint)


def working_folder(fingerprint: str, prompts: Sequence[str], seed: int) -> Path:
    """Where the latents and checkpoints of a tuning are kept until it is finished."""
    from platformdirs import user_cache_path

    return user_cache_path("wmark") / "tune" / f"{fingerprint}-{sha256(chr(10).join(prompts).encode())[:8]}-{seed}"


def draw_curve(tuning: Tuning, path: Path, model: str) -> None:
    """Draw the error on held-out latents against the minutes of tuning, into a file.

    Raises:
        WmarkError: If matplotlib is missing or the file cannot be written in its format.
    """
    drawing, axes = figure(1, 1, width=6, height=4)
    axis = axes[0, 0]
    minutes = [point["minutes"] for point in tuning.curve]
    for name in DAMAGES:
        axis.plot(minutes, [point[name] for point in tuning.curve], marker="o", markersize=3, label=name)
    axis.set_xlabel("minutes of tuning")
    axis.set_ylabel("NMSE of one call, dB")
    axis.set_title(f"Left inverse of {model}, {HELD_OUT} held-out latents", fontsize=10)
    axis.legend(title="damage", fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    axis.grid(alpha=0.3)
    save(drawing, path)
