"""What a user gives to learn from: prompts, and unmarked pictures."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from ..errors import ImageError, WmarkError
from ..files import read_file, reason, shown
from ..progress import progress
from .sources import find_sources
from .terminal import say

__all__ = ["find_pictures", "read_prompts"]

LONGEST_PROMPTS = 64 << 20
MOST_PICTURES = 2000
"""Their readings are held in memory."""


def read_prompts(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        WmarkError: If it cannot be read, is no text, or has none.
    """
    try:
        lines = read_file(path, LONGEST_PROMPTS).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise WmarkError(f"'{shown(path)}' is no text in UTF-8: save it as such, a prompt a line") from None
    except (OSError, ValueError) as error:
        raise WmarkError(f"the prompts in '{shown(path)}' cannot be read: {reason(error)}") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise WmarkError(f"'{shown(path)}' holds no prompts: write one a line")
    return prompts


def find_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it, :data:`MOST_PICTURES` at most, evenly taken; says how many of them
    cannot be read.

    Raises:
        WmarkError: If there are none.
    """
    every, found = find_sources([str(folder)]), []
    some = every[:: math.ceil(len(every) / MOST_PICTURES)]
    with progress(len(some), "picture") as bar:
        for source in some:
            with contextlib.suppress(ImageError):
                source.read()
                found.append(Path(source.name))
            bar.update(1)
    if not found:
        raise WmarkError(f"'{shown(folder)}' holds no pictures that can be read")
    if len(found) < len(some):
        say(f"{len(some) - len(found)} of {len(some)} pictures cannot be read and are left out")
    return found
