"""A left inverse of the decoder: an encoder tuned so that `E'(D(z)) ~ z`.

An autoencoder is trained for `D(E(x)) ~ x` on photographs. Detection needs the other order, `E(D(z)) ~ z`, on the
model's own latents, where nobody ever asked the encoder for it. `wmark tune` fits a copy of the encoder to that, once
for each model (`training.left_inverse`). It is a file of its own, beside the model or in the user's data folder, and
names the weights it belongs to. The encoder itself stays what it is.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

from torch import Tensor, nn

from ..errors import ModelError
from ..files import sha256, write_atomically
from .tuned import read_tuned

__all__ = ["FILE_NAME", "LeftInverse", "about"]

FILE_NAME = "left_inverse.safetensors"
FORMAT = "wmark-left-inverse-1"


class LeftInverse(nn.Module):
    """`E'`: starts as a copy of an autoencoder's encoder.

    Arguments:
        vae: A diffusers `AutoencoderKL`; its weights are copied.
    """

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(vae.encoder)
        self.quant_conv = copy.deepcopy(vae.quant_conv)
        config = vae.config
        self.channels, self.scale = config.latent_channels, config.scaling_factor
        self.shift = getattr(config, "shift_factor", None) or 0.0

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to clean latents (B, C, h, w)."""
        moments = self.encoder(image)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        return (moments[:, : self.channels] - self.shift) * self.scale

    @property
    def fingerprint(self) -> str:
        """Hash of the weights as they are saved."""
        return sha256(b"".join(value.numpy().tobytes() for value in self._halves().values()))[:16]

    def _halves(self) -> dict[str, Tensor]:
        return {name: value.detach().half().cpu().contiguous() for name, value in self.state_dict().items()}

    def save(self, path: Path, fingerprint: str | None, about: dict) -> None:
        """Write the weights in half precision, with the fingerprint of the model and what is known about the tuning."""
        from safetensors.torch import save

        metadata = {"format": FORMAT, "model": str(fingerprint), "about": json.dumps(about)}
        write_atomically(path, save(self._halves(), metadata=metadata))

    @classmethod
    def load(cls, path: Path, vae: nn.Module, fingerprint: str | None) -> LeftInverse:
        """Read a file of :meth:`save`.

        Raises:
            ModelError: If it cannot be read, or belongs to other weights.
        """
        _, weights = read_tuned(path, FORMAT, fingerprint)
        found = cls(vae)
        try:
            found.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"{path} does not fit this model's encoder: make it again with `wmark tune`") from error
        return found.to(next(vae.parameters()).dtype)


def about(path: Path) -> dict:
    """What :meth:`LeftInverse.save` was told about the tuning."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["about"])
