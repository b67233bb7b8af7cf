"""An issuer: what a machine needs to name its images, and nothing that would let it name those of others.

Its file holds the secret that all issuers of a keyring share (pilot and sections) and its own; neither leads back
to the master secret. Its numbers are counted beside it (:mod:`.counter`), or by whatever else has
`reserve(count, issuer) -> range`.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass

from ..errors import KeyringError
from ..files import reason, write_atomically
from .counter import Counter, Numbers, counter_path
from .keyring import Keyring
from .layout import MAIN, Identity, IssuerEntry, Layout
from .names import Names
from .private_file import content_of, intact, integrity, quoted, read_private
from .secret import Secret

__all__ = ["Issuer", "write_issuer"]

SCHEMA = "wmark-issuer/1"


@dataclass(frozen=True)
class Issuer:
    """Who names images.

    Arguments:
        names: The issuer's names, and those of nobody else.
        numbers: Where its numbers come from.

    Raises:
        KeyringError: If these are the names of several, or the issuer was revoked.
    """

    names: Names
    numbers: Numbers

    def __post_init__(self) -> None:
        if len(self.names.issuers) != 1:
            raise KeyringError("an issuer names images as one: take `keyring.names('main')`")
        if self.entry.revoked:
            raise KeyringError(f"issuer {self.entry.name!r} was revoked at {self.entry.revoked}: use another")

    @property
    def entry(self) -> IssuerEntry:
        """Its name and its range of numbers."""
        return self.names.issuers[0]

    def issue(self, count: int) -> list[Identity]:
        """Names that no other image has or will have, theirs from now on, whatever becomes of the images.

        Raises:
            KeyringError: If so many are not left, or what counts them hands out others' numbers.
        """
        numbers = self.numbers.reserve(count, self.entry)
        if len(numbers) != count or any(number not in self.entry.numbers for number in numbers):
            raise KeyringError(f"{numbers!r} are not {count} numbers of issuer {self.entry.name!r}: let its own count")
        return [self.names.identity(number) for number in numbers]

    @classmethod
    def load(cls, path: str | os.PathLike, numbers: Numbers | None = None) -> Issuer:
        """The issuer of a file, or the issuer `main` of a keyring's.

        Arguments:
            path: The file of an issuer or of a keyring.
            numbers: Where its numbers come from; the counter beside the file if not given.

        Raises:
            KeyringError: If the file is missing, readable by other users, damaged, edited or of an unknown version.
        """
        names = read_private(path, "issuer", "create one with `wmark keys issuer create`", parse)
        names = names or Keyring.load(path).names(MAIN)
        return cls(names, numbers or Counter(counter_path(path), names.keyring))


def write_issuer(names: Names, path: str | os.PathLike) -> Issuer:
    """Write the file of an issuer, and its counter beside it.

    The keyring is to be saved first: numbers that it does not know to be given away, it gives away again.

    Arguments:
        names: The names of one issuer: `keyring.names(issuer)`.
        path: The file; it must not exist.

    Raises:
        KeyringError: If there is such a file, or it cannot be written.
    """
    counter = Counter(counter_path(path), names.keyring)
    issuer = Issuer(names, counter)
    try:
        write_atomically(path, serialise(names), mode=0o600, overwrite=False)
    except FileExistsError:
        raise KeyringError(f"issuer {quoted(path)} exists already: choose another name") from None
    except (OSError, ValueError) as error:
        raise KeyringError(f"issuer {quoted(path)} cannot be written: {reason(error)}") from error
    counter.begin(issuer.entry)
    return issuer


def parse(data: bytes, name: str) -> Names | KeyringError | None:
    """What a file's bytes hold, None for a keyring's, or why they hold no issuer."""
    content = content_of(data, name, "issuer", (SCHEMA, "wmark-keyring/1", "wmark-keyring/2"))
    if isinstance(content, KeyringError):
        return content
    if content["schema"] != SCHEMA:
        return None
    try:
        shared, own = (Secret(base64.b64decode(content[part], validate=True)) for part in ("shared", "secret"))
        if intact(own, content):
            entry = IssuerEntry(**content["issuer"])
            return Names(Layout.from_json(content["layout"]), shared, {entry: own}, content["keyring"])
    except (AttributeError, KeyError, TypeError, ValueError, KeyringError):
        pass
    return KeyringError(f"issuer {name} is damaged or was edited: restore it from a backup")


def serialise(names: Names) -> memoryview:
    """The bytes of an issuer's file, as a view that the local variables of a traceback do not show."""
    (entry,) = names.issuers
    shared, own = names.secrets(entry.name)
    stored = {
        "schema": SCHEMA,
        "keyring": names.keyring,
        "layout": names.layout.to_json(),
        "issuer": vars(entry),
        "shared": base64.b64encode(shared.reveal()).decode(),
        "secret": base64.b64encode(own.reveal()).decode(),
    }
    stored["integrity"] = integrity(own, stored)
    return memoryview(json.dumps(stored, indent=1).encode() + b"\n")
