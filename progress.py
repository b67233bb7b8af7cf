"""A bar for long work: on a terminal only, and results go past it."""

from __future__ import annotations

import sys
from contextlib import contextmanager

__all__ = ["Progress", "progress"]


class Progress:
    """A bar on the terminal, nothing elsewhere; results go to standard output past it."""

    def __init__(self, total: int, unit: str) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit=unit, leave=False, disable=not sys.stderr.isatty())

    def update(self, n: int) -> None:
        self.bar.update(n)

    def write(self, text: str, wanted: bool = True) -> None:
        if wanted:
            self.bar.write(text, file=sys.stdout)
            sys.stdout.flush()

    def complain(self, text: str) -> None:
        self.bar.write(text, file=sys.stderr)


@contextmanager
def progress(total: int, unit: str):
    shown = Progress(total, unit)
    try:
        yield shown
    finally:
        shown.bar.close()
