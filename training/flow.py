"""A rectified flow (Liu et al., ICLR 2023) learnt from the diffusion model that it is a relative of.

A flow's point z_t = (1 - t) z + t n is, but for its scale, what a diffusion model sees where signal and noise stand in
the same proportion: with x = alpha z + sigma n at its timestep,

    t = sigma / (alpha + sigma),    z_t = x / (alpha + sigma).

So the base says at every point what velocity n - z to expect there, without the noise that a single pair of picture and
noise has about it, and what a caption adds is as it was learnt there. The U-Net starts from the base's own, narrowed:

    loss = |u(z_t, t) - v|^2,    v = eps - x0 as the base predicts them at x

on encoded crops and their captions, a share of the times drawn from the noisy end, small pictures first.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..models.families.stable_diffusion import data_and_noise
from ..models.latent_diffusion import LatentDiffusion
from .bank import encode_crops
from .diffusion import draw_positions
from .graphed import predicting
from .loop import read_averages, write_checkpoint
from .narrowed import narrowed
from .parts import build_unet
from .precision import autocast
from .relatives import Captions, base_of, stage_of

__all__ = ["Levels", "train_flow"]


def train_flow(
    configuration: dict, data: Path, run: Path, device: torch.device, minutes: float | None = None, small: bool = False
) -> bool:
    """Train a rectified flow; arguments as of :func:`~.relative.train_relative`."""
    settings = {"size": configuration["model"]["size"]} | configuration["diffusion"]
    if small:
        settings |= configuration["small"]
    base, name = base_of(configuration, device), "small" if small else "diffusion"
    levels = Levels(base)
    scale, bank_file = base.codec.scale, run / f"bank-{settings['size']}.pt"
    bank = encode_crops(
        base.pipeline.vae, base.fingerprint, configuration, settings, base.pipeline.tokenizer, data, bank_file, scale
    )
    write_checkpoint(run / "base.pt", base.fingerprint)
    latents, captions = bank["latents"].to(device) * scale, Captions(base, bank["tokens"])
    before = run / "small.pt"
    goes_on = not small and before.exists()
    weights = read_averages(before)["unet"] if goes_on else _of_base(base, configuration)
    stage = stage_of(configuration, settings, run / f"{name}.pt", device, weights)

    first = torch.arange(settings["batch"])
    example = latents[first.to(device) % len(latents)].float(), torch.zeros(len(first), device=device)
    live, _ = predicting(stage, *example, captions(first % len(latents)))

    def update() -> dict[str, Tensor]:
        count = settings["batch"]
        chosen = torch.randint(len(latents), (count,), generator=stage.generator)
        dropped = torch.rand(count, generator=stage.generator) < settings["text_dropout"]
        timesteps = levels.nearest(draw_positions(settings, stage.generator))
        z = latents[chosen.to(device)].float()
        n = torch.randn(z.shape, generator=stage.noise, device=device)
        text = captions(torch.where(dropped, -1, chosen))
        with torch.no_grad(), autocast(device, stage.precision):
            noisy, t, target = levels.velocity(z, n, timesteps, text)
        loss = (live(noisy, 1000 * t, text) - target).square().mean()
        stage.descend("diffusion", loss)
        return {"loss": loss}

    return stage.train(update, minutes)


class Levels:
    """A diffusion model as the flow that goes through its own noise levels.

    Arguments:
        base: The model.

    Raises:
        ModelError: If it is a flow already.

    Attributes:
        times: The flow's times of the model's timesteps, with shape (T,), increasing.
    """

    def __init__(self, base: LatentDiffusion) -> None:
        if base.denoiser.prediction_type == "flow":
            raise ModelError(f"{base.name} is a rectified flow already: set relative.base to a diffusion model")
        self.unet, self.prediction_type = base.pipeline.unet, base.denoiser.prediction_type
        self.alpha, self.sigma = (torch.tensor(level) for level in (base.denoiser.alpha, base.denoiser.sigma))
        self.times = self.sigma / (self.alpha + self.sigma)

    def nearest(self, t: Tensor) -> Tensor:
        """The timesteps at times (B,), or the first after them; the last one, where there is none."""
        return torch.searchsorted(self.times, t).clamp(1, len(self.times) - 1)

    def velocity(self, z: Tensor, n: Tensor, timesteps: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The flow's points between latents z and noise n, (B, C, h, w) each, its times (B,) and velocities there."""
        alpha, sigma = (level[timesteps].to(z.device).reshape(-1, 1, 1, 1) for level in (self.alpha, self.sigma))
        x, t = alpha * z + sigma * n, self.times[timesteps].to(z.device)
        output = self.unet(x, timesteps.to(z.device), encoder_hidden_states=text).sample.float()
        x0, eps = data_and_noise(self.prediction_type, output, x, alpha, sigma)
        return x / (alpha + sigma), t, eps - x0


def _of_base(base: LatentDiffusion, configuration: dict) -> dict[str, Tensor]:
    """The weights of the base's U-Net in one of the configuration's channels."""
    unet = base.pipeline.unet
    weights = {name: value.float().cpu() for name, value in unet.state_dict().items()}
    channels = configuration["diffusion"]["channels"]
    return narrowed(weights, build_unet(configuration).state_dict(), unet.config.block_out_channels, channels)
