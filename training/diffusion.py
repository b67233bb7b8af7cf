"""The diffusion model: a U-Net and a small text encoder on encoded crops and their captions.

    z_t = a_t z + s_t n,    target n (epsilon) or a_t n - s_t z (v-prediction),    e = prediction - target
    loss = w_t |e|^2 + l s_t^2 |m(e)|^2

with w_t the min-SNR weight (Hang et al., ICCV 2023, arXiv 2303.09556) and m(e) the 8x8 means of the error, scaled so
that white error counts alike in both terms: global colour, decided at high noise, is what short training gets wrong,
and why some timesteps are drawn again from the noisy end.

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

import io
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from ..files import sha256, write_atomically
from ..models import architectures
from ..progress import progress
from .autoencoder import build_autoencoder
from .captions import captions, words
from .dataset import Pictures
from .loop import Stage, load_averages, read_checkpoint

__all__ = [
    "build_scheduler",
    "build_text_encoder",
    "build_tokenizer",
    "build_unet",
    "tokenizer_of",
    "train_diffusion",
]


CHUNK = 16
"""Crops that are drawn together for the bank."""


def build_unet(configuration: dict) -> nn.Module:
    """The U-Net; attention stands at a quarter of the latent's side and below."""
    settings = configuration["diffusion"]
    levels = len(settings["channels"])
    return architectures.unet(
        configuration["model"]["size"] // 8,
        settings["channels"],
        [level >= levels // 2 for level in range(levels)],
        heads=settings["heads"],
        context=settings["text_width"],
        layers=settings["layers"],
        groups=settings["groups"],
    )


def build_tokenizer(configuration: dict):
    """CLIP-style byte pairs, learnt on the captions' words: each of them is one token."""
    letters = architectures.byte_letters()
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    merges = byte_pairs(words())
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, *("".join(pair) for pair in merges)]))}
    return architectures.new_tokenizer(vocabulary, merges, configuration["diffusion"]["text_length"])


def tokenizer_of(configuration: dict, run: Path):
    """The tokenizer of a run: that of the model it started from, if it did."""
    kept = run / "tokenizer"
    return architectures.tokenizer(kept) if kept.is_dir() else build_tokenizer(configuration)


