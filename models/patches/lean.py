"""Residual blocks of an autoencoder without the copies that make up a third of its peak memory."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..quiet import quiet

with quiet():
    from diffusers.models.resnet import ResnetBlock2D

__all__ = ["make_lean"]


def make_lean(autoencoder: nn.Module) -> None:
    """Let the residual blocks work in place where no gradient is wanted; the results are the same.

    diffusers applies the activation out of place, adds out of place, and divides by a scale that is 1: each a copy at
    the full resolution of the image.
    """
    for block in autoencoder.modules():
        if isinstance(block, ResnetBlock2D) and _is_plain(block):
            block.forward = partial(_forward, block, block.forward)


def _is_plain(block: ResnetBlock2D) -> bool:
    """Whether the block is norm, SiLU, convolution, twice, and nothing else, as in an autoencoder."""
    return (
        isinstance(block.nonlinearity, nn.SiLU)
        and isinstance(block.norm1, nn.GroupNorm)
        and isinstance(block.norm2, nn.GroupNorm)
        and block.upsample is None
        and block.downsample is None
        and block.time_emb_proj is None
        and block.output_scale_factor == 1
        and block.dropout.p == 0
    )


def _forward(block: ResnetBlock2D, original, x: Tensor, temb: Tensor | None = None, *args, **kwargs) -> Tensor:
    if torch.is_grad_enabled() or temb is not None:
        return original(x, temb, *args, **kwargs)
    h = x
    for norm, convolution in ((block.norm1, block.conv1), (block.norm2, block.conv2)):
        h = norm(h)  # One at a time, so that nothing is held longer than needed.
        h = convolution(F.silu(h, inplace=True))
    stream = x if block.conv_shortcut is None else block.conv_shortcut(x)
    return h.add_(stream) if h.dtype is stream.dtype else stream + h
