"""What a key is: a pattern, an identity and a secret direction.

A key is a unit vector `u` in R^d, where a pattern (:mod:`wmark.watermark.patterns`) says what `d` is and where the
vector lives. The direction is derived from a 32-byte secret by HMAC-SHA256, expanded by SHAKE-256 and mapped through
the inverse normal distribution. Nothing in it depends on a library's random stream, so a key is the same on every
platform.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import KeyringError
from .patterns import Pattern

__all__ = ["KEY_ID", "Key"]

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Key:
    """A direction on the unit sphere of R^d, known only to whoever holds its secret.

    Arguments:
        id: The key's public name; letters, digits, `.`, `_` and `-`.
        pattern: Where the key lives.
        secret: 32 bytes, unique to this key. Never shown.
        keyring: Public fingerprint of the keyring it comes from, if any.
        revoked: When it was revoked, ISO 8601 in UTC, or `None`.
    """

    id: str
    pattern: Pattern
    secret: bytes = field(repr=False)
    keyring: str | None = None
    revoked: str | None = None

    def __post_init__(self) -> None:
        if not KEY_ID.fullmatch(self.id):
            raise KeyringError(f"key id {self.id!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        if len(self.secret) != 32:
            raise KeyringError(f"the secret of key {self.id!r} is not 32 bytes")

    @classmethod
    def derive(
        cls, master: bytes, key_id: str, pattern: Pattern, *, keyring: str | None = None, revoked: str | None = None
    ) -> Key:
        """The key that a master secret gives to an id (HKDF-Expand with SHA-256, RFC 5869, one block)."""
        info = b"wmark/key/v1/" + key_id.encode()
        return cls(key_id, pattern, hmac.new(master, info + b"\x01", hashlib.sha256).digest(), keyring, revoked)

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
