"""What is public of a keyring's names: where they live, how the coordinates are shared out, who may issue numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import KeyringError
from .keys import KEY_ID
from .numbers import BITS, NUMBERS
from .patterns import Pattern

__all__ = ["MAIN", "Identity", "IssuerEntry", "Layout", "free_range"]

MAIN = "main"
"""The issuer of the keyring's own machine."""

PILOT = 0.35
"""Strength of the pilot: what pictures have in common, and what leads to the name in one that was turned or cut."""


@dataclass(frozen=True)
class Layout:
    """How an image's coordinates are shared out.

    Arguments:
        pattern: Where pilot, addresses and names live; its strength is the pilot's.
        sections: Sections of an address, each one digit of 40 / sections bits.
        share: Share of the frequencies that spell the address; the rest carry the name.

    Raises:
        KeyringError: If a value is out of its range.
    """

    pattern: Pattern
    sections: int = 5
    share: float = 0.5

    def __post_init__(self) -> None:
        if not self.pattern.searchable:
            raise KeyringError(f"names cannot live in the pattern {self.pattern.kind!r}: use a square or a disc")
        if self.pattern.strength >= 1:
            raise KeyringError(
                f"a pilot of strength {self.pattern.strength} leaves no room for names: choose about 0.3"
            )
        if self.sections not in (4, 5, 8, 10):
            raise KeyringError(f"{self.sections!r} sections do not share 40 bits of an address: choose 4, 5, 8 or 10")
        if not 0 < self.share < 1:
            raise KeyringError(f"the share {self.share!r} of an address is not between 0 and 1")

    @classmethod
    def of(cls, pattern: Pattern | None = None, pilot: float | None = None) -> Layout:
        """The layout of a pattern, by default the whole square, beside a pilot of a strength."""
        return cls(replace(pattern or Pattern.of("square"), strength=PILOT if pilot is None else pilot))

    @property
    def digits(self) -> int:
        """How many digits a section has."""
        return 1 << (BITS // self.sections)

    @classmethod
    def from_json(cls, entry: dict) -> Layout:
        return cls(Pattern.from_json(entry["pattern"]), entry["sections"], entry["share"])

    def to_json(self) -> dict:
        return {"pattern": self.pattern.to_json(), "sections": self.sections, "share": self.share}


@dataclass(frozen=True)
class IssuerEntry:
    """What a keyring knows of one issuer, nothing of it secret.

    Arguments:
        name: Its public name.
        first: The first of its numbers.
        count: How many it has.
        created: When it was given them, ISO 8601 in UTC.
        revoked: When it was revoked, ISO 8601 in UTC, or `None`.

    Raises:
        KeyringError: If the name is none, or the range no part of 0 to 2^40 - 1.
    """

    name: str
    first: int
    count: int
    created: str
    revoked: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and KEY_ID.fullmatch(self.name)):
            raise KeyringError(f"issuer {self.name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        if self.first < 0 or self.count < 1 or self.first + self.count > NUMBERS:
            raise KeyringError(
                f"issuer {self.name!r} has {self.count} numbers from {self.first} on, which 2^40 do not hold"
            )

    @property
    def numbers(self) -> range:
        """All its numbers, issued or not."""
        return range(self.first, self.first + self.count)

    @property
    def status(self) -> str:
        """`active` or `revoked`."""
        return "revoked" if self.revoked else "active"


@dataclass(frozen=True)
class Identity:
    """Whose name an image carries.

    Attributes:
        number: The image's number, below 2^40.
        issuer: Who issued it.
        keyring: Fingerprint of the keyring.
    """

    number: int
    issuer: str
    keyring: str


def free_range(entries: Iterable[IssuerEntry], count: int) -> int:
    """The first number of a free range of `count`, after all ranges that were ever given away.

    Raises:
        KeyringError: If so many are not left.
    """
    first = max((entry.first + entry.count for entry in entries), default=0)
    if not 0 < count <= NUMBERS - first:
        raise KeyringError(f"{count} numbers are not to be had: {NUMBERS - first} of 2^40 are left; ask for fewer")
    return first
