"""What the detector says of an image."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from .alignment import Alignment

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What the detector says of one image.

    Attributes:
        found: Whether the corrected p-value is at most the false-positive rate asked for.
        key_id: The key that stands closest.
        log10_p: log10 of the p-value, corrected for all keys, alignments and looks: the probability that an image
            without any of these keys looks at least this marked.
        cosine: Cosine between the recovered coordinates and the key.
        alignment: Where the key was found, or stands closest.
        look: Stage and reading that gave the p-value.
        keys, alignments, looks: What the union bound paid for.
        fpr: False-positive rate asked for.
        seconds: Time spent on this image.
        canvas: Height and width in latent pixels of the noise that the key is taken to have been planted in.
        noise: The noise as the key was read from it, with shape (C, h, w), if the detector was asked to keep it.
    """

    found: bool
    key_id: str
    log10_p: float
    cosine: float
    alignment: Alignment
    look: str
    keys: int
    alignments: int
    looks: int
    fpr: float
    seconds: float
    canvas: tuple[int, int]
    noise: Tensor | None = field(default=None, repr=False, compare=False)

    SCHEMA = "wmark-verdict/1"

    @property
    def p_value(self) -> float:
        """10 ** log10_p; 0.0 where that underflows."""
        return 10.0**self.log10_p

    def to_json(self) -> dict:
        return {
            "schema": self.SCHEMA,
            "found": self.found,
            "key_id": self.key_id if self.found else None,
            "closest_key_id": self.key_id,
            "log10_p": round(self.log10_p, 3),
            "cosine": round(self.cosine, 6),
            "alignment": {**self.alignment.to_json(), "canvas": list(self.canvas)},
            "look": self.look,
            "tested": {"keys": self.keys, "alignments": self.alignments, "looks": self.looks},
            "fpr": self.fpr,
            "seconds": round(self.seconds, 3),
        }
