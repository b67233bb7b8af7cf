"""Numbers handed out once each, also after a crash: a counter in a small file.

    lock,   read `next`,   write `next + count` and wait for the disk,   unlock,   hand out next ... next + count - 1

so that whoever is killed in between loses numbers and repeats none. A file that is missing is not begun anew: numbers
would be repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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

    def reserve(self, count: int, issuer: IssuerEntry) -> range:
        """So many of an issuer's numbers that were never handed out and never will be again; durable by then."""
        ...


def counter_path(secrets: str | os.PathLike) -> Path:
    """Where the numbers of an issuer are counted: beside the file of its secrets, links followed."""
    path = Path(os.path.realpath(secrets))
    return path.with_name(path.name + ".numbers")


class Counter:
    """The counter of one issuer.

    Arguments:
        path: Its file, which :meth:`begin` makes.
        keyring: Fingerprint of the keyring.
    """

    def __init__(self, path: str | os.PathLike, keyring: str) -> None:
        self.path, self.keyring = Path(os.path.realpath(path)), keyring

    def begin(self, issuer: IssuerEntry) -> None:
        """Make the file, with all numbers of an issuer left.

        Raises:
            KeyringError: If there is one, or it cannot be written.
        """
        with self._locked():
            self._write(issuer, issuer.first, overwrite=False)

    def reserve(self, count: int, issuer: IssuerEntry) -> range:
        """The next numbers, kept for the caller on the disk.

        Raises:
            KeyringError: If so many are not left, or the file is missing, another's, or cannot be read or written.
        """
        with self._locked():
            first = self.next(issuer)
            left = issuer.first + issuer.count - first
            if not 0 < count <= left:
                raise KeyringError(
                    f"issuer {issuer.name!r} has {left} numbers left, not {count}: create another with "
                    "`wmark keys issuer create`"
                )
            self._write(issuer, first + count, overwrite=True)
        return range(first, first + count)

    def next(self, issuer: IssuerEntry) -> int:
        """The number that is handed out next; all before it were handed out."""
        try:
            with open_regular(self.path, LARGEST) as file:
                content = json.loads(file.read())
            mine = (content["schema"], content["keyring"], content["issuer"]) == (SCHEMA, self.keyring, issuer.name)
            number = content["next"]
        except FileNotFoundError:
            raise KeyringError(
                f"the numbers of issuer {issuer.name!r} are counted in '{shown(self.path)}', which is missing: restore "
                "it, or create another issuer with `wmark keys issuer create`; begun anew, it repeats numbers"
            ) from None
        except (UnfitFile, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise KeyringError(f"the numbers of '{shown(self.path)}' cannot be read: {reason(error)}") from error
        if not mine or not isinstance(number, int) or not 0 <= number - issuer.first <= issuer.count:
            raise KeyringError(f"'{shown(self.path)}' counts no numbers of issuer {issuer.name!r}: restore its own")
        return number

    def _write(self, issuer: IssuerEntry, number: int, *, overwrite: bool) -> None:
        content = {"schema": SCHEMA, "keyring": self.keyring, "issuer": issuer.name, "next": number}
        text = json.dumps(content).encode() + b"\n"
        write_atomically(self.path, text, mode=0o600, overwrite=overwrite, locked=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with exclusive(self.path):
                yield
        except FileExistsError:
            raise KeyringError(f"'{shown(self.path)}' counts numbers already: choose another name") from None
        except OSError as error:
            raise KeyringError(f"the numbers of '{shown(self.path)}' cannot be counted: {reason(error)}") from error
