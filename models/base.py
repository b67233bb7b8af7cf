"""What the rest of the package asks of a model; a family of models (:mod:`.families`) answers it.

    codec        images x in [-1, 1]  <->  clean latents z, scaled to about unit variance:   E, D
    condition    prompts -> whatever the denoiser wants of them
    denoiser     (z_t, t, condition) -> (x0, eps),   z_t = alpha_t x0 + sigma_t eps
    schedule     t in [0, 1] -> (alpha_t, sigma_t); 0 is the clean latent

Latents have any rank: (B, C, h, w) for images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from .sampling import Sampling

__all__ = ["Codec", "Coder", "Coders", "Condition", "Denoiser", "Generate", "Note", "Schedule", "ignore"]

Coder = Callable[["Tensor"], "Tensor"]
Condition = Callable[[list[str]], Any]
"""The condition encoder: from B prompts to what the denoiser wants of them."""

Generate = Callable[["Tensor", list[str], "Sampling", Callable[[int], None] | None], "Tensor"]
"""The sampler: from initial noise (B, C, ...), B prompts, settings and a callback, which is told the number of finished
steps, to clean latents."""

Note = Callable[[str], None]
"""Called with what was done otherwise than asked, such as working in tiles where memory is short."""


def ignore(text: str) -> None:
    """The note that nobody reads."""


@dataclass(frozen=True)
class Coders:
    """What a decoder inversion works with.

    Attributes:
        encode: `E`, or a tuned left inverse of `D`: images (B, 3, H, W) in [-1, 1] to clean latents (B, C, h, w).
        decode: `D`, the other way.
        start: Where iterations begin that correct whatever their start got wrong: `E`, also where `encode` is a left
            inverse, whose own errors they do not see. None is `encode`.
    """

    encode: Coder
    decode: Coder
    start: Coder | None = None

    def begin(self, image: Tensor) -> Tensor:
        """The latents that iterations begin with."""
        return (self.start or self.encode)(image)


class Schedule(Protocol):
    """Signal and noise levels over time."""

    def __call__(self, t: float) -> tuple[float, float]:
        """`(alpha_t, sigma_t)` at a time t in [0, 1]."""
        ...

    def times(self, steps: int) -> list[float]:
        """Increasing times from 0 to where sampling begins, `steps + 1` in all."""
        ...


class Denoiser(Protocol):
    """A network that tells signal from noise."""

    schedule: Schedule

    def predict(self, z: Tensor, t: float, condition: Any) -> tuple[Tensor, Tensor]:
        """Data and noise prediction `(x0, eps)` in float32, each with the shape of `z`.

        Arguments:
            z: Noisy latents `z_t`, with shape (B, C, ...).
            t: Their time, one for all.
            condition: What the condition encoder made of B prompts, or of one for all.
        """
        ...


class Codec(Protocol):
    """Encoder and decoder, in chunks that fit into memory; `left_inverse` is a tuned one of the decoder, or None."""

    channels: int
    downsampling: int
    left_inverse: Any

    def encode(self, image: Tensor, note: Note = ignore, *, tuned: bool = False) -> Tensor:
        """`E`: images (B, 3, H, W) in [-1, 1] to latents (B, C, h, w); the left inverse if `tuned` and there is one."""
        ...

    def decode(self, latent: Tensor, note: Note = ignore) -> Tensor:
        """`D`: latents to images, about [-1, 1] and not clipped. Differentiable."""
        ...
