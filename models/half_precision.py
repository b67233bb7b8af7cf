"""Autoencoders inside the range of half precision.

float16 ends at 65504, and the residual streams of some autoencoders do not: SDXL's is known to overflow to nan, and so
does that of `tiny`. Between two group normalisations everything is linear, so the stream may run at any scale: the same
function, with nothing to be trained again.
"""

from __future__ import annotations

import torch
from torch import nn

from .quiet import quiet

with quiet():
    from diffusers.models.attention_processor import Attention
    from diffusers.models.autoencoders.vae import Decoder, Encoder
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.upsampling import Upsample2D

__all__ = ["SHRINKAGE", "shrink_stream"]

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
