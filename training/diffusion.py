"""The diffusion model: a U-Net and a small text encoder on encoded crops and their captions.

    z_t = a_t z + s_t n,    target n (epsilon) or a_t n - s_t z (v-prediction),    e = prediction - target
    loss = w_t |e|^2

with w_t the min-SNR weight (Hang et al., ICCV 2023, arXiv 2303.09556). Global colour, decided at high noise, is what
short training gets wrong, and why some timesteps are drawn again from the noisy end. (A further weight on 8x8 means of
the error has most of the gradient and teaches colour no better: textures and edges are then hardly learnt.)

A v-prediction is trained on noise levels that end at pure noise (Lin et al., WACV 2024, arXiv 2305.08891). Stable
Diffusion's end where a fourteenth of the signal is left: enough to read a picture's mean colour and its gradient off
it in training, but there are none to be read where sampling begins, and what it makes of that is a uniform picture.

What a caption adds to the prediction is learnt at a weight k,

    target with a caption:  v(empty) + k (target - v(empty)),    v(empty) of the averaged weights, without a caption

which is guidance distillation (Meng et al., CVPR 2023, arXiv 2210.03142) at a scale below 1. Captions that are computed
from the picture are never wrong, and a model that may believe every word burns out at the guidance of 5 to 7.5 that
people are used to from Stable Diffusion: guided at w, this model does what the other one does at k w.

Where time is short, composition and what words mean are learnt on small pictures first, for a fraction of the cost.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..models import architectures
from .bank import encoded_crops
from .graphed import predicting
from .loop import Stage, load_averages, read_checkpoint
from .parts import build_scheduler, build_text_encoder, build_unet, tokenise, tokenizer_of

__all__ = ["draw_positions", "draw_timesteps", "min_snr_weight", "scaling_factor_of", "train_diffusion"]


def train_diffusion(
    configuration: dict,
    data: Path,
    run: Path,
    device: torch.device,
    minutes: float | None = None,
    start: Path | None = None,
    small: bool = False,
) -> bool:
    """Train the diffusion model, or go on training it; returns whether it is finished.

    The arguments are those of :func:`~.autoencoder.train_autoencoder`, whose stage must have a checkpoint, and

    small: Train on the small pictures of the table `small`; the stage proper starts from the outcome.

    A run that starts from an exported model takes over its tokenizer and its scaling factor.
    """
    seed, name = configuration["model"]["seed"], "small" if small else "diffusion"
    settings = {"size": configuration["model"]["size"]} | configuration["diffusion"] | configuration[name]
    if settings["prediction_type"] not in ("epsilon", "v_prediction"):
        raise ModelError(f"prediction_type is {settings['prediction_type']!r}: use 'epsilon' or 'v_prediction'")
    torch.manual_seed(seed)
    before, scaling_factor = run / "small.pt", None
    goes_on = not small and before.exists()
    if goes_on:
        start, scaling_factor = None, scaling_factor_of(configuration, run)
    elif start and not (run / f"{name}.pt").exists():
        scaling_factor = _take_over(start, run)
    tokenizer = tokenizer_of(configuration, run)
    unet = build_unet(configuration).to(memory_format=torch.channels_last)
    if device.type == "cpu":  # Narrow heads: the backward pass of the fused kernel takes twice as long there.
        architectures.unfuse_attention(unet)
    text_encoder = build_text_encoder(configuration, tokenizer)
    modules = {"unet": unet, "text_encoder": text_encoder}
    if goes_on:
        load_averages(before, modules)
    stage = Stage(
        run / f"{name}.pt",
        configuration["model"],
        settings,
        modules,
        averaged=list(modules),
        optimizers={"diffusion": list(modules)},
        device=device,
        start=start,
    )
    bank = encoded_crops(configuration, settings, tokenizer, data, run, device, scaling_factor)
    latents = bank["latents"].to(device) * bank["scaling_factor"]
    tokens = torch.cat([bank["tokens"], tokenise(tokenizer, [""])]).to(device)
    alphas = build_scheduler(configuration).alphas_cumprod.to(device)

    def encode(chosen: Tensor) -> Tensor:
        with stage.autocast():
            return text_encoder(tokens[chosen.to(device)])[0].float()

    @torch.no_grad()
    def without_caption(noisy: Tensor, t: Tensor) -> Tensor:
        with stage.autocast():
            text = stage.averages["text_encoder"](tokens[-1:])[0].float()
        return average(noisy, t, text.expand(len(noisy), -1, -1))

    first = torch.arange(settings["batch"])
    example = latents[first.to(device) % len(latents)].float(), torch.zeros_like(first).to(device)
    live, average = predicting(stage, *example, encode(first % len(latents)).detach().requires_grad_())

    def update() -> dict[str, Tensor]:
        count = settings["batch"]
        chosen = torch.randint(len(latents), (count,), generator=stage.generator)
        dropped = torch.rand(count, generator=stage.generator) < settings["text_dropout"]
        caption = torch.where(dropped, -1, chosen)
        t = draw_timesteps(settings, len(alphas), stage.generator).to(device)
        z = latents[chosen.to(device)].float()
        n = torch.randn(z.shape, generator=stage.noise, device=device)
        alpha = alphas[t].reshape(-1, 1, 1, 1)
        noisy = alpha.sqrt() * z + (1 - alpha).sqrt() * n
        velocity = settings["prediction_type"] == "v_prediction"
        target = alpha.sqrt() * n - (1 - alpha).sqrt() * z if velocity else n
        if settings["caption_weight"] != 1:
            weight = torch.where(dropped, 1.0, settings["caption_weight"]).to(device).reshape(-1, 1, 1, 1)
            target = torch.lerp(without_caption(noisy, t), target, weight)
        error = live(noisy, t, encode(caption)) - target
        loss = (min_snr_weight(settings, alpha) * error.square()).mean()
        stage.descend("diffusion", loss)
        return {"loss": loss}

    return stage.train(update, minutes)


def scaling_factor_of(configuration: dict, run: Path) -> float:
    """The scaling factor of a run's latents, from the first of its banks."""
    small, whole = (run / f"bank-{configuration[table]['size']}.pt" for table in ("small", "model"))
    return read_checkpoint(small if small.exists() else whole)["scaling_factor"]


def draw_timesteps(settings: dict, training_steps: int, generator: torch.Generator) -> Tensor:
    """Timesteps with shape (batch,), a share of them from the noisy end alone."""
    return (draw_positions(settings, generator) * training_steps).long()


def draw_positions(settings: dict, generator: torch.Generator) -> Tensor:
    """Times from 0 to 1, with shape (batch,), a share of them from the noisy end alone."""
    count = settings["batch"]
    position = torch.rand(count, generator=generator)
    noisy = torch.rand(count, generator=generator) < settings["high_noise"]
    start = settings["high_noise_from"]
    return torch.where(noisy, start + (1 - start) * position, position)


def min_snr_weight(settings: dict, alpha: Tensor) -> Tensor:
    """min(SNR, gamma) / SNR for epsilon, over SNR + 1 for v-prediction; alpha is the squared signal level."""
    snr = alpha / (1 - alpha)
    return snr.clamp_max(settings["snr_ceiling"]) / (snr + (settings["prediction_type"] == "v_prediction"))


def _take_over(start: Path, run: Path) -> float:
    """Keep the tokenizer of an exported model for the run; returns the model's scaling factor."""
    try:
        factor = json.loads((start / "vae" / "config.json").read_text())["scaling_factor"]
        shutil.copytree(start / "tokenizer", run / "tokenizer", dirs_exist_ok=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{start} is not an exported model to start from") from error
    return factor
