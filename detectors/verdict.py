"""What the detector says of an image, and what that rests on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..provenance.binding import public_name
from .alignment import IDENTITY, Alignment
from .identity.statements import Statements
from .plan import SIGNS
from .registration.placement import Placement

if TYPE_CHECKING:
    from ..attacks.warping import Warp
    from ..watermark.layout import Identity

__all__ = ["Basis", "Evidence", "Part", "Verdict", "together_with"]

SCHEMA = "wmark-verdict/2"


@dataclass(frozen=True)
class Basis:
    """What a verdict rests on; nothing of it is secret.

    Attributes:
        model, model_fingerprint: Name of the model that the image was inverted with, and fingerprint of its weights.
        left_inverse_fingerprint: That of its tuned left inverse; None if there is none.
        reader_fingerprint: That of its learned reader; None if there is none.
        dtype: Precision of the model.
        keyring: Fingerprint of the keyring that the key is of; None for a key of none.
        version: Version of wmark.
        effort: The recoveries that the image was allowed, in their order.
        align: What was asked for: `off`, `auto` or `full`.
    """

    model: str
    model_fingerprint: str
    left_inverse_fingerprint: str | None
    reader_fingerprint: str | None
    dtype: str
    keyring: str | None
    version: str
    effort: tuple[str, ...]
    align: str


@dataclass(frozen=True)
class Evidence:
    """What was seen, for plots. It shows part of the key.

    Attributes:
        coordinates: Masked coordinates of the noise that the key was read from, the alignment undone, with shape
            (channels, n, 2).
        surface: Cosine with the key at every shift of the canvas, everything else undone, with shape `canvas`.
        pilot: The same with the key's pilot; None for a key without one.
    """

    coordinates: np.ndarray
    surface: np.ndarray
    pilot: np.ndarray | None = None


@dataclass(frozen=True)
class Part:
    """A marked part of a picture, or the whole of it after it was turned, cut or bent.

    Attributes:
        log10_p: log10 of the p-value, corrected as that of the verdict.
        cosine: Cosine between the recovered coordinates and the key, or the name.
        placement: Where it lies.
        key_id: The key that it carries; None for a name.
        names: What is said of the name that it carries; None for a key.
    """

    log10_p: float
    cosine: float
    placement: Placement = field(repr=False, compare=False)
    key_id: str | None = None
    names: Statements | None = None

    def to_json(self, scores: bool = False) -> dict:
        return {
            "key_id": self.key_id,
            **({"names": self.names.to_json(scores)} if self.names else {}),
            "log10_p": round(self.log10_p, 3),
            "cosine": round(self.cosine, 6 if scores else 2),
            **self.placement.to_json(),
        }


@dataclass(frozen=True)
class Verdict:
    """What the detector says of one image.

    Attributes:
        found: Whether the corrected p-value is at most the false-positive rate asked for.
        key_id: The key that stands closest; None where names were tested and say more than any key.
        key_revoked: When that key was revoked, ISO 8601 in UTC; None if it was not.
        log10_p: log10 of the p-value, corrected for all keys, both their signs, alignments and looks, and for all that
            is said of names: the probability that an image without any of these marks looks at least this marked.
        cosine: Cosine between the recovered coordinates and the key, or the name.
        alignment: Where the key was found, or stands closest.
        canvas: Height and width in latent pixels of the noise that the key is taken to have been planted in.
        size: Those of the noise that the image was looked at in as a whole.
        look: Recovery and reading that gave the p-value.
        keys_tested, alignments_tested, looks_allowed: How many the union bound paid for.
        fpr: False-positive rate asked for.
        seconds: Time spent on this image; in a batch, its share.
        basis: What the verdict rests on.
        fallbacks: What was done otherwise than asked, such as working in tiles where memory was short.
        names: Presence, series and identity, if names were tested.
        decoys: log10 p of keyrings that exist nowhere and were tested in the same way.
        placement: Where the key's pilot led to; None for a key that was found without one.
        parts: Every marked part that the search came upon, each once, the strongest first: one for a picture that was
            turned or cut, several for a collage; none for one that lies as it was marked.
        evidence: What was seen, if the detector was asked to keep it.
    """

    found: bool
    key_id: str | None
    key_revoked: str | None
    log10_p: float
    cosine: float
    alignment: Alignment
    canvas: tuple[int, int]
    size: tuple[int, int]
    look: str
    keys_tested: int
    alignments_tested: int
    looks_allowed: int
    fpr: float
    seconds: float
    basis: Basis
    fallbacks: tuple[str, ...] = ()
    names: Statements | None = None
    decoys: tuple[float, ...] = ()
    placement: Placement | None = field(default=None, repr=False, compare=False)
    parts: tuple[Part, ...] = ()
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def p_value(self) -> float:
        """10 ** log10_p; 0.0 where that underflows."""
        return 10.0**self.log10_p

    @property
    def decided(self) -> bool:
        """Whether no further look could say more: a key is found, or a name."""
        return self.found and (self.key_id is not None or self.names.identity.found)

    @property
    def rank(self) -> tuple[bool, float]:
        """What says more comes first: what is decided, then what chance explains least."""
        return not self.decided, self.log10_p

    @property
    def mark(self) -> str | None:
        """What the mark says in public, as manifests name it; None where no more is found than whose keyring it is."""
        if self.found and self.key_id is not None:
            return public_name(self.basis.keyring, key_id=self.key_id)
        return public_name(self.name.keyring, number=self.name.number) if self.name else None

    @property
    def name(self) -> Identity | None:
        """The name that is found; None where none is."""
        return self.names.named if self.found and self.names and self.names.identity.found else None

    @property
    def placed(self) -> Placement:
        """How the image lies on the one that was marked: where the pilot led to, or as the alignment says."""
        return self.placement or Placement.of(self.alignment, self.canvas, self.size)

    @property
    def places(self) -> tuple[Placement, ...]:
        """Where every marked part of the image lies."""
        return tuple(part.placement for part in self.parts) or (self.placed,)

    @property
    def undoing(self) -> Warp | None:
        """What brings the image back to where it was when its name was planted; None if it stands there."""
        placement = (self.names and self.names.placement) or self.placement
        return placement and placement.undoing

    @property
    def inverted(self) -> bool:
        """Whether the key stands at a negative cosine: somebody pushed it away, past zero."""
        return self.cosine < 0

    @property
    def aligned(self) -> bool:
        """Whether the image was turned, scaled, mirrored or shifted since the key was planted."""
        return self.alignment != IDENTITY

    def to_json(self, scores: bool = False) -> dict:
        """The verdict as `docs/verdict.md` describes it.

        Below the threshold a score is an oracle by which a key can be estimated, so nothing finer than the p-value's
        order of magnitude is given there, and two digits of the cosine above it.

        Arguments:
            scores: Give all digits, and the closest key and its alignment also below the threshold. For those who hold
                the key.
        """
        told = self.found or scores
        return {
            "schema": SCHEMA,
            "found": self.found,
            "key_id": self.key_id if self.found else None,
            "key_revoked": self.key_revoked if self.found else None,
            "log10_p": round(self.log10_p, 3) if told else self.magnitude,
            "cosine": round(self.cosine, 6 if scores else 2) if told else None,
            "inverted": self.inverted if told else None,
            "alignment": self.placed.to_json() if told else None,
            "parts": [part.to_json(scores) for part in self.parts] if told else [],
            **({"closest_key_id": self.key_id} if scores else {}),
            **({"names": self.names.to_json(scores)} if self.names else {}),
            **({"decoys": [round(p, 3) for p in self.decoys]} if self.decoys else {}),
            "look": self.look if told else None,
            "tested": {
                "keys": self.keys_tested,
                "signs": SIGNS,
                "alignments": self.alignments_tested,
                "looks": self.looks_allowed,
            },
            "fpr": self.fpr,
            "seconds": round(self.seconds, 3),
            "basis": {**asdict(self.basis), "effort": list(self.basis.effort)},
            "fallbacks": list(self.fallbacks),
        }

    @property
    def magnitude(self) -> int:
        """The p-value's order of magnitude: the whole number that log10 p is rounded up to."""
        return min(0, math.ceil(self.log10_p))


def together_with(verdict: Verdict, before: Verdict | None) -> Verdict:
    """What two looks say of one image: that of the one that says more, with the parts of whichever found more."""
    if before is None:
        return verdict
    stronger, weaker = sorted((before, verdict), key=lambda one: one.rank)
    return replace(stronger, parts=max(stronger.parts, weaker.parts, key=len))
