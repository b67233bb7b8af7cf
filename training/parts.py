"""The parts of the model as its configuration describes them, untrained."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..models import architectures
from .captions import words

if TYPE_CHECKING:
    from ..models.architectures import CLIPTokenizer, DDIMScheduler

__all__ = [
    "build_autoencoder",
    "build_scheduler",
    "build_text_encoder",
    "build_tokenizer",
    "build_unet",
    "tokenise",
    "tokenizer_of",
]


def build_autoencoder(configuration: dict) -> nn.Module:
    """The autoencoder, without attention."""
    settings = configuration["autoencoder"]
    return architectures.autoencoder(
        settings["channels"],
        layers=settings["layers"],
        groups=settings["groups"],
        attention=False,
        size=configuration["model"]["size"],
    )


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


def build_tokenizer(configuration: dict) -> CLIPTokenizer:
    """CLIP-style byte pairs, learnt on the captions' words: each of them is one token."""
    letters = architectures.byte_letters()
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    merges = byte_pairs(words())
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, *("".join(pair) for pair in merges)]))}
    return architectures.new_tokenizer(vocabulary, merges, configuration["diffusion"]["text_length"])


def tokenizer_of(configuration: dict, run: Path) -> CLIPTokenizer:
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


def build_text_encoder(configuration: dict, tokenizer: CLIPTokenizer) -> nn.Module:
    """The text encoder, for the words of a tokenizer."""
    settings = configuration["diffusion"]
    return architectures.text_encoder(
        len(tokenizer),
        width=settings["text_width"],
        layers=settings["text_layers"],
        heads=4,
        length=settings["text_length"],
        marks=(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id),
    )


def build_scheduler(configuration: dict) -> DDIMScheduler:
    """Stable Diffusion's noise levels; for v-prediction, rescaled to end at zero signal."""
    prediction_type = configuration["diffusion"]["prediction_type"]
    return architectures.scheduler(prediction_type, pure_noise=prediction_type == "v_prediction")


def tokenise(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Token ids with shape (B, tokens)."""
    return tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
