"""Files of secrets: JSON for its owner alone, refused as a whole if a byte of it was changed."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable
from typing import TypeVar

from ..errors import KeyringError
from ..files import UnfitFile, open_regular, reason, shown
from .secret import Secret

__all__ = ["content_of", "intact", "integrity", "quoted", "read_private"]

LARGEST = 64 << 20

Content = TypeVar("Content")


def read_private(
    path: str | os.PathLike, what: str, missing: str, parse: Callable[[bytes, str], Content | KeyringError]
) -> Content:
    """Read a file of secrets.

    Arguments:
        path: The file.
        what: What it should be, for errors.
        missing: What to do where it is missing.
        parse: From its bytes and its quoted name to what it holds, or to why it holds nothing: the error is returned,
            not raised, since a traceback from there could show the content, and the secrets with it.

    Raises:
        KeyringError: If the file is missing, readable by other users, or holds nothing.
    """
    name = quoted(path)
    try:
        with open_regular(path, LARGEST) as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if os.name == "posix" and mode & 0o077:
                raise KeyringError(f"{what} {name} is open to other users (mode {mode:04o}): run `chmod 600` on it")
            found = parse(file.read(), name)
    except FileNotFoundError:
        raise KeyringError(f"{what} {name} does not exist: {missing}") from None
    except UnfitFile as error:
        raise KeyringError(f"{what} {name} {error}: choose another file") from None
    except (OSError, ValueError) as error:
        raise KeyringError(f"{what} {name} cannot be read: {reason(error)}") from error
    if isinstance(found, KeyringError):
        raise found
    return found


def content_of(data: bytes, name: str, what: str, schemas: tuple[str, ...]) -> dict | KeyringError:
    """The JSON of a file of one of some schemas, or why it is none."""
    try:
        content = json.loads(data)
        schema = content["schema"]
    except (ValueError, RecursionError):
        return KeyringError(f"{what} {name} is damaged or was edited: restore it from a backup")
    except (KeyError, TypeError):
        return KeyringError(f"{name} is not {'an' if what[0] in 'aeiou' else 'a'} {what} of wmark: choose another file")
    if schema not in schemas:
        known = " or ".join(map(repr, schemas))
        return KeyringError(
            f"{what} {name} has the schema {str(schema)[:40]!r}, not {known}: use the wmark that wrote it"
        )
    return content


def intact(secret: Secret, content: dict) -> bool:
    """Whether a content's tag, which is taken out of it, is that of the rest."""
    return hmac.compare_digest(content.pop("integrity").encode(), integrity(secret, content).encode())


def integrity(secret: Secret, content: dict) -> str:
    """HMAC(secret, "wmark/integrity/v1/" || canonical JSON of the content)."""
    return secret.tag(b"wmark/integrity/v1/" + json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def quoted(path: str | os.PathLike) -> str:
    return f"'{shown(path)}'"
