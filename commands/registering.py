"""Named images and the ledger: `embed` writes down what it makes, `verify` reads what is known of a name it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import LedgerError
from .ledger import ledger_option
from .options import choice, with_options
from .terminal import complain

if TYPE_CHECKING:
    from PIL import Image

    from ..detectors.verdict import Verdict
    from ..ledger import Ledger
    from ..ledger.account import Account
    from ..ledger.manifests import LedgerManifests
    from ..ledger.registration import Keep
    from ..provenance import Signer
    from ..watermark.issuer import Issuer
    from ..watermark.keys import Key
    from ..watermark.names import Names
    from ..watermark.record import MarkedImage

__all__ = ["Accounts", "Register", "Registered", "reads_ledger", "registers"]

KEPT = ("prompt", "thumbnail")


@dataclass(frozen=True)
class Registered:
    """Where finished images are written down.

    Attributes:
        issuer: Who names them; its numbers come from the ledger, if there is one.
        ledger: The ledger; None writes nothing down.
        keep: What is kept beyond what must be.
    """

    issuer: Key | Issuer
    ledger: Ledger | None = None
    keep: Keep | None = None

    def finished(self, path: Path, marked: MarkedImage) -> None:
        """Write down an image that stands in its file with its record; once, whoever asks again."""
        from ..ledger.registration import row_of
        from ..watermark.record import read_record

        record = read_record(path) or {}
        if self.ledger is None or record.get("keyring") != self.ledger.keyring or "number" not in record:
            return
        known = self.ledger.find(record["number"])
        if known is None or known.registered:
            return
        named = replace(marked, record=record)
        self.ledger.register(
            row_of(named, record["number"], record["issuer"], record["image_sha256"], self.ledger.seals, self.keep)
        )

    def signing(self, signer: Signer | None) -> Signer | None:
        """Who signs the images; copies of manifests are kept in the ledger as well."""
        from ..ledger.manifests import LedgerManifests

        return signer.keeping(LedgerManifests(self.ledger)) if signer and self.ledger else signer

    def catch_up(self, paths: Iterable[Path]) -> None:
        """Write down images whose files were finished by a run that was killed right after."""
        from ..images import open_image
        from ..watermark.record import MarkedImage

        for path in paths if self.ledger else ():
            self.finished(path, MarkedImage(open_image(path), {}))


@dataclass(frozen=True)
class Register:
    """What was asked for of the ledger of images that are about to be made.

    Attributes:
        place: The ledger; None for the one beside the issuer's file.
        kept: What is kept beyond what must be, of :data:`KEPT`.
        unwritten: Whether nothing is to be written down.
    """

    place: str | None
    kept: tuple[str, ...]
    unwritten: bool

    @contextmanager
    def open(self, key: Key | Issuer, file: Path) -> Iterator[Registered]:
        """The ledger for as long as images are made; begun, if there is none. A key that is no name has none.

        Arguments:
            key: What images are to carry.
            file: The file of the keyring or the issuer that it is from.

        Raises:
            LedgerError: If the ledger cannot be opened, or is another keyring's.
        """
        from ..watermark.issuer import Issuer

        if self.unwritten or not isinstance(key, Issuer):
            yield Registered(key)
            return
        from ..ledger import Ledger, Seals
        from ..ledger.place import default_place
        from ..ledger.registration import Keep

        keep = Keep(**dict.fromkeys(self.kept, True))
        with Ledger(self.place or default_place(file), Seals.of(key.names), create=True) as ledger:
            yield Registered(replace(key, numbers=ledger.beside(key.numbers)), ledger, keep)


def registers(command: Callable) -> Callable:
    """Add the options of who writes to the ledger; the command gets `register`."""

    @wraps(command)
    def with_register(*args, place, kept, unwritten, **options):
        if unwritten and kept:
            raise click.UsageError("--keep says what the ledger keeps, --no-ledger that there is none: leave one out")
        return command(*args, register=Register(place, kept, unwritten), **options)

    keep = click.option(
        "--keep",
        "kept",
        type=choice(KEPT),
        multiple=True,
        help="Keep this in the ledger, too: the prompt's words, or a small picture.",
    )
    no_ledger = click.option(
        "--no-ledger", "unwritten", is_flag=True, help="Write down nothing of images that are named."
    )
    return with_options([ledger_option, keep, no_ledger])(with_register)


@dataclass(frozen=True)
class Accounts:
    """Where what is known of names is looked up.

    Attributes:
        place: The ledger, where one was named; that beside the keyring is read if it is there.
    """

    place: str | None

    @contextmanager
    def open(self, keyring: Path, names: Names | None) -> Iterator[Known]:
        """What the ledger knows; nothing where names are not tested. No verdict depends on it: where the one beside the
        keyring cannot be used, that is said, and images are looked at all the same.

        Raises:
            LedgerError: If a ledger that was named cannot be opened, or is another keyring's.
        """
        from ..ledger.account import known_ledger

        ledger = None
        try:
            ledger = known_ledger(self.place, keyring, names) if names else None
        except LedgerError as error:
            if self.place is not None:
                raise
            complain(f"note: {error}; nothing is told from it")
        with ledger or nullcontext():
            yield Known(ledger)


@dataclass(frozen=True)
class Known:
    """What is known of images that carry a name.

    Attributes:
        ledger: The ledger; None where there is none.
    """

    ledger: Ledger | None

    def account(self, verdict: Verdict, image: Callable[[], Image.Image]) -> Account | None:
        """What the ledger says of an image; None where no name is found, or it does not know the name."""
        from ..ledger.account import account_of

        if self.ledger is None or verdict.name is None:
            return None
        found = verdict.names.identity
        return account_of(self.ledger, verdict.name.number, image, verdict.undoing, found.log10_p)

    @property
    def manifests(self) -> LedgerManifests | None:
        """The manifests that it keeps."""
        from ..ledger.manifests import LedgerManifests

        return LedgerManifests(self.ledger) if self.ledger else None


def reads_ledger(command: Callable) -> Callable:
    """Add the option of who reads the ledger; the command gets `accounts`."""

    @wraps(command)
    def with_accounts(*args, place, **options):
        return command(*args, accounts=Accounts(place), **options)

    return with_options([ledger_option])(with_accounts)
