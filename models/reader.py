"""A learned reader: the initial noise of an image in one pass from its encoder's latent.

Running the sampler backwards recovers the noise of a picture that nothing happened to. A network that is shown pictures
after whatever happens to pictures, and asked for the noise they came from, answers with

    r(x) ~ E[noise | E(x)],

the direction that stands closest to the noise on average: small where the picture says little of its noise, and so
weighted as it should be when it is read. It is trained on a model's own unmarked pictures (`training.reader`) and sees
no key, so whatever it answers is computed without one, and the hypercone test stays exact.

Where colours are turned half-way round the wheel, a network that knows what colours things have says least. What the
encoder would say of the picture with its colours turned back, a convolution of 3x3 tells from what it says of the
picture itself, so a second reading costs no second call of the encoder.

One file holds it, beside the model or in the user's data folder, and names the weights it belongs to. In it are as well
that convolution; the directions that the readings of unmarked pictures have in common, for each way of recovering
noise; and the plan: which ways pay on this model, found by the same training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, silu

from ..errors import ModelError
from ..files import sha256, write_atomically
from .tuned import read_tuned

__all__ = ["FILE_NAME", "Reader", "ReaderNet", "Shape"]

FILE_NAME = "reader.safetensors"
FORMAT = "wmark-reader-1"
GROUPS = 8


@dataclass(frozen=True)
class Shape:
    """Of a reader's network.

    Attributes:
        channels: Channels C of the latent.
        width: Channels within, a multiple of 8.
        dilations: Of the 3x3 convolutions of each residual block, in order.
    """

    channels: int = 4
    width: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 2, 1)


class ReaderNet(nn.Module):
    """Residual blocks of dilated convolutions at the latent's own resolution, beside a linear path."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = nn.Conv2d(shape.channels, shape.width, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(shape.width, dilation) for dilation in shape.dilations))
        self.norm = nn.GroupNorm(GROUPS, shape.width)
        self.out = nn.Conv2d(shape.width, shape.channels, 3, padding=1)
        self.direct = nn.Conv2d(shape.channels, shape.channels, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, C, h, w), scaled, to initial noise of the same shape."""
        return self.out(silu(self.norm(self.blocks(self.stem(latent))))) + self.direct(latent)


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        convolution = lambda: nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)  # noqa: E731
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), convolution(), nn.GroupNorm(GROUPS, width), nn.SiLU(), convolution()
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


@dataclass(frozen=True, eq=False)
class Reader:
    """A trained network, and what was measured with it.

    Attributes:
        net: The network.
        common: Directions that unmarked readings have in common, by the name of the recovery, each tensor with shape
            (K, C, h, w).
        plan: Looks that pay on this model, as :func:`~wmark.detectors.plan.read_plan` understands them.
        about: What is known about the training.
        turning: `weight`, with shape (C, C, 3, 3), and `bias` of the convolution that turns colours; empty if none was
            fitted.
    """

    net: ReaderNet = field(repr=False)
    common: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    plan: Sequence[Mapping[str, Any]] = ()
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)
    turning: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @torch.no_grad()
    def __call__(self, latent: Tensor) -> Tensor:
        """Latents (B, C, h, w), scaled, to initial noise of the same shape, float32."""
        weight = self.net.out.weight
        return self.net(latent.to(weight)).float()

    def turn(self, latent: Tensor) -> Tensor:
        """About the latent (B, C, h, w) of the picture with its colours turned half-way round, float32.

        Raises:
            ModelError: If that was not fitted.
        """
        if not self.turning:
            raise ModelError("the model's reader does not know turned colours: make it again with `wmark tune`")
        return conv2d(latent.float(), self.turning["weight"], self.turning["bias"], padding=1)

    def to(self, device: torch.device) -> Reader:
        """The reader on a device; frozen."""
        net = self.net.requires_grad_(False).eval().to(device)
        common, turning = ({k: v.to(device) for k, v in part.items()} for part in (self.common, self.turning))
        return replace(self, net=net, common=common, turning=turning)

    @property
    def fingerprint(self) -> str:
        """Hash of the tensors as they are saved."""
        return sha256(b"".join(value.numpy().tobytes() for value in self._halves().values()))[:16]

    def _halves(self) -> dict[str, Tensor]:
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"common.{name}": value for name, value in self.common.items()}
        tensors |= {f"turning.{name}": value for name, value in self.turning.items()}
        return {name: tensors[name].detach().half().cpu().contiguous() for name in sorted(tensors)}

    def save(self, path: Path, fingerprint: str | None) -> None:
        """Write everything in half precision, with the fingerprint of the model it belongs to."""
        from safetensors.torch import save

        described = {"shape": asdict(self.net.shape), "plan": list(self.plan), "about": dict(self.about)}
        metadata = {"format": FORMAT, "model": str(fingerprint), "reader": json.dumps(described)}
        write_atomically(path, save(self._halves(), metadata=metadata))

    @classmethod
    def load(cls, path: Path, fingerprint: str | None) -> Reader:
        """Read a file of :meth:`save`.

        Raises:
            ModelError: If it cannot be read, or belongs to other weights.
        """
        metadata, tensors = read_tuned(path, FORMAT, fingerprint)
        tensors = {name: value.float() for name, value in tensors.items()}
        try:
            described = json.loads(metadata["reader"])
            shape = Shape(**{**described["shape"], "dilations": tuple(described["shape"]["dilations"])})
            net = ReaderNet(shape)
            net.load_state_dict(_under("net.", tensors))
            common, turning = _under("common.", tensors), _under("turning.", tensors)
            return cls(net, common, described["plan"], described["about"], turning)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged: make it again with `wmark tune`") from error


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
