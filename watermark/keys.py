"""What a key is: a pattern, an identity and a secret direction.

A key is a unit vector `u` in R^d, where a pattern (:mod:`wmark.watermark.patterns`) says what `d` is and where the
vector lives. The direction is derived from a secret (:mod:`wmark.watermark.secret`) and is as secret itself.

A *pilot* is a key that names nobody: it is planted beside every key of a keyring, finds the geometry of a picture once
for all of them, and says that the picture is of that keyring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

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
        pilot: The pilot that is planted beside it, of the same pattern at a strength of its own; `None` for none.

    Raises:
        KeyringError: If the id is none, or the pilot does not fit.
    """

    id: str
    pattern: Pattern
    secret: Secret = field(repr=False)
    keyring: str | None
    revoked: str | None
    pilot: Key | None = field(repr=False)

    def __init__(
        self,
        id: str,
        pattern: Pattern,
        secret: bytes | Secret,
        keyring: str | None = None,
        revoked: str | None = None,
        pilot: Key | None = None,
    ) -> None:
        secret = Secret.of(secret)  # Before anything can fail: a traceback may show what its frames hold.
        if not KEY_ID.fullmatch(id):
            raise KeyringError(f"key id {id!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        if pilot is not None:
            check_pilot(pilot, pattern)
        values = {
            "id": id, "pattern": pattern, "secret": secret, "keyring": keyring, "revoked": revoked, "pilot": pilot
        }  # fmt: skip
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
        pilot: float | None = None,
    ) -> Key:
        """The key that a master secret gives to an id, beside its pilot at a strength, if one is given."""
        master = Secret.of(master)
        secret = master.derive(b"wmark/key/v1/" + key_id.encode())
        guide = None if pilot is None else cls.derive_pilot(master, pattern, pilot, keyring=keyring)
        return cls(key_id, pattern, secret, keyring, revoked, guide)

    @classmethod
    def derive_pilot(
        cls, master: bytes | Secret, pattern: Pattern, strength: float, *, keyring: str | None = None
    ) -> Key:
        """The pilot that a master secret gives to the keys of a pattern, whatever their own strength."""
        return cls("pilot", replace(pattern, strength=strength), Secret.of(master).derive(b"wmark/pilot/v1"), keyring)

    @property
    def direction(self) -> np.ndarray:
        """The unit vector u, with shape (d,), float64, read-only. As secret as the key."""
        return self.secret.direction(self._domain, self.pattern.dimension)

    @property
    def deviates(self) -> np.ndarray:
        """The standard normal numbers, with shape (d,), float64, that u is the direction of. As secret as the key."""
        return self.secret.deviates(self._domain, self.pattern.dimension)

    @property
    def _domain(self) -> bytes:
        p = self.pattern
        return f"wmark/direction/v1/{p.kind}/{p.radius}/{','.join(map(str, p.channels))}/".encode()

    def decoy(self, index: int) -> Key:
        """A key of the same name and pattern that exists nowhere, beside a pilot that exists nowhere."""
        secret = self.secret.derive(f"wmark/decoy/v1/{index}".encode())
        return Key(self.id, self.pattern, secret, self.keyring, None, self.pilot and self.pilot.decoy(index))


def check_key(key: object) -> None:
    """Refuse what is no key, such as the name of one.

    Raises:
        ArgumentError: If it is none.
    """
    if not isinstance(key, Key):
        raise ArgumentError(f"{key!r} is no key: take one from a keyring, such as keyring.key('my-studio')")


def check_pilot(pilot: Key, pattern: Pattern) -> None:
    """Refuse a pilot that cannot be planted beside keys of a pattern.

    Raises:
        KeyringError: If its pattern is another or none that can be searched for, or both together leave nothing random.
    """
    if replace(pilot.pattern, strength=pattern.strength) != pattern:
        raise KeyringError(f"a pilot in {pilot.pattern} does not fit keys in {pattern}: give both the same")
    if not pattern.searchable:
        raise KeyringError(f"keys of the pattern {pattern.kind!r} cannot have a pilot: use a disc or a square")
    if pattern.strength**2 + pilot.pattern.strength**2 > 1:
        raise KeyringError(
            f"a pilot of strength {pilot.pattern.strength} and keys of strength {pattern.strength} are more than the "
            "noise holds: their squares must not add up to more than 1"
        )
