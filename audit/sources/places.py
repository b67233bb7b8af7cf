"""Files here and elsewhere: a path, or a URL that fsspec knows, such as `s3://bucket/images`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from ...errors import AuditError, UnfitImage
from ...files import open_regular, reason, shown
from ...images.reading import explained

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["LARGEST_FILE", "capped", "content", "filesystem", "is_url", "opened", "url_of", "version"]

LARGEST_FILE = 512 << 20
"""Bytes of an image beyond which it is not read."""

LARGEST_ARCHIVE = 1 << 50


def is_url(source: str) -> bool:
    """Whether fsspec is asked for it."""
    return re.match(r"([a-z0-9]+::)*[a-z0-9][a-z0-9+.-]*://", source) is not None


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path on it.

    Raises:
        AuditError: If nothing is installed that knows it.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise AuditError(f"'{shown(url)}' cannot be reached: {reason(error)}") from error


def url_of(url: str, path: str, files: AbstractFileSystem) -> str:
    """The URL of a path that was found below another URL, chained ones such as `zip://*.png::s3://...` too."""
    head, chained, rest = url.partition("::")
    if not chained:
        return files.unstrip_protocol(path)
    return f"{head.partition('://')[0]}://{path}::{rest}"


@contextlib.contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """A file to read from, seekable; local ones are opened only if they are regular.

    Raises:
        OSError: As the system or fsspec has it.
    """
    if not is_url(source):
        with open_regular(source, LARGEST_ARCHIVE) as file:
            yield file
        return
    files, path = filesystem(source)
    with files.open(path, "rb") as file:
        yield file


def version(source: str) -> str:
    """What changes when the source does; empty where nobody says."""
    if not is_url(source):
        status = os.stat(source)
        return f"{status.st_size}-{status.st_mtime_ns}"
    files, path = filesystem(source)
    try:
        return str(files.ukey(path))
    except (NotImplementedError, TypeError):
        return ""


def content(source: str) -> bytes:
    """The bytes of an image's file.

    Raises:
        ImageError: If it cannot be read, or has more than 512 MiB.
    """
    name = f"image '{shown(source)}'"
    with explained(name, Exception), opened(source) as file:  # Every file system of fsspec has errors of its own.
        return capped(file, name)


def capped(file: BinaryIO, name: str) -> bytes:
    """What is left of a file, up to 512 MiB.

    Raises:
        ImageError: If it is more.
    """
    data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise UnfitImage(f"{name} has more than {LARGEST_FILE >> 20} MiB: save it as a PNG or JPEG file")
    return data
