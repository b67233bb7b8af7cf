"""The tables, and the steps that bring a ledger of any earlier version to them.

A step is the statements that lead from one version to the next; the version that a ledger has is one of its facts.
Steps that were released are never changed. Alembic would do it too, but for a few statements that run unattended on
both databases it asks for an environment, a folder of scripts and a template language, and works around SQLite's ALTER
TABLE by copying tables, which a ledger that other processes write to has no use for.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
    update,
)

from ..errors import LedgerError

__all__ = ["APPLICATION", "fact", "images", "issuers", "manifests", "migrate"]

metadata = MetaData()
number = BigInteger().with_variant(Integer(), "sqlite")

facts = Table("wmark_facts", metadata, Column("name", Text, primary_key=True), Column("value", Text))

issuers = Table(
    "wmark_issuers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("first", number),
    Column("stop", number),
    Column("next", number),
    Column("created", Text),
)

images = Table(
    "wmark_images",
    metadata,
    Column("number", number, primary_key=True, autoincrement=False),
    Column("issuer", Text),
    Column("reserved", Text),
    Column("registered", Text),
    Column("model", Text),
    Column("model_fingerprint", Text),
    Column("sampler", Text),
    Column("prompt_hash", Text),
    Column("prompt", Text),
    Column("file_hash", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("fingerprint", LargeBinary),
    Column("thumbnail", LargeBinary),
    Column("seal", Text),
)

manifests = Table(
    "wmark_manifests",
    metadata,
    Column("mark", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("manifest", LargeBinary),
)

TYPES = {
    "sqlite": {"number": "INTEGER", "bytes": "BLOB", "order": ""},
    "postgresql": {"number": "BIGINT", "bytes": "BYTEA", "order": ' COLLATE "C"'},
}

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE wmark_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE wmark_issuers (name TEXT PRIMARY KEY, first {number} NOT NULL, stop {number} NOT NULL, "
        "next {number} NOT NULL, created TEXT NOT NULL)",
        "CREATE TABLE wmark_images (number {number} PRIMARY KEY, issuer TEXT NOT NULL REFERENCES wmark_issuers (name), "
        "reserved TEXT{order} NOT NULL, registered TEXT{order}, model TEXT, model_fingerprint TEXT, sampler TEXT, "
        "prompt_hash TEXT, prompt TEXT, file_hash TEXT{order}, width INTEGER, height INTEGER, fingerprint {bytes}, "
        "thumbnail {bytes}, seal TEXT NOT NULL)",
        "CREATE INDEX wmark_images_file_hash ON wmark_images (file_hash)",
        "CREATE INDEX wmark_images_registered ON wmark_images (registered)",
        "CREATE INDEX wmark_images_unfinished ON wmark_images (number) WHERE registered IS NULL",
    ),
    (
        "CREATE TABLE wmark_manifests (mark TEXT NOT NULL, digest TEXT NOT NULL, manifest {bytes} NOT NULL, "
        "PRIMARY KEY (mark, digest))",
    ),
)
"""The statements of each version; the first one's begin with nothing."""

APPLICATION = 0x776D726B
"""By which a file of SQLite is known as a ledger, and the migration of one in PostgreSQL locked: `wmrk`."""


def migrate(connection: Connection, place: str, keyring: str | None) -> None:
    """Bring a ledger to this version, within a transaction that nobody else writes beside.

    Arguments:
        connection: In a transaction that may write.
        place: What errors call the ledger.
        keyring: Fingerprint of the keyring that a new ledger is of; None makes no new one.

    Raises:
        LedgerError: If there is no ledger and none may be made, or it is of a later version.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": APPLICATION})
    version = int(fact(connection, "schema") or 0) if inspect(connection).has_table(facts.name) else 0
    if version > len(STEPS):
        raise LedgerError(f"{place} has schema {version}, later than this wmark's {len(STEPS)}: update wmark")
    if not version and keyring is None:
        raise LedgerError(f"{place} holds nothing yet: `wmark embed` begins it")
    for i, statements in enumerate(STEPS[version:], start=version + 1):
        for statement in statements:
            connection.execute(text(statement.format(**TYPES[dialect])))
        if i == 1:
            connection.execute(insert(facts), [{"name": "schema", "value": "1"}, {"name": "keyring", "value": keyring}])
        connection.execute(update(facts).where(facts.c.name == "schema").values(value=str(i)))


def fact(connection: Connection, name: str) -> str | None:
    """One of the facts about a ledger: `schema`, its version, or `keyring`, the fingerprint of whose it is."""
    return connection.scalar(select(facts.c.value).where(facts.c.name == name))
