"""Some consecutive images of one source, and one image of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import ImageError

__all__ = ["Member", "Stretch"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive images of one source.

    Attributes:
        source: Path or URL of the file.
        kind: How it is read: `file` (an image), `zip`, `tar`, `tarball` (a compressed tar, which cannot be entered in
            the middle), `parquet`, `arrow`, `lance`; or `fault`, for what cannot be.
        first: Which image of the source the first one is, from 0.
        count: How many there are.
        offset: Byte at which the first one begins in a tar.
        column: Column of a table.
        version: What changes when the source does: size and time of modification, or what its server says of it.
        problem: Why there is nothing to read, a sentence, if so.
    """

    source: str
    kind: str = "file"
    first: int = 0
    count: int = 1
    offset: int = 0
    column: str | None = None
    version: str = ""
    problem: str | None = None

    @property
    def divisible(self) -> bool:
        """Whether it may be cut between any two images."""
        return self.kind in ("zip", "parquet", "arrow", "lance")


@dataclass(frozen=True)
class Member:
    """One image, not read yet.

    Attributes:
        name: What it is called in its source; None for a file of its own.
        content: Reads its bytes; raises an :class:`~wmark.errors.ImageError`.
    """

    name: str | None
    content: Callable[[], bytes]

    @classmethod
    def broken(cls, name: str | None, problem: str) -> Member:
        """One that cannot be read, and why."""

        def content() -> bytes:
            raise ImageError(problem)

        return cls(name, content)
