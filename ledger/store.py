"""The ledger: which numbers were issued, and what became of each.

    reserve    numbers nobody has had, durable before the first image of them exists
    register   what is known of a finished image, under its number, once
    find       the row of a number;  `search`  the rows that fit
    issued     which numbers there are, as a few ranges

An issuer's counter moves in the transaction that writes the reserved rows. So a number is issued or not, whatever was
killed; every number issued has a row, and a row that is missing was taken away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Select, insert, select, text, update

from ..errors import LedgerError
from . import schema
from .numbers import IssuerState, states, take
from .place import Place
from .query import Query
from .row import Issuer, Row, now
from .schema import images
from .seals import Seals

if TYPE_CHECKING:
    from ..watermark.counter import Numbers

__all__ = ["Counted", "Ledger"]

AT_ONCE = 10_000
FIELDS = tuple(column.name for column in images.columns if column.name != "seal")


class Ledger:
    """A ledger, opened; one to each process that uses it.

    Arguments:
        place: A file of SQLite, or a URL that begins with `postgresql://`.
        seals: What seals rows, and tells whether they carry their seal. Without it a ledger can be read only.
        create: Whether a new one may be begun.

    Raises:
        LedgerError: If it cannot be opened, or is another keyring's.
    """

    def __init__(self, place: str | os.PathLike, seals: Seals | None = None, *, create: bool = False) -> None:
        self.place, self.seals = Place.of(place), seals
        create = create and seals is not None
        self.engine = self.place.engine(create=create)
        try:
            self._set_up(seals.keyring if create else None)
            with self.reading() as connection:
                self.keyring = schema.fact(connection, "keyring")
            if seals and self.keyring != seals.keyring:
                raise LedgerError(
                    f"{self.place.name} is of keyring {self.keyring}, not of {seals.keyring}: name the other one"
                )
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{self.place.name} of keyring {self.keyring}>"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger."""
        with self.place.spoken(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: all of it, durable when this is left, or nothing."""
        with self.place.spoken(), self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    def reserve(self, count: int, issuer: Issuer, counter: Numbers | None = None) -> range:
        """Issue numbers that nobody has had.

        Arguments:
            count: How many.
            issuer: Who issues them.
            counter: What counts the issuer's numbers beside the ledger, so that they are not repeated either if the
                ledger is lost or put back from a backup.

        Returns:
            Consecutive numbers, each of them on the disk as reserved.

        Raises:
            KeyringError, LedgerError: If the issuer has not so many left, shares numbers with another, or the ledger or
                the counter cannot be written.
        """
        if count < 1:
            raise LedgerError(f"{count!r} numbers cannot be issued: ask for 1 or more")
        with self.writing() as connection:
            (numbers, new), time = take(connection, issuer, count, counter), now()
            for start in range(0, len(new), AT_ONCE):
                self.insert(connection, [Row(n, issuer.name, time) for n in new[start : start + AT_ONCE]])
        return numbers

    def beside(self, counter: Numbers) -> Numbers:
        """Where numbers come from, for :class:`wmark.watermark.issuer.Issuer`: this ledger, and a counter beside it."""
        return Counted(self, counter)

    def register(self, *rows: Row) -> None:
        """Write what is known of finished images under their numbers, of all of them or of none.

        When a number was reserved, the ledger knows, and it is registered now unless the row says when. A row that was
        registered just so before is left as it is: whoever doesn't know whether he was heard may ask again.

        Raises:
            LedgerError: If a number was not reserved by this issuer, is another image's already, or its row was
                changed; or if the ledger cannot be written.
        """
        with self.writing() as connection:
            for row in rows:
                found = self.row(connection, row.number, lock=True)
                if found is None or found.issuer != row.issuer:
                    raise LedgerError(
                        f"the number {row.number} was not reserved by issuer {row.issuer!r}: reserve it first"
                    )
                if found.genuine is False:
                    raise LedgerError(f"the row of number {row.number} was changed: see `wmark ledger check`")
                registered = row.registered or found.registered or now()
                wanted = replace(row, reserved=found.reserved, registered=registered)
                if not found.registered:
                    self.put(connection, wanted)
                elif wanted.content != found.content:
                    raise LedgerError(
                        f"the number {row.number} was registered at {found.registered} for another image: reserve one"
                    )

    def find(self, number: int) -> Row | None:
        """The row of a number; None if it was never issued."""
        with self.reading() as connection:
            return self.row(connection, number)

    def search(self, query: Query = Query()) -> Iterator[Row]:  # noqa: B008  A frozen value.
        """The rows that fit, by number, streamed from one state of the ledger."""
        with self.reading() as connection:
            yield from self.rows(connection, query.select())

    def issuers(self) -> list[IssuerState]:
        """Who issues numbers, which, and which were issued."""
        with self.reading() as connection:
            return states(connection)

    def issued(self) -> list[range]:
        """The numbers that were ever issued, as ranges in ascending order."""
        return [issuer.issued for issuer in self.issuers() if issuer.issued]

    def row(self, connection: Connection, number: int, *, lock: bool = False) -> Row | None:
        """The row of a number, locked to the end of the transaction if asked for."""
        query = select(images).where(images.c.number == number)
        return next(self.rows(connection, query.with_for_update() if lock else query), None)

    def rows(self, connection: Connection, query: Select) -> Iterator[Row]:
        """The rows of a query of all columns, streamed."""
        found = connection.execute(query, execution_options={"yield_per": 1000})
        with found:
            yield from map(self._read, found)

    def insert(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Write new rows, sealed."""
        connection.execute(insert(images), [self._values(row) for row in rows])

    def put(self, connection: Connection, row: Row) -> None:
        """Write a row, sealed, in place of the one of its number."""
        connection.execute(update(images).where(images.c.number == row.number).values(self._values(row)))

    def _read(self, found) -> Row:
        values = {name: getattr(found, name) for name in FIELDS}
        if found.sampler is not None:
            try:
                values["sampler"] = json.loads(found.sampler)
            except (TypeError, ValueError):  # Somebody changed it; then the seal is broken, too.
                values["sampler"] = {"unreadable": repr(found.sampler)}
        row = Row(**values)
        return replace(row, genuine=self.seals.genuine(row, found.seal)) if self.seals else row

    def _values(self, row: Row) -> dict:
        if self.seals is None:
            raise LedgerError(f"{self.place.name} was opened without a keyring, so nothing can be written: name one")
        sampler = None if row.sampler is None else json.dumps(row.sampler, sort_keys=True)
        return {**{name: getattr(row, name) for name in FIELDS}, "sampler": sampler, "seal": self.seals.seal(row)}

    def _set_up(self, keyring: str | None) -> None:
        """Make what is missing: the write-ahead log, the tables, the steps of later versions."""
        if not self.place.file:
            with self.writing() as connection:
                schema.migrate(connection, self.place.name, keyring)
            return
        with self.place.spoken(), self.place.locked():
            with self.engine.connect() as connection:
                driver = connection.connection.driver_connection
                self._recognise(driver)
                driver.execute("PRAGMA journal_mode=WAL")
            with self.writing() as connection:
                schema.migrate(connection, self.place.name, keyring)
                connection.execute(text(f"PRAGMA application_id={schema.APPLICATION}"))

    def _recognise(self, driver) -> None:
        """Refuse a file of SQLite that is somebody else's."""
        ((mark,), (tables,)) = (
            driver.execute(query).fetchone()
            for query in ("PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
        )
        if mark != schema.APPLICATION and (mark or tables):
            raise LedgerError(f"{self.place.name} is a database, but no ledger: name another file")


@dataclass(frozen=True)
class Counted:
    """Numbers from a ledger, counted beside it, too.

    Arguments:
        ledger: The ledger.
        counter: What counts them beside it.
    """

    ledger: Ledger
    counter: Numbers

    def reserve(self, count: int, issuer: Issuer) -> range:
        """So many numbers that were never handed out; as :meth:`Ledger.reserve`."""
        return self.ledger.reserve(count, issuer, self.counter)
