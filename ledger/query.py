"""Which rows of a ledger, as a value and in SQL."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, func, select

from .schema import images

__all__ = ["Query"]


@dataclass(frozen=True)
class Query:
    """Which rows; every condition that is given must hold.

    Attributes:
        number: The image's.
        issuer: Name of the issuer.
        since, until: From this time to before that, ISO 8601 in UTC: when it was registered, or reserved if it was not.
        file_hash: How the SHA-256 of the file begins.
        prompt_hashes: Keyed hashes, one of which is the prompt's.
        state: `reserved` or `registered`.
    """

    number: int | None = None
    issuer: str | None = None
    since: str | None = None
    until: str | None = None
    file_hash: str | None = None
    prompt_hashes: tuple[str, ...] | None = None
    state: str | None = None

    def select(self) -> Select:
        """All columns of the rows, by number."""
        when, conditions = func.coalesce(images.c.registered, images.c.reserved), []
        if self.number is not None:
            conditions.append(images.c.number == self.number)
        if self.issuer is not None:
            conditions.append(images.c.issuer == self.issuer)
        if self.since is not None:
            conditions.append(when >= self.since)
        if self.until is not None:
            conditions.append(when < self.until)
        if self.file_hash is not None:
            begin = self.file_hash.lower()
            conditions += [images.c.file_hash >= begin, images.c.file_hash < begin + "g"]  # After every digit.
        if self.prompt_hashes is not None:
            conditions.append(images.c.prompt_hash.in_(self.prompt_hashes))
        if self.state is not None:
            conditions.append(images.c.registered.is_(None) == (self.state == "reserved"))
        return select(images).where(*conditions).order_by(images.c.number)