def byte_pairs(corpus: list[str]) -> list[tuple[str, str]]:
    """Merges that make one token of each word, the most frequent pair first (Sennrich et al., ACL 2016)."""
    merges = []
    spelt = [[*word[:-1], f"{word[-1]}</w>"] for word in corpus]
    while pairs := Counter(pair for word in spelt for pair in itertools.pairwise(word)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in spelt:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = ["".join(best)]
                i += 1
    return merges


def build_text_encoder(configuration: dict, tokenizer) -> nn.Module:
    settings = configuration["diffusion"]
    return architectures.text_encoder(
        len(tokenizer),
        width=settings["text_width"],
        layers=settings["text_layers"],
        heads=4,
        length=settings["text_length"],
        marks=(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id),
    )


def build_scheduler(configuration: dict):
    """Stable Diffusion's noise levels; for v-prediction, rescaled to end at zero signal."""
    prediction_type = configuration["diffusion"]["prediction_type"]
    return architectures.scheduler(prediction_type, pure_noise=prediction_type == "v_prediction")


def tokenise(tokenizer, prompts: list[str]) -> Tensor:
    """Token ids with shape (B, tokens)."""
    return tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids


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
    settings = {"size": configuration["model"]["size"]} | configuration["diffusion"]
    if small:
        settings |= configuration["small"]
    if settings["prediction_type"] not in ("epsilon", "v_prediction"):
        raise ModelError(f"prediction_type is {settings['prediction_type']!r}: use 'epsilon' or 'v_prediction'")
    torch.manual_seed(seed)
    after_small, scaling_factor = not small and (run / "small.pt").exists(), None
    if after_small:
        start, bank = None, run / f"bank-{configuration['small']['size']}.pt"
        scaling_factor = read_checkpoint(bank)["scaling_factor"]
    elif start and not (run / f"{name}.pt").exists():
        scaling_factor = _take_over(start, run)
    tokenizer = tokenizer_of(configuration, run)
    unet = build_unet(configuration).to(memory_format=torch.channels_last)
    if device.type == "cpu":  # Narrow heads: the backward pass of the fused kernel takes twice as long there.
        architectures.unfuse_attention(unet)
    text_encoder = build_text_encoder(configuration, tokenizer)
    modules = {"unet": unet, "text_encoder": text_encoder}
    if after_small:
        load_averages(run / "small.pt", modules)
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
    bank = _bank(configuration, settings, tokenizer, data, run, device, scaling_factor)
    latents = bank["latents"].to(device) * bank["scaling_factor"]
    tokens = torch.cat([bank["tokens"], tokenise(tokenizer, [""])]).to(device)
    alphas = build_scheduler(configuration).alphas_cumprod.to(device)
    window = min(8, latents.shape[-1])

    @torch.no_grad()
    def without_caption(noisy: Tensor, t: Tensor) -> Tensor:
        with stage.autocast():
            text = stage.averages["text_encoder"](tokens[-1:])[0].expand(len(noisy), -1, -1)
            return stage.averages["unet"](noisy, t, encoder_hidden_states=text).sample.float()

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
            target[~dropped] = torch.lerp(
                without_caption(noisy[~dropped], t[~dropped]), target[~dropped], settings["caption_weight"]
            )
        with stage.autocast():
            text = text_encoder(tokens[caption.to(device)])[0]
            prediction = unet(noisy, t, encoder_hidden_states=text).sample
        error = prediction.float() - target
        plain = min_snr_weight(settings, alpha) * error.square()
        coarse = settings["low_frequency"] * (1 - alpha) * window**2 * F.avg_pool2d(error, window).square()
        losses = {"plain": plain.mean(), "coarse": coarse.mean()}
        stage.descend("diffusion", losses["plain"] + losses["coarse"])
        return losses

    return stage.train(update, minutes)


def draw_timesteps(settings: dict, training_steps: int, generator: torch.Generator) -> Tensor:
    """Timesteps with shape (batch,), a share of them from the noisy end alone."""
    count = settings["batch"]
    position = torch.rand(count, generator=generator)
    noisy = torch.rand(count, generator=generator) < settings["high_noise"]
    start = settings["high_noise_from"]
    return ((torch.where(noisy, start + (1 - start) * position, position)) * training_steps).long()


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


def _bank(
    configuration: dict,
    settings: dict,
    tokenizer,
    data: Path,
    run: Path,
    device: torch.device,
    scaling_factor: float | None = None,
) -> dict:
    """Encoded crops and their captions' tokens, kept beside the checkpoints: `latents`, `tokens`, `scaling_factor`."""
    path = run / f"bank-{settings['size']}.pt"
    vae = build_autoencoder(configuration)
    load_averages(run / "autoencoder.pt", {"vae": vae})
    made_of = sha256(run / "autoencoder.pt"), sha256(data / "manifest.json"), settings["bank"], settings["largest_crop"]
    source = " ".join(map(str, made_of))
    if path.exists():
        bank = torch.load(path, weights_only=True)
        if bank["source"] == source:
            return bank
    vae.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()
    chunk = 1 if device.type == "cpu" else CHUNK
    pictures = Pictures(data, device=device)
    generator = torch.Generator().manual_seed(configuration["model"]["seed"])
    latents, tokens = [], []
    with progress(settings["bank"], "crop") as bar:
        while sum(map(len, latents)) < settings["bank"]:
            count = min(CHUNK, settings["bank"] - sum(map(len, latents)))
            x, subjects = pictures.crops(count, settings["size"], generator, settings["largest_crop"])
            with torch.autocast(device.type, torch.bfloat16, enabled=configuration["model"]["precision"] == "bf16"):
                # Large pictures one by one: on a CPU, a batch of them falls out of the caches and takes twice as long.
                latents.extend(vae.encode(one).latent_dist.mean.half().cpu() for one in x.split(chunk))
            tokens.append(tokenise(tokenizer, captions(x, subjects, seed=len(tokens))))
            bar.update(count)
    z = torch.cat(latents)
    scaling_factor = scaling_factor or float(1 / z.float().std())
    bank = {"latents": z, "tokens": torch.cat(tokens), "scaling_factor": scaling_factor, "source": source}
    content = io.BytesIO()
    torch.save(bank, content)
    write_atomically(path, content.getvalue())
    return bank
