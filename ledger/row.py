"""A row: what is known of one numbered image; a value that says nothing of where it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Protocol

from ..errors import LedgerError

__all__ = ["NUMBERS", "Issuer", "Row", "check_issuer", "now"]

NUMBERS = range(2**40)
"""The numbers that images may have."""

ISSUER = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Issuer(Protocol):
    """Who issues numbers: its name, and the numbers that are its own and nobody else's."""

    @property
    def name(self) -> str: ...

    @property
    def numbers(self) -> range: ...


@dataclass(frozen=True)
class Row:
    """One image.

    A number is *reserved* before its image exists, and *registered* when the image stands in its file. One that stays
    reserved was never finished.

    Attributes:
        number: The image's number, below 2^40.
        issuer: Who issued the number.
        reserved: When, ISO 8601 in UTC.
        registered: When the image was finished, or None.
        model, model_fingerprint: Name of the model that made it, and fingerprint of its weights.
        sampler: Settings of the sampler, anything that JSON can hold.
        prompt_hash: Keyed hash of the prompt (:meth:`Seals.prompt_hash`), 64 hexadecimal digits.
        prompt: The prompt itself, where somebody asked for it to be kept.
        file_hash: SHA-256 of the file, 64 hexadecimal digits.
        width, height: Size in pixels.
        fingerprint: What the picture looked like (:mod:`.likeness`).
        thumbnail: A small picture as the bytes of a WebP file, where somebody asked for one.
        genuine: Whether the row carries its seal (:mod:`.seals`): False if it was changed or swapped since, None if the
            secret is not here to tell. Set by who reads a row, and no part of it.
    """

    number: int
    issuer: str
    reserved: str
    registered: str | None = None
    model: str | None = None
    model_fingerprint: str | None = None
    sampler: Mapping | None = None
    prompt_hash: str | None = None
    prompt: str | None = field(default=None, repr=False)
    file_hash: str | None = None
    width: int | None = None
    height: int | None = None
    fingerprint: bytes | None = field(default=None, repr=False)
    thumbnail: bytes | None = field(default=None, repr=False)
    genuine: bool | None = field(default=None, compare=False)

    @property
    def state(self) -> str:
        """`reserved` or `registered`."""
        return "registered" if self.registered else "reserved"

    @property
    def content(self) -> bytes:
        """What is sealed, as canonical JSON. What is None is left out, so that a column added later breaks no seal."""
        told = {name: value for name, value in self._stored().items() if value is not None}
        return json.dumps(told, sort_keys=True, separators=(",", ":"), default=bytes.hex).encode()

    def to_json(self) -> dict:
        """All but the fingerprint and the thumbnail, which are bytes: what `wmark ledger` prints and exports."""
        told = {name: value for name, value in self._stored().items() if name not in ("fingerprint", "thumbnail")}
        return {"number": self.number, "state": self.state, **told, "genuine": self.genuine}

    def _stored(self) -> dict:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "genuine"}


def check_issuer(name: object) -> None:
    """Refuse what is no issuer's name with a :class:`LedgerError`."""
    if not (isinstance(name, str) and ISSUER.fullmatch(name)):
        raise LedgerError(f"issuer {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
