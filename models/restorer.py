"""What a model's sampling steps are told of a picture that is mostly gone: a small network beside the frozen U-Net.

    x0'(z, t) = f + w (x0(z, t) - f) + g(z, x0(z, t), t, f, m)

f is the latent of the picture as far as plain interpolation fills it, m the share of pixels that are known under each
latent pixel, w a weight a channel. Untrained, w and g are 0, and every step stays where f is. It is trained end to end
through the wired chain of steps (`training.restorer`, IDM, TPAMI 2025), and kept in one file beside the model or in the
user's data folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ..errors import ModelError
from ..files import write_atomically
from .multistep import Predictor
from .schedule import Grid
from .tuned import read_tuned

__all__ = ["FILE_NAME", "Injector", "Restorer"]

FILE_NAME = "restorer.safetensors"
FORMAT = "wmark-restorer-1"
COMMAND = "wmark train restorer"
GROUPS = 8


class Injector(nn.Module):
    """w, and g: residual blocks of dilated convolutions at the latent's own resolution.

    Arguments:
        channels: Channels C of the latent.
        width: Channels within, a multiple of 8.
        dilations: Of the blocks.
    """

    def __init__(self, channels: int = 4, width: int = 48, dilations: tuple[int, ...] = (1, 2, 4, 2, 1)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 1))
        self.stem = nn.Conv2d(3 * channels + 2, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for _ in dilations)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, z: Tensor, x0: Tensor, t: float, filled: Tensor, known: Tensor) -> Tensor:
        """The data prediction x0' from z, x0 and f, with shape (B, C, h, w) each, a time and m, (B, 1, h, w)."""
        h = self.stem(torch.cat([z, x0, filled, known, torch.full_like(known, t)], dim=1))
        for norm, block in zip(self.norms, self.blocks, strict=True):
            h = h + block(silu(norm(h)))
        return filled + self.weight * (x0 - filled) + self.out(silu(h))


@dataclass(frozen=True, eq=False)
class Restorer:
    """A trained network, and the times of the steps that it was trained with.

    Attributes:
        net: The network.
        times: Times of the steps, noisiest first.
        about: What is known about the training.
    """

    net: Injector = field(repr=False)
    times: tuple[float, ...] = (0.45, 0.3, 0.15, 0.0)
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def injected(self, predict: Predictor, grid: Grid, filled: Tensor, known: Tensor) -> Predictor:
        """A predictor that is told of a picture: what it filled, (B, C, h, w), and knows, (B, 1, h, w)."""
        levels = dict(zip(grid.times, zip(grid.alpha, grid.sigma, strict=True), strict=True))

        def told(z: Tensor, t: float) -> tuple[Tensor, Tensor]:
            (x0, _), (alpha, sigma) = predict(z, t), levels[t]
            x0 = self.net(z, x0, t, filled, known)
            return x0, (z - alpha * x0) / sigma

        return told

    def save(self, path: Path, fingerprint: str | None) -> None:
        """Write everything in half precision, with the fingerprint of the model it belongs to."""
        from safetensors.torch import save

        tensors = {name: value.detach().half().cpu().contiguous() for name, value in self.net.state_dict().items()}
        described = json.dumps({"times": list(self.times), "about": dict(self.about)})
        metadata = {"format": FORMAT, "model": str(fingerprint), "restorer": described}
        write_atomically(path, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: Path, fingerprint: str | None, channels: int) -> Restorer:
        """Read a file of :meth:`save`.

        Raises:
            ModelError: If it cannot be read, or belongs to other weights.
        """
        metadata, tensors = read_tuned(path, FORMAT, fingerprint, COMMAND)
        try:
            described, net = json.loads(metadata["restorer"]), Injector(channels)
            net.load_state_dict({name: value.float() for name, value in tensors.items()})
            return cls(net.requires_grad_(False).eval(), tuple(described["times"]), described["about"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged: make it again with `{COMMAND}`") from error
