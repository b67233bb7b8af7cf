"""Copies of signed manifests, kept beside the rows of the images that they are of.

Nothing seals them: a manifest is signed, and is believed only if its signature holds and it names the mark that was
found.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select

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
        """Keep a manifest under what the mark says; one that is kept already is not kept twice."""
        digest = sha256(manifest)
        with self.ledger.writing() as connection:
            same = select(manifests.c.digest).where(manifests.c.mark == number, manifests.c.digest == digest)
            if connection.scalar(same) is None:
                connection.execute(insert(manifests).values(mark=number, digest=digest, manifest=manifest))

    def manifests_of(self, number: str) -> list[bytes]:
        """The manifests of every picture whose mark says this."""
        with self.ledger.reading() as connection:
            query = select(manifests.c.manifest).where(manifests.c.mark == number).order_by(manifests.c.digest)
            return list(connection.scalars(query))


def merge_manifests(ledger: Ledger, other: Ledger) -> int:
    """Bring the manifests of another ledger into a ledger; returns how many it has."""
    kept, count = LedgerManifests(ledger), 0
    with other.reading() as connection:
        for mark, manifest in connection.execute(select(manifests.c.mark, manifests.c.manifest)):
            kept.store(mark, manifest)
            count += 1
    return count
