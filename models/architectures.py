"""Stable Diffusion's architecture with random weights, at any size: what is trained, and what is measured at full size.

The parts are built here so that no other room needs diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from .quiet import quiet

with quiet():
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        FlowMatchEulerDiscreteScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from diffusers.models.attention_processor import AttnProcessor
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

__all__ = [
    "autoencoder",
    "byte_letters",
    "flow_scheduler",
    "full_size_autoencoder",
    "full_size_unet",
    "new_tokenizer",
    "pipeline",
    "scheduler",
    "stable_diffusion_2",
    "text_encoder",
    "tokenizer",
    "unet",
    "unfuse_attention",
]


def autoencoder(
    widths: Sequence[int], *, layers: int = 2, groups: int = 32, attention: bool = True, size: int = 512
) -> nn.Module:
    """An autoencoder with four latent channels.

    Arguments:
        widths: Channels of each level, each half the size of the one before.
        layers: Residual blocks of a level.
        groups: Groups of a normalisation.
        attention: Whether the lowest level has an attention.
        size: Pixels a side that it is meant for.
    """
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        layers_per_block=layers,
        norm_num_groups=groups,
        latent_channels=4,
        mid_block_add_attention=attention,
        sample_size=size,
    )


def unet(
    size: int,
    widths: Sequence[int],
    attentive: Sequence[bool],
    *,
    heads: int | Sequence[int],
    context: int,
    layers: int = 2,
    groups: int = 32,
    linear: bool = False,
) -> nn.Module:
    """A U-Net on latents with four channels.

    Arguments:
        size: Latent pixels a side that it is meant for.
        widths: Channels of each level.
        attentive: Which levels have attention, to themselves and to the prompt.
        heads: Heads of an attention, the same in all levels or one number for each.
        context: Width of the text embeddings.
        layers: Residual blocks of a level.
        groups: Groups of a normalisation.
        linear: Whether attention is reached by linear maps in place of 1x1 convolutions.
    """
    return UNet2DConditionModel(
        sample_size=size,
        block_out_channels=widths,
        down_block_types=["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in attentive],
        up_block_types=["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(attentive)],
        layers_per_block=layers,
        norm_num_groups=groups,
        attention_head_dim=heads,  # diffusers' name for the number of heads.
        cross_attention_dim=context,
        use_linear_projection=linear,
    )


def unfuse_attention(model: nn.Module) -> None:
    """Compute a U-Net's attention step by step, in place of the fused kernel."""
    model.set_attn_processor(AttnProcessor())


def text_encoder(
    vocabulary: int,
    *,
    width: int,
    layers: int,
    heads: int,
    length: int,
    activation: str = "quick_gelu",
    marks: tuple[int, int, int] = (0, 2, 1),
) -> nn.Module:
    """A text encoder of CLIP's make.

    Arguments:
        vocabulary: Tokens that there are.
        width: Width of the embeddings.
        layers, heads: Transformer blocks, and heads of each.
        length: Tokens of a prompt at most.
        activation: `quick_gelu` or `gelu`.
        marks: Tokens that begin a prompt, end it, and fill it up.
    """
    begin, end, fill = marks
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=length,
            hidden_act=activation,
            bos_token_id=begin,
            eos_token_id=end,
            pad_token_id=fill,
        )
    )


def tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer that is kept in a folder."""
    return CLIPTokenizer.from_pretrained(folder)


def new_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]], length: int) -> CLIPTokenizer:
    """A tokenizer of byte pairs, for prompts of at most `length` tokens."""
    return CLIPTokenizer(vocabulary, merges, model_max_length=length)


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a vocabulary of byte pairs."""
    return list(bytes_to_unicode().values())


def scheduler(prediction_type: str, *, pure_noise: bool = False) -> DDIMScheduler:
    """Stable Diffusion's noise levels.

    Arguments:
        prediction_type: `epsilon` or `v_prediction`.
        pure_noise: Whether they are rescaled to end at pure noise.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=pure_noise,
    )


def flow_scheduler(shift: float) -> FlowMatchEulerDiscreteScheduler:
    """Euler's method on a rectified flow, its times shifted towards the noise."""
    return FlowMatchEulerDiscreteScheduler(shift=shift)


def pipeline(
    vae: nn.Module, unet: nn.Module, text_encoder: nn.Module, tokenizer: CLIPTokenizer, scheduler: DDIMScheduler
) -> StableDiffusionPipeline:
    """The pipeline of its parts."""
    return StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def full_size_autoencoder(size: int = 512) -> nn.Module:
    """The autoencoder of Stable Diffusion, 84 M parameters."""
    return autoencoder((128, 256, 512, 512), size=size)


def full_size_unet(size: int) -> nn.Module:
    """The U-Net of Stable Diffusion 2.1, 866 M parameters, for latents of `size` pixels a side."""
    widths, attentive = (320, 640, 1280, 1280), (True, True, True, False)
    return unet(size, widths, attentive, heads=(5, 10, 20, 20), context=1024, linear=True)


def stable_diffusion_2(prediction_type: str, words: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Stable Diffusion 2.1: 866 M parameters in the U-Net, 84 M in the autoencoder, 1024-wide text embeddings.

    Arguments:
        prediction_type: `epsilon` for the 512x512 base model, `v_prediction` for the 768x768 one.
        words: Folder of a tokenizer, whose words it takes.
        dtype: Of the weights.
    """
    size = 64 if prediction_type == "epsilon" else 96
    built = pipeline(
        full_size_autoencoder(8 * size),
        full_size_unet(size),
        text_encoder(49408, width=1024, layers=23, heads=16, length=77, activation="gelu"),
        tokenizer(words),
        scheduler(prediction_type),
    )
    with quiet():
        return built.to(dtype)
