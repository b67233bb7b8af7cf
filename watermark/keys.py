"""What a key is: a pattern, an identity and a secret direction.

A key is a unit vector `u` in R^d, where a pattern (:mod:`wmark.watermark.patterns`) says what `d` is and where the
vector lives. The direction is derived from a secret (:mod:`wmark.watermark.secret`) and is as secret itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from ..errors import ArgumentError, KeyringError
from .patterns import Pattern
from .secret import Secret

__all__ = ["KEY_ID", "Key", "check_key"]

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, init=False)
class Key:
    """A direction on the unit sphere of R^d, known only to whoever holds its secret.

    Arguments:
        id: The key's public name; letters, digits, `.`, `_` and `-`.
        pattern: Where the key lives.
        secret: 32 bytes, unique to this key. Never shown, and never pickled.
        keyring: Public fingerprint of the keyring it comes from, if any.
        revoked: When it was revoked, ISO 8601 in UTC, or `None`.
    """

    id: str
    pattern: Pattern
    secret: Secret = field(repr=False)
    keyring: str | None
    revoked: str | None

    def __init__(
        self, id: str, pattern: Pattern, secret: bytes | Secret, keyring: str | None = None, revoked: str | None = None
    ) -> None:
        secret = Secret.of(secret)  # Before anything can fail: a traceback may show what its frames hold.
        if not KEY_ID.fullmatch(id):
            raise KeyringError(f"key id {id!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        values = {"id": id, "pattern": pattern, "secret": secret, "keyring": keyring, "revoked": revoked}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def derive(
        cls,
        master: bytes | Secret,
        key_id: str,
        pattern: Pattern,
        *,
        keyring: str | None = None,
        revoked: str | None = None,
    ) -> Key:
        """The key that a master secret gives to an id."""
        master = Secret.of(master)
        return cls(key_id, pattern, master.derive(b"wmark/key/v1/" + key_id.encode()), keyring, revoked)

    @property
    def direction(self) -> np.ndarray:
        """The unit vector u, with shape (d,), float64, read-only. As secret as the key."""
        p = self.pattern
        domain = f"wmark/direction/v1/{p.kind}/{p.radius}/{','.join(map(str, p.channels))}/"
        return self.secret.direction(domain.encode(), p.dimension)


def check_key(key: object) -> None:
    """Refuse what is no key, such as the name of one.

    Raises:
        ArgumentError: If it is none.
    """
    if not isinstance(key, Key):
        raise ArgumentError(f"{key!r} is no key: take one from a keyring, such as keyring.key('my-studio')")
