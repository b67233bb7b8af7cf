"""wmark: watermark the images of a latent diffusion model in their initial noise, and prove it later.

>>> import wmark
>>> model = wmark.load_model("tiny")
>>> ring = wmark.Keyring.create()
>>> key = ring.add("mine")
>>> (marked,) = wmark.embed(model, key, ["a blue sea wallpaper"])
>>> (verdict,) = wmark.Detector(model, [key]).verify([marked.image])
>>> verdict.found
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import ImageError, KeyringError, ModelError, WmarkError
from .version import __version__

if TYPE_CHECKING:
    from .detectors.chain import Detector
    from .detectors.verdict import Verdict
    from .models.registry import load_model
    from .watermark.embed import MarkedImage, embed, initial_noise
    from .watermark.keyring import Keyring
    from .watermark.keys import Key
    from .watermark.patterns import Pattern

_HOMES = {
    "Detector": ".detectors.chain",
    "Verdict": ".detectors.verdict",
    "load_model": ".models.registry",
    "MarkedImage": ".watermark.embed",
    "embed": ".watermark.embed",
    "initial_noise": ".watermark.embed",
    "Keyring": ".watermark.keyring",
    "Key": ".watermark.keys",
    "Pattern": ".watermark.patterns",
}

__all__ = [
    "Detector",
    "ImageError",
    "Key",
    "Keyring",
    "KeyringError",
    "MarkedImage",
    "ModelError",
    "Pattern",
    "Verdict",
    "WmarkError",
    "__version__",
    "embed",
    "initial_noise",
    "load_model",
]


def __getattr__(name: str):
    """Import the heavy rooms (torch, diffusers) only when they are entered."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wmark' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
