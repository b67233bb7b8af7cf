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

from .errors import ArgumentError, ImageError, KeyringError, LedgerError, ModelError, ProvenanceError, WmarkError
from .version import __version__

if TYPE_CHECKING:
    from .detectors.detector import Detector
    from .detectors.marking import mark_picture
    from .detectors.verdict import Verdict
    from .ledger.store import Ledger
    from .models.latent_diffusion import LatentDiffusion
    from .models.registry import load_model
    from .models.sampler_check import check_sampler
    from .models.sampling import Sampling
    from .watermark.embed import embed
    from .watermark.issuer import Issuer
    from .watermark.keyring import Keyring
    from .watermark.keys import Key
    from .watermark.noise import initial_noise
    from .watermark.patterns import Pattern
    from .watermark.record import MarkedImage

_HOMES = {
    "Detector": ".detectors.detector",
    "mark_picture": ".detectors.marking",
    "Verdict": ".detectors.verdict",
    "load_model": ".models.registry",
    "MarkedImage": ".watermark.record",
    "embed": ".watermark.embed",
    "initial_noise": ".watermark.noise",
    "Issuer": ".watermark.issuer",
    "Keyring": ".watermark.keyring",
    "Key": ".watermark.keys",
    "LatentDiffusion": ".models.latent_diffusion",
    "Ledger": ".ledger.store",
    "Pattern": ".watermark.patterns",
    "Sampling": ".models.sampling",
    "check_sampler": ".models.sampler_check",
}

__all__ = [
    "ArgumentError",
    "Detector",
    "ImageError",
    "Issuer",
    "Key",
    "Keyring",
    "KeyringError",
    "LatentDiffusion",
    "Ledger",
    "LedgerError",
    "MarkedImage",
    "ModelError",
    "Pattern",
    "ProvenanceError",
    "Sampling",
    "Verdict",
    "WmarkError",
    "__version__",
    "check_sampler",
    "embed",
    "initial_noise",
    "load_model",
    "mark_picture",
]


def __getattr__(name: str) -> object:
    """Import the heavy rooms (torch, diffusers) only when they are entered."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wmark' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
