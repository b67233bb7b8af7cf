"""The file of a keyring: JSON for its owner alone, refused as a whole if a byte of it was changed.

Beside the master secret `s` and the list of keys it holds

    integrity = HMAC(s, "wmark/integrity/v1/" || content)       over the canonical JSON of everything else

which a file that was cut short or edited fails. That tells damage from the original; it does not keep out whoever can
read the secret, which is why the file is for its owner alone. If its keys have a pilot beside them, the pilot's
strength is in it, and nothing else of the pilot: that is derived from `s`. A file without has no pilot.

    wmark-keyring/1     a keyring without names
    wmark-keyring/2     with names: their layout, and who may issue numbers, under "names"
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import KeyringError
from .layout import IssuerEntry, Layout
from .patterns import Pattern
from .private_file import content_of, intact, integrity, quoted, read_private
from .secret import Secret

__all__ = ["Content", "KeyEntry", "NamesEntry", "quoted", "read", "serialise"]

UNNAMED, NAMED = "wmark-keyring/1", "wmark-keyring/2"


@dataclass(frozen=True)
class KeyEntry:
    """What a keyring knows of one key, nothing of it secret.

    Arguments:
        id: The key's public name.
        pattern: Where the key lives.
        created: When it was added, ISO 8601 in UTC.
        note: Free text of the owner.
        revoked: When it was revoked, ISO 8601 in UTC, or `None`.
    """

    id: str
    pattern: Pattern
    created: str
    note: str = ""
    revoked: str | None = None

    @property
    def status(self) -> str:
        """`active` or `revoked`."""
        return "revoked" if self.revoked else "active"

    @classmethod
    def from_json(cls, entry: dict) -> KeyEntry:
        return cls(**{**entry, "pattern": Pattern.from_json(entry["pattern"])})

    def to_json(self) -> dict:
        return {**vars(self), "pattern": self.pattern.to_json()}


@dataclass(frozen=True)
class NamesEntry:
    """What a keyring knows of its names, nothing of it secret.

    Arguments:
        layout: How the coordinates of an image are shared out.
        issuers: Everyone who was ever given numbers, in the order of these.
    """

    layout: Layout
    issuers: tuple[IssuerEntry, ...]

    @classmethod
    def from_json(cls, entry: dict) -> NamesEntry:
        return cls(Layout.from_json(entry["layout"]), tuple(IssuerEntry(**one) for one in entry["issuers"]))

    def to_json(self) -> dict:
        return {"layout": self.layout.to_json(), "issuers": [vars(one) for one in self.issuers]}


class Content(NamedTuple):
    """What a keyring's file holds.

    Attributes:
        secret: The master secret.
        pattern: Where its keys live unless they say otherwise.
        entries: Every key ever added, in the order of their adding.
        pilot: Strength of the pilot that is planted beside its keys; None for a keyring that has none.
        names: Its names; None for a keyring that has none.
    """

    secret: Secret
    pattern: Pattern
    entries: Sequence[KeyEntry]
    pilot: float | None = None
    names: NamesEntry | None = None


def read(path: str | os.PathLike) -> Content:
    """Read the file of a keyring.

    Raises:
        KeyringError: If the file is missing, readable by other users, damaged, edited or of an unknown version.
    """
    return read_private(path, "keyring", "create one with `wmark keys create` or set WMARK_KEYRING", parse)


def parse(data: bytes, name: str) -> Content | KeyringError:
    """What a file's bytes hold, or why they hold no keyring."""
    content = content_of(data, name, "keyring", (UNNAMED, NAMED))
    if isinstance(content, KeyringError):
        return content
    damaged = KeyringError(f"keyring {name} is damaged or was edited: restore it from a backup")
    try:
        secret = Secret(base64.b64decode(content["secret"], validate=True))
        if not intact(secret, content):
            return damaged
        entries = [KeyEntry.from_json(entry) for entry in content["keys"]]
        names = NamesEntry.from_json(content["names"]) if content["schema"] == NAMED else None
        found = Content(secret, Pattern.from_json(content["pattern"]), entries, content.get("pilot"), names)
    except (AttributeError, KeyError, TypeError, ValueError, KeyringError):
        return damaged
    return found if len({entry.id for entry in entries}) == len(entries) else damaged


def serialise(content: Content, fingerprint: str) -> memoryview:
    """The bytes of a keyring's file, as a view that the local variables of a traceback do not show."""
    stored = {
        "schema": NAMED if content.names else UNNAMED,
        "fingerprint": fingerprint,
        "pattern": content.pattern.to_json(),
        "secret": base64.b64encode(content.secret.reveal()).decode(),
        "keys": [entry.to_json() for entry in content.entries],
        **({} if content.pilot is None else {"pilot": content.pilot}),
        **({"names": content.names.to_json()} if content.names else {}),
    }
    stored["integrity"] = integrity(content.secret, stored)
    return memoryview(json.dumps(stored, indent=1).encode() + b"\n")
