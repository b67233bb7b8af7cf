"""Copies of signed manifests, kept beside the rows of the images that they are of.

Nothing seals them: a manifest is signed, and is believed only if its signature holds and it names the mark that was
found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import insert, select

from ..errors import LedgerError, ProvenanceError
from ..files import sha256
from .schema import manifests
from .store import Ledger

__all__ = ["LedgerManifests", "merge_manifests"]


@dataclass(frozen=True)
class LedgerManifests:
    """A :class:`~wmark.provenance.store.ManifestStore` in a ledger.

    Attributes:
        ledger: The ledger.
    """

    ledger: Ledger

    def store(self, number: str, manifest: bytes) -> None:
        """Keep a manifest under what the mark says; one that is kept already is not kept twice.

        Raises:
            ProvenanceError: If the ledger cannot be written, as of any store.
        """
        digest = sha256(manifest)
        with as_of_a_store(), self.ledger.writing() as connection:
            same = select(manifests.c.digest).where(manifests.c.mark == number, manifests.c.digest == digest)
            if connection.scalar(same) is None:
                connection.execute(insert(manifests).values(mark=number, digest=digest, manifest=manifest))

    def manifests_of(self, number: str) -> list[bytes]:
        """The manifests of every picture whose mark says this.

        Raises:
            ProvenanceError: If the ledger cannot be read, as of any store.
        """
        with as_of_a_store(), self.ledger.reading() as connection:
            query = select(manifests.c.manifest).where(manifests.c.mark == number).order_by(manifests.c.digest)
            return list(connection.scalars(query))


@contextmanager
def as_of_a_store() -> Iterator[None]:
    """What goes wrong with the ledger as what goes wrong with a store of manifests."""
    try:
        yield
    except LedgerError as error:
        raise ProvenanceError(str(error)) from error


def merge_manifests(ledger: Ledger, other: Ledger) -> int:
    """Bring the manifests of another ledger into a ledger; returns how many it has."""
    kept, count = LedgerManifests(ledger), 0
    with other.reading() as connection:
        for mark, manifest in connection.execute(select(manifests.c.mark, manifests.c.manifest)):
            kept.store(mark, manifest)
            count += 1
    return count
