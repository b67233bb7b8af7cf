"""Numbers: each issuer has a range of his own, and a counter that only moves up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, text, update

from ..errors import LedgerError
from .row import NUMBERS, Issuer, check_issuer, now
from .schema import APPLICATION, images, issuers

if TYPE_CHECKING:
    from ..watermark.counter import Numbers

__all__ = ["IssuerState", "add_issuer", "states", "take"]


@dataclass(frozen=True)
class IssuerState:
    """What a ledger knows of an issuer.

    Attributes:
        name: Its name.
        numbers: Those that are its own.
        issued: Those of them that were issued, from the first on.
    """

    name: str
    numbers: range
    issued: range


def states(connection: Connection) -> list[IssuerState]:
    """Every issuer, in the order of their numbers."""
    return [
        IssuerState(found.name, range(found.first, found.stop), range(found.first, found.next))
        for found in connection.execute(select(issuers).order_by(issuers.c.first))
    ]


def take(connection: Connection, issuer: Issuer, count: int, counter: Numbers | None = None) -> tuple[range, range]:
    """The next numbers of an issuer, never below one that has a row; it is written down if it is new.

    Arguments:
        connection: In a transaction that may write; the issuer is locked to its end.
        issuer: Whose numbers.
        count: How many.
        counter: What counts them beside the ledger. Numbers that it has handed out and the ledger has not heard of are
            issued with these; those that the ledger knows are skipped.

    Returns:
        The numbers, and all that are issued now.

    Raises:
        LedgerError: If there are not so many left, or its numbers are another issuer's too.
    """
    following = locked_counter(connection, issuer)
    if following + count > issuer.numbers.stop:
        left = max(0, issuer.numbers.stop - following)
        raise LedgerError(f"issuer {issuer.name!r} has {left} numbers left, not {count}: create another with its own")
    numbers = range(following, following + count)
    if counter:
        numbers = counter.reserve(count, issuer)
        if numbers.start < following:
            if numbers.stop < following:
                counter.reserve(following - numbers.stop, issuer)
            numbers = counter.reserve(count, issuer)
    connection.execute(update(issuers).where(issuers.c.name == issuer.name).values(next=numbers.stop))
    return numbers, range(following, numbers.stop)


def locked_counter(connection: Connection, issuer: Issuer) -> int:
    check_issuer(issuer.name)
    query = select(issuers).where(issuers.c.name == issuer.name).with_for_update()
    found = connection.execute(query).one_or_none()
    if found is None and connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": APPLICATION})
        found = connection.execute(query).one_or_none()
    numbers = issuer.numbers
    if found is None:
        add_issuer(connection, IssuerState(issuer.name, numbers, numbers[:0]))
    elif (found.first, found.stop) != (numbers.start, numbers.stop):
        raise LedgerError(
            f"issuer {issuer.name!r} has the numbers from {found.first} to {found.stop - 1} in this ledger, "
            f"not {numbers.start} to {numbers.stop - 1}: give each issuer a name of its own"
        )
    taken = select(func.max(images.c.number)).where(images.c.number >= numbers.start, images.c.number < numbers.stop)
    last = connection.scalar(taken)
    return max(found.next if found else numbers.start, numbers.start if last is None else last + 1)


def add_issuer(connection: Connection, issuer: IssuerState) -> None:
    """Write an issuer down.

    Raises:
        LedgerError: If its name or numbers are none, or some of them are another's.
    """
    check_issuer(issuer.name)
    numbers = issuer.numbers
    if not numbers or numbers.step != 1 or numbers[0] not in NUMBERS or numbers[-1] not in NUMBERS:
        raise LedgerError(f"issuer {issuer.name!r} cannot have the numbers {numbers}: they go from 0 to 2^40 - 1")
    shared = issuers.c.first < numbers.stop, issuers.c.stop > numbers.start
    if (other := connection.scalar(select(issuers.c.name).where(*shared).limit(1))) is not None:
        raise LedgerError(f"issuers {issuer.name!r} and {other!r} share numbers: give each a range of its own")
    values = {"first": numbers.start, "stop": numbers.stop, "next": issuer.issued.stop, "created": now()}
    connection.execute(insert(issuers).values(name=issuer.name, **values))
