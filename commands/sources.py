"""What images are meant: files, folders, quoted globs and `-`, mixed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..files import reason, shown

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["STANDARD_INPUT", "Source", "find_sources"]

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Source:
    """One image to look at, or what stands in the place of some.

    Arguments:
        name: Path of the file, or `-` for standard input.
        problem: Why there is nothing to read, if so.
    """

    name: str
    problem: str | None = None

    def read(self) -> Image.Image:
        """The image.

        Raises:
            ImageError: If it cannot be read or used.
        """
        from ..images import open_image

        if self.problem:
            raise ImageError(self.problem)
        return read_standard_input() if self.name == STANDARD_INPUT else open_image(self.name)


def find_sources(arguments: Sequence[str]) -> list[Source]:
    """Each argument's images: of folders all image files below them, of globs all that match, each sorted by name.

    Hidden files and folders are left out, as globs do, and links to folders are not followed. An argument without
    images, or a folder that cannot be read, is a source with a problem.
    """
    return [source for argument in arguments for source in expand(argument)]


def expand(argument: str) -> Iterator[Source]:
    if os.path.isdir(argument):
        yield from in_folder(argument)
    elif has_magic(argument) and not os.path.lexists(argument):
        matches = sorted(glob(argument, recursive=True))
        for match in matches:
            yield from in_folder(match) if os.path.isdir(match) else [Source(match)]
        if not matches:
            yield Source(argument, f"no file matches '{shown(argument)}'")
    else:
        yield Source(argument)


def in_folder(folder: str) -> list[Source]:
    """All images below a folder; a file that is named is read whatever it is called."""
    from ..images import is_image

    found: list[Source] = []

    def unreadable(error: OSError) -> None:
        found.append(Source(error.filename, f"folder '{shown(error.filename)}' cannot be read ({reason(error)})"))

    for path, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Source(os.path.join(path, name)) for name in files if is_image(name)]
    if not found:
        found = [Source(folder, f"folder '{shown(folder)}' holds no images: name files, or a folder that does")]
    return sorted(found, key=lambda source: source.name)


def read_standard_input() -> Image.Image:
    from ..images import read_image

    if sys.stdin.isatty():
        raise ImageError("standard input is a terminal: pass an image, as in `wmark verify - < image.png`")
    return read_image(sys.stdin.buffer)
