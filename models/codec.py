"""The codec of a diffusers `AutoencoderKL`: scale and shift, chunks, tiles, and a tuned left inverse."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Note, ignore
from .left_inverse import LeftInverse
from .patches.half_precision import shrink_stream, widen_stream
from .patches.lean import make_lean

__all__ = ["AutoencoderCodec"]


class AutoencoderCodec:
    """`E` and `D`, as many images at once as memory holds.

    z = (mean(x) - shift) scale, and back. Where memory is short, chunks are halved and at last images are tiled, for
    that one call, which notes it.

    Arguments:
        vae: The autoencoder. It is changed: patched for its precision and its memory, moved and frozen.
        device: Where it runs.
        chunk: Images at once; None picks 1 on the CPU (larger batches fall out of its cache) and 4 elsewhere.
        tiled: Whether images larger than the autoencoder's own size are always coded in overlapping tiles, which
            bounds the memory and changes the result a little.
        left_inverse: Tuned left inverse of the decoder, if there is one.

    Raises:
        ModelError: If its scaling or shift factor is not a usable number.
    """

    def __init__(
        self,
        vae: nn.Module,
        device: torch.device,
        *,
        chunk: int | None = None,
        tiled: bool = False,
        left_inverse: LeftInverse | None = None,
    ) -> None:
        config = vae.config
        self.scale, self.shift = config.scaling_factor, getattr(config, "shift_factor", None) or 0.0
        numbers = all(isinstance(factor, Real) and math.isfinite(factor) for factor in (self.scale, self.shift))
        if not (numbers and self.scale > 0):
            raise ModelError(f"the autoencoder's scaling factor {self.scale} and shift {self.shift} are not usable")
        self.vae = vae.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)
        self.device, self.tiled = device, tiled
        self.channels, self.downsampling = config.latent_channels, 2 ** (len(config.block_out_channels) - 1)
        self.chunk = chunk or (1 if device.type == "cpu" else 4)
        self._prepare(vae)
        if vae.dtype is torch.bfloat16:
            widen_stream(vae)
        # The same weights, coded in tiles: how is asked for at each call, and set on nothing that others use.
        self.in_tiles = copy.copy(vae)
        self.in_tiles.enable_tiling()
        self.left_inverse = left_inverse
        if left_inverse is not None:
            left_inverse.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)
            self._prepare(left_inverse)

    @property
    def dtype(self) -> torch.dtype:
        return self.vae.dtype

    def encode(self, image: Tensor, note: Note = ignore, *, tuned: bool = False) -> Tensor:
        """Posterior mean of the encoder, scaled: (B, 3, H, W) in [-1, 1] to (B, C, h, w).

        Arguments:
            image: The images.
            note: Called with what was done otherwise than asked.
            tuned: Whether the left inverse stands in the encoder's place, if there is one, but where images are tiled.
        """

        def encode(vae: nn.Module, x: Tensor) -> Tensor:
            if tuned and self.left_inverse is not None and vae is self.vae:
                return self.left_inverse(x)
            return (vae.encode(x).latent_dist.mean - self.shift) * self.scale

        return self._in_chunks(encode, image.to(self.device, self.dtype), note)

    def decode(self, latent: Tensor, note: Note = ignore) -> Tensor:
        """Decoder: (B, C, h, w) to (B, 3, H, W), about [-1, 1] and not clipped. Differentiable."""

        def decode(vae: nn.Module, z: Tensor) -> Tensor:
            return vae.decode(z / self.scale + self.shift).sample

        return self._in_chunks(decode, latent.to(self.device, self.vae.decoder.conv_in.weight.dtype), note)

    def _prepare(self, autoencoder: nn.Module) -> None:
        make_lean(autoencoder)
        if self.dtype is torch.float16:
            shrink_stream(autoencoder)

    def _in_chunks(self, function: Callable[[nn.Module, Tensor], Tensor], batch: Tensor, note: Note) -> Tensor:
        done: list[Tensor] = []
        start, chunk, vae = 0, self.chunk, self.in_tiles if self.tiled else self.vae
        while start < len(batch):
            part = batch[start : start + chunk].contiguous(memory_format=torch.channels_last)
            try:
                done.append(function(vae, part))
                start += len(part)
            except torch.cuda.OutOfMemoryError:
                if chunk > 1:
                    chunk //= 2
                    note(f"{chunk} at once in the autoencoder: memory was short")
                elif vae is self.vae:
                    vae = self.in_tiles
                    note("in tiles through the autoencoder: memory was short")
                else:
                    raise ModelError(
                        f"the autoencoder needs more memory than {self.device} has for one image"
                    ) from None
        return torch.cat(done)
