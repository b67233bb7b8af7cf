"""Numbers handed out once each, also after a crash: a counter in a small file.

    lock,   read `next`,   write `next + count` and wait for the disk,   unlock,   hand out next ... next + count - 1

so that whoever is killed in between loses numbers and repeats none. A file that is missing is not begun anew: numbers
would be repeated.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from ..errors import KeyringError
from ..files import UnfitFile, exclusive, open_regular, reason, shown, write_atomically
from .layout import IssuerEntry

__all__ = ["Counter", "Numbers", "counter_path"]

SCHEMA = "wmark-numbers/1"
LARGEST = 1 << 16


class Numbers(Protocol):
    """Where an issuer's numbers come from: a counter, a ledger."""

    def reserve(self, count: int) -> range:
        """So many numbers that were never handed out and never will be again; durable when it returns."""
        ...


def counter_path(secrets: str | os.PathLike) -> Path:
    """Where the numbers of an issuer are counted: beside the file of its secrets, links followed."""
    path = Path(os.path.realpath(secrets))
    return path.with_name(path.name + ".numbers")


class Counter:
    """The counter of an issuer.

    Arguments:
        path: Its file, which :meth:`begin` makes.
        keyring: Fingerprint of the keyring.
        entry: Whose numbers are counted.
    """

    def __init__(self, path: str | os.PathLike, keyring: str, entry: IssuerEntry) -> None:
        self.path, self.keyring, self.entry = Path(os.path.realpath(path)), keyring, entry

    def begin(self) -> None:
        """Make the file, with all numbers left.

        Raises:
            KeyringError: If there is one, or it cannot be written.
        """
        self._locked(lambda: self._write(self.entry.first, overwrite=False))

    def reserve(self, count: int) -> range:
        """The next numbers, kept for the caller on the disk.

        Raises:
            KeyringError: If so many are not left, or the file is missing, another's, or cannot be read or written.
        """
        return self._locked(lambda: self._reserve(count))

    @property
    def next(self) -> int:
        """The number that is handed out next; all before it were handed out."""
        try:
            with open_regular(self.path, LARGEST) as file:
                content = json.loads(file.read())
            mine = (content["schema"], content["keyring"], content["issuer"]) == (SCHEMA, self.keyring, self.entry.id)
            number = content["next"]
        except FileNotFoundError:
            raise KeyringError(
                f"the numbers of issuer {self.entry.id!r} are counted in '{shown(self.path)}', which is missing: "
                "restore it, or create another issuer with `wmark keys issuer create`; begun anew, it repeats numbers"
            ) from None
        except (UnfitFile, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise KeyringError(f"the numbers of '{shown(self.path)}' cannot be read: {reason(error)}") from error
        if not mine or not isinstance(number, int) or not 0 <= number - self.entry.first <= self.entry.count:
            raise KeyringError(f"'{shown(self.path)}' counts no numbers of issuer {self.entry.id!r}: restore its own")
        return number

    def _reserve(self, count: int) -> range:
        first = self.next
        left = self.entry.first + self.entry.count - first
        if not 0 < count <= left:
            raise KeyringError(
                f"issuer {self.entry.id!r} has {left} numbers left, not {count}: create another with "
                "`wmark keys issuer create`"
            )
        self._write(first + count, overwrite=True)
        return range(first, first + count)

    def _write(self, number: int, *, overwrite: bool) -> None:
        content = {"schema": SCHEMA, "keyring": self.keyring, "issuer": self.entry.id, "next": number}
        text = json.dumps(content).encode() + b"\n"
        write_atomically(self.path, text, mode=0o600, overwrite=overwrite, locked=True)

    def _locked(self, action):
        try:
            with exclusive(self.path):
                return action()
        except FileExistsError:
            raise KeyringError(f"'{shown(self.path)}' counts numbers already: choose another name") from None
        except OSError as error:
            raise KeyringError(f"the numbers of '{shown(self.path)}' cannot be counted: {reason(error)}") from error
