"""Secrets: 32 bytes that are used and not shown, and what is derived from them.

    derive      s' = HKDF-Expand(s, info), one block of RFC 5869: a secret of its own for each label
    tag         HMAC-SHA256(s, label), public
    deviates    ndtri((SHAKE-256(domain || s) >> 11 + 1/2) / 2^53): independent standard normal numbers

Nothing in them depends on a library's random stream, so they are the same on every platform.
"""

from __future__ import annotations

import hashlib
import hmac
import math

import numpy as np

from ..errors import KeyringError

__all__ = ["Secret"]


class Secret:
    """32 bytes that no `repr`, `vars`, `asdict`, pickle or traceback with local variables shows.

    Arguments:
        value: The bytes.

    Raises:
        KeyringError: If there are not 32 of them, or they are none: `bytes(32)` would be zeros.
    """

    __slots__ = ("_directions", "_value")

    def __init__(self, value: bytes) -> None:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise KeyringError(f"a secret has 32 bytes, and is no {type(value).__name__}")
        self._value = bytes(value)
        self._directions: dict[bytes, np.ndarray] = {}
        del value  # A traceback may show what its frames hold.
        if len(self._value) != 32:
            raise KeyringError(f"a secret has 32 bytes, not {len(self._value)}")

    @classmethod
    def of(cls, value: bytes | Secret) -> Secret:
        """The secret itself, or that of some bytes."""
        return value if isinstance(value, Secret) else cls(value)

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict) -> Secret:
        return self

    def __reduce__(self):
        raise TypeError(
            "keys and keyrings are not pickled, since that would spread their secrets: "
            "let each process load the keyring's file with Keyring.load"
        )

    def reveal(self) -> bytes:
        """The bytes, for the file that they are kept in."""
        return self._value

    def derive(self, info: bytes) -> Secret:
        """Another secret, by HKDF-Expand with SHA-256 (RFC 5869), one block."""
        return Secret(hmac.new(self._value, info + b"\x01", hashlib.sha256).digest())

    def tag(self, message: bytes) -> str:
        """HMAC-SHA256 of a message, 64 hexadecimal digits, which tell nothing of the secret."""
        return hmac.new(self._value, message, hashlib.sha256).hexdigest()

    def deviates(self, domain: bytes, count: int) -> np.ndarray:
        """Standard normal numbers, with shape (count,), float64. Those of different domains are independent."""
        from scipy.special import ndtri

        # The stream has no name: bytes, unlike arrays, are shown whole in a traceback with local variables.
        numbers = np.frombuffer(hashlib.shake_256(domain + self._value).digest(8 * count), dtype="<u8")
        return ndtri(((numbers >> np.uint64(11)) + 0.5) * 2.0**-53)

    def direction(self, domain: bytes, dimension: int) -> np.ndarray:
        """A unit vector with shape (dimension,), float64, read-only, uniform on the sphere; kept once computed."""
        if domain not in self._directions:
            vector = self.deviates(domain, dimension)
            vector /= math.sqrt(vector @ vector) or 1.0
            vector.flags.writeable = False
            self._directions[domain] = vector
        return self._directions[domain]
