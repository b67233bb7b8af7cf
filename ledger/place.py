"""Where a ledger is: a file of SQLite, or a database of PostgreSQL; and how either is opened.

SQLite keeps a write-ahead log and flushes it before a commit returns (`synchronous=FULL`), so that what was said to be
written survives a power cut; a writer takes its lock at once and others wait for it. PostgreSQL commits synchronously
whatever the server's default. A URL is shown without password and options, and no error holds them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from ..errors import LedgerError
from ..files import exclusive, make_folder, open_regular, reason, shown

__all__ = ["Place", "default_place"]

WAIT = 60
"""Seconds that a writer waits for another's transaction."""


@dataclass(frozen=True)
class Place:
    """Where a ledger is.

    Attributes:
        name: What people and errors call it; without a password.
        url: What SQLAlchemy opens. Never shown.
        file: The file, of SQLite.
    """

    name: str
    url: URL = field(repr=False)
    file: Path | None = None

    @classmethod
    def of(cls, place: str | os.PathLike) -> Place:
        """The place of a path, or of a URL that begins with `postgresql://`.

        Raises:
            LedgerError: If it is neither. The error does not quote it, since it may hold a password.
        """
        if "://" not in os.fspath(place):
            file = Path(os.path.realpath(Path(place).expanduser()))
            return cls(f"ledger '{shown(place)}'", URL.create("sqlite", database=str(file)), file)
        wrong = "the ledger's URL is not like postgresql://user@host:5432/database"
        try:
            url = make_url(os.fspath(place))
        except (ArgumentError, ValueError):
            raise LedgerError(f"{wrong}: write special characters of the password as %40 and the like") from None
        if url.get_backend_name() not in ("postgresql", "postgres") or not url.database:
            raise LedgerError(f"{wrong}: name that, or a file")
        bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
        name = f"ledger {shown(bare.render_as_string())}"
        return cls(name, url.set(drivername="postgresql+psycopg"))

    def engine(self, *, create: bool) -> Engine:
        """What connects to it; a file is made for its owner alone, if there is none and `create`.

        Raises:
            LedgerError: If the file is missing, open to other users, or none of SQLite's; or a driver is missing.
        """
        if self.file:
            self._prepare(create)
            options = {"connect_args": {"timeout": WAIT}}
        else:
            options = {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}
        try:
            engine = create_engine(self.url, hide_parameters=True, **options)
        except (ImportError, NoSuchModuleError):
            raise LedgerError(f"{self.name} needs a driver: pip install 'wmark[postgresql]'") from None
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "begin", on_begin)
        return engine

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """Errors of the database as a sentence, without parameters, URL and password."""
        try:
            yield
        except SQLAlchemyError as error:
            problem = LedgerError(f"{self.name} {self._why(error)}")
        except OSError as error:
            problem = LedgerError(f"{self.name} cannot be read or written: {reason(error)}")
        else:
            return
        raise problem

    def locked(self):
        """Hold the lock of a file while it is set up."""
        return exclusive(self.file)

    def _why(self, error: SQLAlchemyError) -> str:
        cause = getattr(error, "orig", None) or error
        said = reason(cause).partition("\n")[0]
        for secret in {self.url.password, *self.url.query.values()} - {None, ""}:
            said = said.replace(str(secret).lower(), "...")
        if "locked" in said and self.file:
            return f"is kept busy by another process for more than {WAIT} seconds: try again"
        if isinstance(cause, sqlite3.DatabaseError) and ("not a database" in said or "malformed" in said):
            return f"is damaged or no ledger ({said}): restore it from a backup"
        return f"cannot be used: {shown(said[:300])}"

    def _prepare(self, create: bool) -> None:
        if not create and not self.file.exists():
            raise LedgerError(f"{self.name} does not exist: `wmark embed` begins one, --ledger names another")
        with self.spoken():
            make_folder(self.file.parent, private=True)
            os.close(os.open(self.file, os.O_RDWR | os.O_NONBLOCK | (os.O_CREAT if create else 0), 0o600))
            with open_regular(self.file, 1 << 62) as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
        if os.name == "posix" and mode & 0o077:
            raise LedgerError(f"{self.name} is open to other users (mode {mode:04o}): run `chmod 600` on it")

    def _on_connect(self, connection, record: object) -> None:
        cursor = connection.cursor()
        if self.file:
            connection.isolation_level = None  # Transactions are begun by `on_begin`.
            for setting in (f"busy_timeout={1000 * WAIT}", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
                cursor.execute(f"PRAGMA {setting}")
        else:
            cursor.execute("SET synchronous_commit TO on")
            connection.commit()
        cursor.close()


def on_begin(connection: Connection) -> None:
    """A writer of SQLite takes the lock at once: two that read first and then write would have to be turned away."""
    if connection.dialect.name == "sqlite":
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def default_place(keyring: Path | None = None) -> str:
    """`$WMARK_LEDGER`, or the file beside the keyring: `keyring.ledger.sqlite` beside `keyring.json`."""
    if chosen := os.environ.get("WMARK_LEDGER"):
        return chosen
    from ..watermark.keyring import default_path

    keyring = keyring or default_path()
    return str(keyring.with_name(f"{keyring.stem}.ledger.sqlite"))
