"""What a key is: a pattern, an identity and a secret direction.

A :class:`Pattern` says where in the Fourier domain of the initial noise a key lives. The integer frequencies
`k = (k_y, k_x)` with `0 < |k| <= radius` cycles per latent side carry `m` independent real coordinates
(:mod:`wmark.watermark.pattern` reads and writes them). A key is a unit vector `u` in the subspace of dimension
`d <= m` that the pattern's kind allows:

    disc    every coordinate is free, d = m; three quarters of the disc's energy stay random (strength 0.5)
    ring    one real constant a ring and channel, d = rings x channels, replaced outright (Wen et al., 2023)
    rand    every coordinate is free and replaced outright (the paper's Tree-Ring_Rand)
    const   one real constant a channel (the paper's variant of a constant patch), d = channels
    zeros   the disc is emptied (Tree-Ring_Zeros), d = 0: it marks, but names no key

The direction is derived from a 32-byte secret by HMAC-SHA256, expanded by SHAKE-256 and mapped through the inverse
normal distribution. Nothing in it depends on a library's random stream, so a key is the same on every platform.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from ..errors import KeyringError

__all__ = ["DEFAULTS", "Key", "Pattern"]

DEFAULTS: dict[str, dict] = {
    "disc": {"radius": 16, "channels": (0, 1, 2, 3), "strength": 0.5},
    "ring": {"radius": 10, "channels": (3,), "strength": 1.0},
    "rand": {"radius": 10, "channels": (3,), "strength": 1.0},
    "const": {"radius": 10, "channels": (3,), "strength": 1.0},
    "zeros": {"radius": 10, "channels": (3,), "strength": 1.0},
}

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Pattern:
    """Where a key lives in the Fourier domain of the initial noise.

    Arguments:
        kind: One of `disc`, `ring`, `rand`, `const`, `zeros`.
        radius: Largest frequency used, in cycles per latent side.
        channels: Indices of the latent channels used.
        strength: Cosine between the planted coordinates and the key, in (0, 1].

    Raises:
        KeyringError: If a value is out of its range.
    """

    kind: str = "disc"
    radius: int = 16
    channels: tuple[int, ...] = (0, 1, 2, 3)
    strength: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in DEFAULTS:
            raise KeyringError(f"unknown pattern {self.kind!r}: choose one of {', '.join(DEFAULTS)}")
        if not (isinstance(self.radius, int) and 1 <= self.radius <= 512):
            raise KeyringError(f"pattern radius {self.radius!r} is not a whole number from 1 to 512")
        channels = self.channels
        if (
            not channels
            or len(set(channels)) != len(channels)
            or not all(isinstance(c, int) and 0 <= c < 64 for c in channels)
        ):
            raise KeyringError(f"pattern channels {channels!r} are not distinct indices from 0 to 63")
        if not (isinstance(self.strength, (int, float)) and 0 < self.strength <= 1):
            raise KeyringError(f"pattern strength {self.strength!r} is not in (0, 1]")

    @classmethod
    def of(cls, kind: str = "disc", **options) -> Pattern:
        """The pattern of a kind with that kind's defaults, `None` standing for the default."""
        if kind not in DEFAULTS:
            raise KeyringError(f"unknown pattern {kind!r}: choose one of {', '.join(DEFAULTS)}")
        chosen = {name: value for name, value in options.items() if value is not None}
        return cls(kind=kind, **{**DEFAULTS[kind], **chosen})

    @classmethod
    def from_json(cls, entry: dict) -> Pattern:
        return cls(**{**entry, "channels": tuple(entry["channels"])})

    def to_json(self) -> dict:
        return {**asdict(self), "channels": list(self.channels)}

    @cached_property
    def lattice(self) -> np.ndarray:
        """Independent frequencies (k_y, k_x), one of each pair (k, -k), with shape (n, 2), ordered."""
        r = self.radius
        half_plane = [(y, x) for x in range(r + 1) for y in range(-r, r + 1) if x > 0 or y > 0]
        return np.array([k for k in half_plane if k[0] ** 2 + k[1] ** 2 <= r * r])

    @cached_property
    def rings(self) -> np.ndarray:
        """Index of the ring that each lattice frequency belongs to, with shape (n,)."""
        if self.kind == "const":
            return np.zeros(len(self.lattice), dtype=int)
        return np.rint(np.hypot(*self.lattice.T)).astype(int) - 1

    @property
    def spans_mask(self) -> bool:
        """Whether keys are free over all masked coordinates (d = m), so that shifts keep the key space."""
        return self.kind in ("disc", "rand")

    @property
    def size(self) -> int:
        """Number m of real coordinates inside the mask."""
        return 2 * len(self.lattice) * len(self.channels)

    @property
    def dimension(self) -> int:
        """Dimension d of the space that keys are drawn from."""
        if self.spans_mask:
            return self.size
        if self.kind == "zeros":
            return 0
        return (int(self.rings.max()) + 1) * len(self.channels)


@dataclass(frozen=True)
class Key:
    """A direction on the unit sphere of R^d, known only to whoever holds its secret.

    Arguments:
        id: The key's public name; letters, digits, `.`, `_` and `-`.
        pattern: Where the key lives.
        secret: 32 bytes, unique to this key. Never shown.
    """

    id: str
    pattern: Pattern
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not KEY_ID.fullmatch(self.id):
            raise KeyringError(f"key id {self.id!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        if len(self.secret) != 32:
            raise KeyringError(f"the secret of key {self.id!r} is not 32 bytes")

    @classmethod
    def derive(cls, master: bytes, key_id: str, pattern: Pattern) -> Key:
        """The key that a master secret gives to an id (HKDF-Expand with SHA-256, RFC 5869, one block)."""
        info = b"wmark/key/v1/" + key_id.encode()
        return cls(key_id, pattern, hmac.new(master, info + b"\x01", hashlib.sha256).digest())

    @cached_property
    def direction(self) -> np.ndarray:
        """The unit vector u, with shape (d,), float64."""
        p = self.pattern
        domain = f"wmark/direction/v1/{p.kind}/{p.radius}/{','.join(map(str, p.channels))}/"
        stream = hashlib.shake_256(domain.encode() + self.secret).digest(8 * p.dimension)
        uniform = ((np.frombuffer(stream, dtype="<u8") >> np.uint64(11)) + 0.5) * 2.0**-53
        deviates = inverse_normal(uniform)
        return deviates / math.sqrt(deviates @ deviates) if p.dimension else deviates


def inverse_normal(uniform: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri(uniform)
