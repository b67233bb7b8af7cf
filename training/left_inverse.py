"""Tuning the left inverse of a decoder, `min ||E'(D(z)) - z||^2` over the weights of `E'`.

1. Sample clean latents z from the diffusion model itself, at guidance from 1 to 8 (:mod:`.samples`): that is where an
   encoder trained on photographs is wrong, and where detection needs it.
2. Decode them, mirrored, turned and with a little noise added, round to 8 bits, damage a part of them, and fit `E'` to
   the latents they came from. The decoder is never differentiated.

The loss is the mean of `||E'(x) - z|| / ||z||`, so that no image outweighs the others. What is kept is an exponential
moving average of the weights. Everything is written down as it is made: an interrupted run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ModelError
from ..images import rounded
from ..inversion.nmse import nmse_db
from ..models.latent_diffusion import LatentDiffusion
from ..models.left_inverse import LeftInverse
from .augmentation import DAMAGES, damage
from .timed import Progressed, TimedFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Settings", "Tuning", "draw_curve", "tune"]


@dataclass(frozen=True)
class Settings:
    """How a left inverse is tuned.

    Arguments:
        learning_rate: Peak, after a short warm-up and before a cosine decay over the whole time.
        batch: Images in a step.
        damaged: Share of the images that are compressed, made noisy or blurred before they are encoded.
        latent_noise: Largest standard deviation of the noise added to a latent before it is decoded.
        seed: Seed of prompts, noise and order.
    """

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
    held_out: Tensor,
    *,
    minutes: float,
    folder: Path,
    settings: Settings,
    callback: Progressed | None = None,
) -> Tuning:
    """Tune a left inverse on sampled latents; a run with the same folder goes on where the last one stopped.

    Arguments:
        model: The model; its decoder is used as it is.
        latents, held_out: Clean latents (B, C, h, w) to fit, and to evaluate on, of :func:`~.samples.hold_out`.
        minutes: Time to tune for, that of earlier runs counted in, evaluations not.
        folder: Where checkpoints are kept.
        settings: How.
        callback: Called after each step with the share of the time that has passed and the curve so far.

    Raises:
        ModelError: If the model is in float16, whose range training leaves.
    """
    if model.dtype is torch.float16:
        raise ModelError("a left inverse cannot be tuned in fp16: load the model in fp32 or bf16")
    tests = _tests(model, held_out, settings.seed)

    def make() -> LeftInverse:
        return LeftInverse(model.codec.vae).float().to(model.device, memory_format=torch.channels_last)

    def loss(inverse: LeftInverse, generator: torch.Generator) -> Tensor:
        z, x = _draw(model, latents, settings, generator)
        with torch.autocast(model.device.type, torch.bfloat16):
            found = inverse(x)
        return ((found.float() - z).flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1)).mean()

    def evaluate(inverse: LeftInverse) -> dict[str, float]:
        found = {
            name: torch.cat([inverse(x.to(model.device)).cpu() for x in images.split(1)])
            for name, images in tests.items()
        }
        return {name: nmse_db(z, held_out).mean().item() for name, z in found.items()}

    checkpoint = folder / "checkpoint.pt"
    fit = TimedFit(make, peak=settings.learning_rate, seed=settings.seed, checkpoint=checkpoint)
    fit.run(loss, evaluate, minutes, callback)
    return Tuning(fit.average, fit.curve)


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


def draw_curve(axis: Axes, tuning: Tuning) -> None:
    """Draw the error on held-out latents against the minutes of tuning."""
    minutes = [point["minutes"] for point in tuning.curve]
    for name in DAMAGES:
        axis.plot(minutes, [point[name] for point in tuning.curve], marker="o", markersize=3, label=name)
    axis.set_xlabel("minutes of tuning")
    axis.set_ylabel("NMSE of one call, dB")
    axis.set_title("left inverse", fontsize=10)
    axis.legend(title="damage", fontsize=8)
    axis.grid(alpha=0.3)
