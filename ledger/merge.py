"""Another ledger brought into this one: what is new is added, what disagrees is reported and left as it is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import select, update

from ..errors import LedgerError
from .numbers import IssuerState, add_issuer, states
from .row import Row
from .schema import images, issuers
from .store import Ledger

__all__ = ["Merged", "merge"]

AT_ONCE = 500


@dataclass(frozen=True)
class Merged:
    """What became of the other ledger's rows.

    Attributes:
        added: Rows that were unknown here.
        finished: Rows that were reserved here and registered there.
        known: Rows that say no more than those here.
        conflicts: A sentence for each row or issuer that was left out.
    """

    added: int = 0
    finished: int = 0
    known: int = 0
    conflicts: tuple[str, ...] = ()


def merge(ledger: Ledger, other: Ledger) -> Merged:
    """Bring the rows of another ledger of the same keyring into a ledger, all in one transaction.

    Raises:
        LedgerError: If they are of different keyrings, or one cannot be read or written.
    """
    if ledger.keyring != other.keyring:
        raise LedgerError(
            f"{other.place.name} is of keyring {other.keyring}, not of {ledger.keyring}: nothing is merged"
        )
    counts, conflicts = {"added": 0, "finished": 0, "known": 0}, []
    with other.reading() as there, ledger.writing() as here:
        refused = set()
        for issuer in states(there):
            if problem := joined(here, issuer):
                conflicts.append(problem)
                refused.add(issuer.name)
        for rows in batches(other.rows(there, select(images).order_by(images.c.number))):
            wanted = images.c.number.in_([row.number for row in rows])
            known = {row.number: row for row in list(ledger.rows(here, select(images).where(wanted)))}
            new = []
            for row in rows:
                if row.issuer in refused:
                    continue
                outcome = compared(row, known.get(row.number))
                if outcome in counts:
                    counts[outcome] += 1
                else:
                    conflicts.append(outcome)
                if outcome == "added":
                    new.append(row)
                elif outcome == "finished":
                    ledger.put(here, row)
            if new:
                ledger.insert(here, new)
    return Merged(**counts, conflicts=tuple(conflicts))


def joined(connection, issuer: IssuerState) -> str | None:
    """Make an issuer known, and issue none of what was issued there; or say why not."""
    found = {state.name: state for state in states(connection)}.get(issuer.name)
    if found is None:
        try:
            add_issuer(connection, issuer)
        except LedgerError as error:
            return f"{error}; its rows are left out"
    elif found.numbers != issuer.numbers:
        here, there = found.numbers, issuer.numbers
        return (
            f"issuer {issuer.name!r} has the numbers from {here.start} to {here.stop - 1} here and "
            f"{there.start} to {there.stop - 1} there; its rows are left out"
        )
    elif issuer.issued.stop > found.issued.stop:
        connection.execute(update(issuers).where(issuers.c.name == issuer.name).values(next=issuer.issued.stop))
    return None


def compared(there: Row, here: Row | None) -> str:
    """What is to be done with a row: `added`, `finished`, `known`, or a conflict in a sentence."""
    number = there.number
    if there.genuine is False:
        return f"number {number}: its row there does not carry its seal"
    if here is None:
        return "added"
    if here.genuine is False:
        return f"number {number}: its row here does not carry its seal"
    if here.content == there.content:
        return "known"
    if (here.issuer, here.reserved) != (there.issuer, there.reserved):
        return f"number {number}: reserved at {here.reserved} here and at {there.reserved} there, so issued twice"
    if here.registered and there.registered:
        return f"number {number}: registered for file {here.file_hash} here and {there.file_hash} there"
    return "known" if here.registered else "finished"


def batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, AT_ONCE)):
        yield batch
