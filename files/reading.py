"""Reading what may be anything: regular files of a size that is meant, and nothing that makes a reader wait."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["UnfitFile", "open_regular", "read_file", "sha256"]


class UnfitFile(OSError):
    """What is no regular file, or too large a one; the message goes on from the file's name."""


def open_regular(path: str | os.PathLike, largest: int) -> BinaryIO:
    """Open a regular file for reading. Unlike `open` it never waits, as for the writer of a pipe.

    Arguments:
        path: The file; links are followed.
        largest: The size in bytes beyond which it is not opened.

    Raises:
        UnfitFile: If it is larger, or the path leads to a pipe, a socket or a device.
        OSError: If it cannot be opened, as by `open`.
        ValueError: If the path cannot be one.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        kind = "pipe" if stat.S_ISFIFO(status.st_mode) else "socket" if stat.S_ISSOCK(status.st_mode) else "device"
        raise UnfitFile(f"is a {kind}, not a regular file")
    if status.st_size > largest:
        raise UnfitFile(f"has {status.st_size:,} bytes, more than {largest:,}")
    # What stands there by now may be something else: a pipe is then opened without waiting, and read as empty.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags), "rb")


def read_file(path: str | os.PathLike, largest: int) -> bytes:
    """The bytes of a regular file of at most `largest`; raises what :func:`open_regular` does, and never waits."""
    with open_regular(path, largest) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise UnfitFile(f"has more than {largest:,} bytes")
    return data


def sha256(content: str | os.PathLike | bytes) -> str:
    """The SHA-256 of a file or of bytes, as 64 hexadecimal digits.

    Raises:
        OSError: If the file cannot be read.
    """
    return hashlib.sha256(content if isinstance(content, bytes) else Path(content).read_bytes()).hexdigest()
