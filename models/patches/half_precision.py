"""Autoencoders inside the range and the resolution of half precision.

float16 ends at 65504, and the residual streams of some autoencoders do not: SDXL's is known to overflow to nan, and so
does that of `tiny`. Between two group normalisations everything is linear, so the stream may run at any scale: the same
function, with nothing to be trained again.

bfloat16 has the range, but 8 bits: its rounding noise in a decoded image has a third of the power of an 8-bit file's,
and decoder inversion cannot see below it. Most of it enters where the stream itself is rounded, so a decoder's stream
stays wide.
"""

from __future__ import annotations

import torch
from torch import nn

from ..quiet import quiet

with quiet():
    from diffusers.models.attention_processor import Attention
    from diffusers.models.autoencoders.vae import Decoder, Encoder
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.upsampling import Upsample2D

__all__ = ["shrink_stream", "widen_stream"]

SHRINKAGE = 256.0
"""A power of two, so that dividing by it rounds nothing but what falls below float16's normal range, 6e-5."""


@torch.no_grad()
def shrink_stream(autoencoder: nn.Module, shrinkage: float = SHRINKAGE) -> None:
    """Divide everything between the group normalisations of an autoencoder by a constant, in place.

    What writes into the residual stream is divided, bias and weight; what maps the stream to itself keeps its weight;
    and the constant that keeps a normalisation from dividing by zero shrinks with the variance. The weights are no
    longer those of the files: do not save them.
    """
    for part in autoencoder.modules():
        into, along, norms = [], [], []
        if isinstance(part, Encoder | Decoder):
            into, norms = [part.conv_in], [part.conv_norm_out]
        elif isinstance(part, ResnetBlock2D):
            into, along, norms = [part.conv1, part.conv2], [part.conv_shortcut], [part.norm1, part.norm2]
        elif isinstance(part, Attention):
            into, norms = [part.to_out[0]], [part.group_norm]
        elif isinstance(part, Upsample2D | Downsample2D):
            along = [part.conv]
        for layer in into:
            layer.weight /= shrinkage
        for layer in (*into, *along):
            if layer is not None and layer.bias is not None:
                layer.bias /= shrinkage
        for norm in norms:
            if isinstance(norm, nn.GroupNorm):
                norm.eps /= shrinkage**2


def widen_stream(autoencoder: nn.Module) -> None:
    """Run the residual stream of an autoencoder's decoder in single precision, in place, and its branches as they are.

    What the stream passes through whole (the ends, the up-samplers, the shortcuts) gets single-precision weights, and
    every layer casts its input to its own. What the branches round costs decoder inversion nothing in a few iterations,
    and half a decibel in 20. The encoder needs none of it: wide, it gains 0.04 dB in those 20.
    """
    decoder = autoencoder.decoder
    # diffusers casts the stream to the precision of the first parameter of `up_blocks`, which is that of a norm.
    whole = [decoder.conv_in, decoder.up_blocks[0].resnets[0].norm1, decoder.conv_norm_out, decoder.conv_out]
    parts = list(decoder.modules())
    if autoencoder.post_quant_conv is not None:
        whole.append(autoencoder.post_quant_conv)
        parts.append(autoencoder.post_quant_conv)
    whole += [part.conv for part in parts if isinstance(part, Upsample2D)]
    whole += [part.conv_shortcut for part in parts if isinstance(part, ResnetBlock2D) and part.conv_shortcut]
    for layer in whole:
        # Not `layer.float()`, which cannot convert the tensors without data on which memory is counted.
        for name, weight in list(layer.named_parameters()):
            setattr(layer, name, nn.Parameter(weight.float(), requires_grad=weight.requires_grad))
    for layer in parts:
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.GroupNorm):
            layer.register_forward_pre_hook(_cast)


def _cast(layer: nn.Module, inputs: tuple) -> tuple:
    return inputs[0].to(layer.weight.dtype), *inputs[1:]
