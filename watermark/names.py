"""Names: a direction of its own for every image.

An image's coordinates are a sum of independent normal vectors, each drawn from a secret,

    c = s g_pilot + sqrt(1 - s^2) g,      g = the address on its half of the coordinates, the name on the rest,

so that over the draw of the secrets `c` is N(0, I) exactly, and the direction of each part is uniform whatever the
others are: the hypercone test of each is exact, also where it was chosen by another part at which place it is read.

    secret of the pilot     HKDF(master, "wmark/pilot/v1"), one for a keyring's keys and names
    of the sections         HKDF(secret of the pilot, "wmark/series/v1"): every issuer has both
    of an issuer            HKDF(master, "wmark/issuer/v1/" || name)
    of a name               HKDF(secret of the issuer, "wmark/name/v1/" || number), used nowhere else

Whoever holds an issuer's secrets can mark as that issuer, and knows pilot and sections; of the names of others he knows
nothing, and neither does anybody who has images only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import KeyringError
from .keys import Key
from .layout import Identity, IssuerEntry, Layout
from .secret import Secret
from .sections import Sections

__all__ = ["Names", "issuer_secret", "pilot_secret"]


def pilot_secret(master: Secret) -> Secret:
    """What all issuers of a keyring share."""
    return master.derive(b"wmark/pilot/v1")


def issuer_secret(master: Secret, issuer: str) -> Secret:
    """What an issuer shares with nobody."""
    return master.derive(b"wmark/issuer/v1/" + issuer.encode())


class Names:
    """The names of some issuers of a keyring.

    Arguments:
        layout: How the coordinates are shared out.
        shared: The secret of the pilot.
        issuers: Secrets of the issuers, by what is known of them.
        keyring: Public fingerprint of the keyring.
        expected: Numbers whose names are tested whatever the address says.
    """

    __slots__ = ("_secrets", "_shared", "expected", "issuers", "keyring", "layout", "pilot", "sections")

    def __init__(
        self,
        layout: Layout,
        shared: Secret,
        issuers: Mapping[IssuerEntry, Secret],
        keyring: str,
        expected: Sequence[int] = (),
    ) -> None:
        self.layout, self.keyring, self._shared = layout, keyring, shared
        self.issuers = tuple(sorted(issuers, key=lambda entry: entry.first))
        self._secrets = {entry.name: secret for entry, secret in issuers.items()}
        self.pilot = Key("pilot", layout.pattern, shared, keyring)
        self.expected = tuple(self.identity(number).number for number in expected)
        self.sections = Sections(shared.derive(b"wmark/series/v1"), layout)

    def __repr__(self) -> str:
        return f"Names(keyring={self.keyring!r}, issuers={[entry.name for entry in self.issuers]})"

    def issuer(self, number: int) -> IssuerEntry:
        """Whose number it is.

        Raises:
            KeyringError: If it is nobody's.
        """
        at = bisect_right([entry.first for entry in self.issuers], number) - 1
        if at < 0 or number not in self.issuers[at].numbers:
            raise KeyringError(f"number {number} is no issuer's of keyring {self.keyring}: see `wmark keys list`")
        return self.issuers[at]

    def identity(self, number: int) -> Identity:
        """Whose name a number is."""
        return Identity(int(number), self.issuer(number).name, self.keyring)

    def given(self, numbers: np.ndarray) -> np.ndarray:
        """Which numbers (n,) were given to an issuer, boolean."""
        firsts, counts = np.array([(entry.first, entry.count) for entry in self.issuers], dtype=np.int64).T
        at = np.searchsorted(firsts, numbers, side="right") - 1
        return (at >= 0) & (numbers - firsts[at] < counts[at])

    def secret(self, number: int) -> Secret:
        """The secret of one name."""
        return self._secrets[self.issuer(number).name].derive(f"wmark/name/v1/{number}".encode())

    def name(self, number: int) -> np.ndarray:
        """Standard normal numbers of a name, on the coordinates `sections.named`, float64."""
        return self.secret(number).deviates(b"wmark/direction/v1/", len(self.sections.named))

    def coordinates(self, number: int) -> np.ndarray:
        """The coordinates that an image of a number is given, all of the pattern's, with shape (d,), float64."""
        own = self.sections.address(number)
        own[self.sections.named] = self.name(number)
        s = self.layout.pattern.strength
        return s * self.pilot.deviates + (1 - s * s) ** 0.5 * own

    def secrets(self, issuer: str) -> tuple[Secret, Secret]:
        """The secret that all issuers share and an issuer's own, for the file that they are kept in."""
        return self._shared, self._secrets[issuer]

    def decoy(self, index: int) -> Names:
        """Names of the same layout and ranges that exist nowhere."""
        label = f"wmark/decoy/v1/{index}".encode()
        issuers = {entry: self._secrets[entry.name].derive(label) for entry in self.issuers}
        return Names(self.layout, self._shared.derive(label), issuers, self.keyring, self.expected)

    def expecting(self, numbers: Sequence[int]) -> Names:
        """The same, with numbers to test whatever the address says.

        Raises:
            KeyringError: If one is no issuer's.
        """
        issuers = {entry: self._secrets[entry.name] for entry in self.issuers}
        return Names(self.layout, self._shared, issuers, self.keyring, numbers)
