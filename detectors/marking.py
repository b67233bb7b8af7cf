"""A picture that exists, marked as far as a PSNR allows, and what the detector then says of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from ..errors import ImageError
from ..images import open_image, to_tensor, to_unit
from ..inversion.marking.blending import blended, psnr
from ..inversion.marking.towards import Name
from ..inversion.marking.ways import change_of
from ..models.latent_diffusion import LatentDiffusion
from ..watermark.issuer import Issuer
from ..watermark.keys import Key
from ..watermark.layout import Identity
from .detector import Detector, Picture
from .verdict import Verdict

__all__ = ["MarkedPicture", "mark_picture"]

TRIES, MARGIN = 4, 0.05
"""How often the PSNR is asked for anew where a file's format takes some of it, and by how much more, in dB."""

Keep = Callable[[Image.Image], Image.Image]
"""From a picture to what a file of some format holds of it."""


@dataclass(frozen=True)
class MarkedPicture:
    """A picture that was marked.

    Attributes:
        image: It, RGB, of the size that it had.
        verdict: What the detector says of it as it is kept.
        psnr: PSNR in dB to what it was, as it is kept.
        identity: Its name, if an issuer gave it one.
    """

    image: Image.Image
    verdict: Verdict
    psnr: float
    identity: Identity | None = None

    @property
    def found(self) -> bool:
        """Whether the detector finds the key, or this very name."""
        if self.identity is None:
            return self.verdict.found
        return self.verdict.names.identity.found and self._named

    @property
    def log10_p(self) -> float:
        """log10 p of the key, or of this very name."""
        if self.identity is None:
            return self.verdict.log10_p
        return self.verdict.names.identity.log10_p if self._named else 0.0

    @property
    def _named(self) -> bool:
        return self.verdict.names.named == self.identity


def mark_picture(
    model: LatentDiffusion,
    key: Key | Issuer,
    image: Picture,
    *,
    min_psnr: float = 35.0,
    way: str = "direct",
    fpr: float = 1e-6,
    keep: Keep = lambda image: image,
    callback: Callable[[int], None] | None = None,
) -> MarkedPicture:
    """Mark a picture that exists; whether it is found is for the verdict to say.

    Arguments:
        model: The model that is to read it.
        key: The key; or an issuer, which gives the picture a name that no other has or will have.
        image: The picture, or its file.
        min_psnr: PSNR in dB at least.
        way: A name in :data:`~wmark.inversion.marking.ways.WAYS`.
        fpr: False-positive rate of the verdict, in (0, 1).
        keep: What the file that it is written to makes of it.
        callback: Called with the number of finished iterations.

    Raises:
        ArgumentError: If there is no such way.
        ImageError: If the picture cannot be used, or the file alone takes more than the PSNR.
        KeyringError: If the key does not fit the model, or its pattern is not one that pictures are marked with.
    """
    image, named = open_image(image), isinstance(key, Issuer)
    detector = Detector(model, () if named else key, fpr=fpr, names=key.names if named else None)
    before, pixels = to_tensor(image), detector.as_whole(image)
    identity = key.issue(1)[0] if named else None
    mark = Name(key.names, identity.number) if named else key
    change = change_of(way, model, mark, to_unit(pixels), min_psnr, callback)
    asked = min_psnr
    for _ in range(TRIES):
        made = blended(image, change, asked)
        kept = keep(made)
        if (likeness := psnr(to_tensor(kept), before)) >= min_psnr:
            (verdict,) = detector.verify(kept)
            return MarkedPicture(made, verdict, likeness, identity)
        taken = _power(likeness) - _power(asked)
        if taken >= _power(min_psnr + MARGIN):
            break
        asked = -10 * math.log10(_power(min_psnr + MARGIN) - taken)
    raise ImageError(f"the file's format alone leaves less than {min_psnr:g} dB of the picture: write a PNG")


def _power(db: float) -> float:
    """Mean square error at a PSNR, in units of the largest."""
    return 10 ** (-db / 10)
