"""What is wrong with a ledger: damage of its file, rows that were changed, swapped, taken away or written by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select, text

from .numbers import IssuerState, states
from .schema import images
from .store import Ledger

__all__ = ["Finding", "check"]

MOST = 100
"""Findings of a kind that are told one by one."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw.

    Attributes:
        kind: `storage`, `seal`, `unknown issuer`, `range`, `missing`, `counter`, `duplicate`; or, of what is not wrong,
            `untested` or `unfinished`.
        sentence: What it is.
        wrong: Whether the ledger is not sound because of it. What is unfinished or could not be tested is only told.
        number: The image's, if it is of one.
    """

    kind: str
    sentence: str
    wrong: bool = True
    number: int | None = None


def check(ledger: Ledger) -> Iterator[Finding]:
    """Everything that is wrong with a ledger, and what was never finished.

    Raises:
        LedgerError: If it cannot be read at all.
    """
    with ledger.reading() as connection:
        if connection.dialect.name == "sqlite":
            for (line,) in connection.execute(text("PRAGMA integrity_check")):
                if line != "ok":
                    yield Finding("storage", f"the file is damaged: {line}")
        known = states(connection)
        for issuer in known:
            yield from counted(connection, issuer)
        yield from stray(connection, known)
        yield from twice(connection)
        yield from read(ledger, connection)


def counted(connection: Connection, issuer: IssuerState) -> Iterator[Finding]:
    """Numbers of an issuer without a row, or with a row and never issued."""
    issued = issuer.issued
    numbers = images.c.number
    following = func.lead(numbers).over(order_by=numbers).label("following")
    own = select(numbers, following).where(numbers >= issued.start, numbers < issued.stop).subquery()
    gaps = select(own.c.number, own.c.following).where(own.c.following > own.c.number + 1).limit(MOST)
    missing = [range(found.number + 1, found.following) for found in connection.execute(gaps)]
    first, last = connection.execute(select(func.min(own.c.number), func.max(own.c.number))).one()
    if issued:
        ends = [issued] if first is None else [range(issued.start, first), range(last + 1, issued.stop)]
        missing += [end for end in ends if end]
    for gap in sorted(missing, key=lambda gap: gap.start):
        which = f"number {gap.start} has" if len(gap) == 1 else f"the numbers from {gap.start} to {gap[-1]} have"
        yield Finding("missing", f"{which} no row, and issuer {issuer.name!r} issued them", number=gap.start)
    beyond = select(func.count(), func.min(numbers)).where(numbers >= issued.stop, numbers < issuer.numbers.stop)
    count, number = connection.execute(beyond).one()
    if count:
        sentence = f"issuer {issuer.name!r} has {count} rows from number {number} on beyond its counter, {issued.stop}"
        yield Finding("counter", sentence, number=number)


def stray(connection: Connection, known: list[IssuerState]) -> Iterator[Finding]:
    """Rows of issuers that the ledger does not know, or outside the numbers of their issuer."""
    for name in connection.scalars(select(images.c.issuer).distinct()):
        issuer = next((issuer for issuer in known if issuer.name == name), None)
        query = select(func.count(), func.min(images.c.number)).where(images.c.issuer == name)
        if issuer:
            numbers = issuer.numbers
            query = query.where(or_(images.c.number < numbers.start, images.c.number >= numbers.stop))
        count, number = connection.execute(query).one()
        if count and issuer:
            yield Finding(
                "range", f"issuer {name!r} has {count} rows outside its numbers, from {number} on", number=number
            )
        elif count:
            yield Finding("unknown issuer", f"{count} rows are of {name!r}, who is no issuer here", number=number)


def twice(connection: Connection) -> Iterator[Finding]:
    """Files that stand under several numbers."""
    query = (
        select(images.c.file_hash, func.count().label("count"), func.min(images.c.number).label("first"))
        .where(images.c.file_hash.is_not(None))
        .group_by(images.c.file_hash)
        .having(func.count() > 1)
        .limit(MOST)
    )
    for found in connection.execute(query):
        sentence = f"file {found.file_hash} stands under {found.count} numbers, the first {found.first}"
        yield Finding("duplicate", sentence, number=found.first)


def read(ledger: Ledger, connection: Connection) -> Iterator[Finding]:
    """Rows without their seal, and counts of those that could not be tested and that were never finished."""
    broken = untested = unfinished = 0
    first = None
    for row in ledger.rows(connection, select(images).order_by(images.c.number)):
        untested += row.genuine is None
        if row.genuine is False:
            broken += 1
            if broken <= MOST:
                yield Finding("seal", f"the row of number {row.number} was changed or swapped", number=row.number)
        elif row.state == "reserved":
            unfinished += 1
            first = row if first is None else first
    if broken > MOST:
        yield Finding("seal", f"{broken - MOST} further rows were changed or swapped")
    if untested:
        yield Finding(
            "untested", f"the seals of {untested} rows were not tested: their secret is not here", wrong=False
        )
    if unfinished:
        sentence = f"{unfinished} images were never finished, the first reserved at {first.reserved}"
        yield Finding("unfinished", sentence, wrong=False, number=first.number)
