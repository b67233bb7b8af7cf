"""A latent diffusion model as the rest of the package sees it: a codec, a condition encoder and a denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ArgumentError, ModelError
from .base import Codec, Coders, Condition, Denoiser, Generate, Note, ignore
from .sampling import Sampling

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from .left_inverse import LeftInverse
    from .reader import Reader

__all__ = ["LatentDiffusion"]

LARGEST_AREA = 16
"""Over the model's own: images beyond make a model repeat itself, and memory ends without a word."""


@dataclass(frozen=True, eq=False)
class LatentDiffusion:
    """A latent diffusion model; :func:`~.registry.load_model` or :meth:`from_pipeline` makes one.

    Nothing of it changes in use.

    Attributes:
        name: The name it is recorded under.
        fingerprint: Hash of its weights, 16 hexadecimal digits.
        native_size: Height and width in pixels that it was made for.
        codec: Encoder and decoder.
        encode_prompts: From B prompts to what the denoiser wants of them.
        denoiser: Data and noise prediction.
        generate: From noise, prompts, a :class:`Sampling` and a callback to clean latents.
        cut: Of a prompt, what its text encoder does not read; empty if it reads all.
        pipeline: What it was made from: its parts, for whoever knows the family.
        reader: Learned reader of its noise, if there is one.
        device, dtype: Where it runs, and in which precision.
        usual: What it is meant to be sampled with.
    """

    name: str
    fingerprint: str
    native_size: tuple[int, int]
    codec: Codec
    encode_prompts: Condition = field(repr=False)
    denoiser: Denoiser = field(repr=False)
    generate: Generate = field(repr=False)
    cut: Callable[[str], str] = field(repr=False)
    pipeline: DiffusionPipeline = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    reader: Reader | None = None
    usual: Sampling = Sampling()  # noqa: RUF009  A frozen value.

    @classmethod
    def from_pipeline(
        cls,
        pipeline: DiffusionPipeline,
        name: str | None = None,
        *,
        left_inverse: LeftInverse | None = None,
        reader: Reader | None = None,
        tiled: bool = False,
    ) -> LatentDiffusion:
        """A model from a pipeline in memory: with a LoRA, from a single file, with another autoencoder.

        The pipeline is left as it is, and shares its denoiser and its text encoder; its autoencoder is copied.

        Arguments:
            pipeline: A loaded pipeline of a family that is known, where it is to run.
            name: The name it is recorded under; that of the folder or hub id it was loaded from if not given.
            left_inverse: Tuned left inverse of its decoder, if there is one.
            reader: Learned reader of its noise, if there is one.
            tiled: Whether large images are always encoded and decoded in tiles.

        Raises:
            ModelError: If the pipeline is of a family that is not known, or its parts do not make sense.
        """
        from .families import family

        return family(type(pipeline).__name__).model(
            pipeline,
            name or str(pipeline.config.get("_name_or_path") or "pipeline"),
            left_inverse=left_inverse,
            reader=reader,
            tiled=tiled,
        )

    @property
    def channels(self) -> int:
        """Number C of latent channels."""
        return self.codec.channels

    @property
    def downsampling(self) -> int:
        """Pixels per latent pixel, f."""
        return self.codec.downsampling

    @cached_property
    def left_inverse_fingerprint(self) -> str | None:
        """Hash of the weights of the tuned left inverse; None if there is none."""
        return self.codec.left_inverse.fingerprint if self.codec.left_inverse else None

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (C, h, w) of the latent of an image of this size in pixels.

        Raises:
            ModelError: If the model makes no images of this size: a side is no multiple of the downsampling factor, or
                the area is more than 16 times that which the model was made for.
        """
        f, native = self.downsampling, self.native_size
        if height * width > LARGEST_AREA * native[0] * native[1]:
            raise ModelError(
                f"image size {width}x{height} is more than {LARGEST_AREA} times the {native[1]}x{native[0]} that "
                f"{self.name} was made for: choose a smaller one"
            )
        if height % f or width % f or min(height, width) < f:
            raise ModelError(f"image size {width}x{height} is not a multiple of {f} pixels on each side")
        return self.channels, height // f, width // f

    def meant_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """Height and width in pixels as somebody gave them, or the model's own for None.

        Raises:
            ArgumentError: If they are not two whole numbers.
            ModelError: As :meth:`latent_shape`.
        """
        if size is None:
            return self.native_size
        sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else ()
        if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):
            raise ArgumentError(f"the size {size!r} is not a height and a width in pixels, such as (512, 768)")
        self.latent_shape(*sides)
        return sides

    def encode(self, image: Tensor, *, tuned: bool = False) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to clean latents (B, C, h, w); if `tuned`, by the left inverse, if any."""
        return self.codec.encode(image, tuned=tuned)

    def decode(self, latent: Tensor) -> Tensor:
        """Clean latents (B, C, h, w) to images (B, 3, H, W), about [-1, 1] and not clipped. Differentiable."""
        return self.codec.decode(latent)

    def coders(self, tuned: bool = True, note: Note = ignore) -> Coders:
        """What decoder inversion works with.

        Arguments:
            tuned: Whether the left inverse, if there is one, stands where the encoder stands, but for the start of
                iterations.
            note: Called with what was done otherwise than asked.
        """
        encode, decode = partial(self.codec.encode, note=note), partial(self.codec.decode, note=note)
        if tuned and self.codec.left_inverse:
            return Coders(partial(encode, tuned=True), decode, start=encode)
        return Coders(encode, decode)

    def condition(self, prompts: Sequence[str]) -> Any:
        """What the denoiser wants of prompts."""
        return self.encode_prompts(list(prompts))

    @cached_property
    def unprompted(self) -> Any:
        """The condition of the empty prompt, which is all that verification knows."""
        with torch.no_grad():
            return self.condition([""])

    def sample(
        self,
        noise: Tensor,
        prompts: Sequence[str],
        sampling: Sampling | None = None,
        callback: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Generate clean latents (B, C, h, w) from initial noise (B, C, h, w), one prompt each.

        Arguments:
            noise: Initial noise, about N(0, I).
            prompts: B prompts.
            sampling: How; None takes what the model is meant for.
            callback: Called with the number of finished steps.
        """
        with torch.no_grad():
            return self.generate(noise, list(prompts), sampling or self.usual, callback)
