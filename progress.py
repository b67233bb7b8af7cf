"""A bar for long work: on a terminal only, and results go past it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from .files import shown

__all__ = ["Progress", "progress"]


class Progress:
    """A bar on the terminal, nothing elsewhere; lines go past it, control characters escaped."""

    def __init__(self, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit=unit, leave=False, disable=not sys.stderr.isatty())

    def update(self, n: int) -> None:
        """Move on by n units."""
        self.bar.update(n)

    def write(self, text: str) -> None:
        """A line of results, on standard output."""
        self.bar.write(shown(text), file=sys.stdout)
        sys.stdout.flush()

    def complain(self, text: str) -> None:
        """A line on standard error; where it is closed there is nobody to complain to."""
        with contextlib.suppress(OSError):
            self.bar.write(shown(text), file=sys.stderr)


@contextlib.contextmanager
def progress(total: int | None, unit: str) -> Iterator[Progress]:
    """A bar of so many units, or of nobody knows how many, closed at the end."""
    bar = Progress(total, unit)
    try:
        yield bar
    finally:
        bar.bar.close()
