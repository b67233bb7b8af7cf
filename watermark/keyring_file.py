"""The file of a keyring: JSON for its owner alone, refused as a whole if a byte of it was changed.

Beside the master secret `s` and the list of keys it holds

    integrity = HMAC(s, "wmark/integrity/v1/" || content)       over the canonical JSON of everything else

which a file that was cut short or edited fails. That tells damage from the original; it does not keep out whoever can
read the secret, which is why the file is for its owner alone. If its keys have a pilot beside them, the pilot's
strength is in it, and nothing else of the pilot: that is derived from `s`. A file without has no pilot.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import KeyringError
from ..files import UnfitFile, open_regular, reason, shown
from .patterns import Pattern
from .secret import Secret

__all__ = ["Content", "KeyEntry", "quoted", "read", "serialise"]

SCHEMA = "wmark-keyring/1"
LARGEST = 64 << 20


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


class Content(NamedTuple):
    """What a keyring's file holds.

    Attributes:
        secret: The master secret.
        pattern: Where its keys live unless they say otherwise.
        entries: Every key ever added, in the order of their adding.
        pilot: Strength of the pilot that is planted beside its keys; None for a keyring that has none.
    """

    secret: Secret
    pattern: Pattern
    entries: Sequence[KeyEntry]
    pilot: float | None = None


def read(path: str | os.PathLike) -> Content:
    """Read the file of a keyring.

    Raises:
        KeyringError: If the file is missing, readable by other users, damaged, edited or of an unknown version.
    """
    name = quoted(path)
    try:
        with open_regular(path, LARGEST) as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if os.name == "posix" and mode & 0o077:
                exposed = f"keyring {name} is open to other users (mode {mode:04o})"
                raise KeyringError(f"{exposed}: run `chmod 600` on it")
            found = parse(file.read(), name)
    except FileNotFoundError:
        advice = "create one with `wmark keys create` or set WMARK_KEYRING"
        raise KeyringError(f"keyring {name} does not exist: {advice}") from None
    except UnfitFile as error:
        raise KeyringError(f"keyring {name} {error}: choose another file") from None
    except (OSError, ValueError) as error:
        raise KeyringError(f"keyring {name} cannot be read: {reason(error)}") from error
    if isinstance(found, KeyringError):
        raise found
    return found


def parse(data: bytes, name: str) -> Content | KeyringError:
    """What a file's bytes hold, or why they hold no keyring.

    The error is returned, not raised: a traceback from here could show the content, and the secret with it.
    """
    damaged = KeyringError(f"keyring {name} is damaged or was edited: restore it from a backup")
    try:
        content = json.loads(data)
        schema = content["schema"]
    except (ValueError, RecursionError):
        return damaged
    except (KeyError, TypeError):
        return KeyringError(f"{name} is not a keyring of wmark: choose another file")
    if schema != SCHEMA:
        seen = str(schema)[:40]
        return KeyringError(f"keyring {name} has the schema {seen!r}, not {SCHEMA!r}: use the wmark that wrote it")
    try:
        secret = Secret(base64.b64decode(content["secret"], validate=True))
        stated = content.pop("integrity").encode()
        if not hmac.compare_digest(stated, integrity(secret, content).encode()):
            return damaged
        entries = [KeyEntry.from_json(entry) for entry in content["keys"]]
        found = Content(secret, Pattern.from_json(content["pattern"]), entries, content.get("pilot"))
    except (AttributeError, KeyError, TypeError, ValueError, KeyringError):
        return damaged
    return found if len({entry.id for entry in entries}) == len(entries) else damaged


def serialise(content: Content, fingerprint: str) -> memoryview:
    """The bytes of a keyring's file, as a view that the local variables of a traceback do not show."""
    stored = {
        "schema": SCHEMA,
        "fingerprint": fingerprint,
        "pattern": content.pattern.to_json(),
        "secret": base64.b64encode(content.secret.reveal()).decode(),
        "keys": [entry.to_json() for entry in content.entries],
        **({} if content.pilot is None else {"pilot": content.pilot}),
    }
    stored["integrity"] = integrity(content.secret, stored)
    return memoryview(json.dumps(stored, indent=1).encode() + b"\n")


def integrity(secret: Secret, content: dict) -> str:
    return secret.tag(b"wmark/integrity/v1/" + json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def quoted(path: str | os.PathLike) -> str:
    return f"'{shown(path)}'"
