"""What the user names -> stretches of images, always in the same order.

A source that is no image, archive or table, or is damaged, is a stretch with a fault: a row of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic

from ...errors import AuditError
from ...files import reason, shown
from ...images import is_image
from .archives import ARCHIVES, list_tar, list_zip
from .places import filesystem, is_url, url_of, version
from .stretch import Stretch
from .tables import TABLES, list_table

__all__ = ["RUN_FILE", "find"]

RUN_FILE = "audit.json"
"""By this file a folder is known as that of a run, whose own tables are no sources."""


def find(arguments: Sequence[str], column: str | None = None) -> Iterator[Stretch]:
    """The images of files, folders (all that is below them), globs and URLs.

    Hidden files and folders are left out, and links to folders are not followed.

    Arguments:
        arguments: Paths and URLs.
        column: Column of tables that holds images or paths; None finds it.
    """
    for argument in arguments:
        try:
            yield from (remote if is_url(argument) else local)(argument, column)
        except AuditError as error:
            yield fault(argument, str(error))
        except Exception as error:  # Every file system of fsspec has errors of its own.
            yield fault(argument, f"'{shown(argument)}' cannot be read ({reason(error)}): check it and its permissions")


def fault(source: str, problem: str) -> Stretch:
    return Stretch(source, "fault", problem=problem)


def local(argument: str, column: str | None) -> Iterator[Stretch]:
    if has_magic(argument) and not os.path.lexists(argument):
        matches = sorted(glob(argument, recursive=True))
        for match in matches:
            yield from local(match, column)
        if not matches:
            yield fault(argument, f"no file matches '{shown(argument)}'")
    elif os.path.isdir(argument) and not is_table(argument):
        count = 0
        for stretch in below(argument, column):
            count += 1
            yield stretch
        if not count:
            yield fault(argument, f"folder '{shown(argument)}' holds no images: name files, or a folder that does")
    else:
        yield from one(argument, column)


def below(folder: str, column: str | None) -> Iterator[Stretch]:
    faults: list[OSError] = []
    for path, folders, files in os.walk(folder, onerror=faults.append):
        if RUN_FILE in files:
            folders.clear()
            continue
        tables = [name for name in folders if is_table(name)]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in tables)
        for name in sorted([*tables, *files]):
            if is_source(name):
                yield from one(os.path.join(path, name), column)
        while faults:
            error = faults.pop()
            yield fault(error.filename, f"folder '{shown(error.filename)}' cannot be read ({reason(error)})")
    for error in faults:
        yield fault(error.filename, f"folder '{shown(error.filename)}' cannot be read ({reason(error)})")


def remote(url: str, column: str | None) -> Iterator[Stretch]:
    files, path = filesystem(url)
    if has_magic(path):
        found = files.glob(path)
        paths = sorted(each for each in found if not files.isdir(each))
    elif not is_table(path) and files.isdir(path):
        paths = [each for each in sorted(files.find(path)) if is_source(each.rpartition("/")[2])]
    else:
        yield from one(url, column)
        return
    for each in paths:
        yield from one(url_of(url, each, files), column)
    if not paths:
        yield fault(url, f"'{shown(url)}' holds no images")


def is_table(name: str) -> bool:
    return name.lower().endswith(".lance")


def is_source(name: str) -> bool:
    return is_image(name) or (not name.startswith(".") and name.lower().endswith((*ARCHIVES, *TABLES)))


def one(source: str, column: str | None) -> Iterator[Stretch]:
    """The images of a file, by what its name says that it is."""
    name = source.partition("::")[0].lower()
    kind = next((TABLES[suffix] for suffix in TABLES if name.endswith(suffix)), None)
    try:
        stamp = version(source)
        if kind:
            yield from list_table(source, kind, stamp, column)
        elif name.endswith(".zip"):
            yield from list_zip(source, stamp)
        elif name.endswith(ARCHIVES):
            yield from list_tar(source, stamp)
        else:
            yield Stretch(source, version=stamp)
    except AuditError as error:
        yield fault(source, str(error))
    except FileNotFoundError:
        yield fault(source, f"'{shown(source)}' does not exist: check the path")
    except Exception as error:  # Whatever a damaged archive or table makes its library raise.
        yield fault(source, f"'{shown(source)}' cannot be read ({reason(error)}): get it again from where it came")
