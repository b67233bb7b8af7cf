"""Writing files that are whole or not there at all, and by one writer at a time.

A file is written next to its place under a temporary name, flushed to the disk and moved into place in one step, so
a reader, a full disk or a power cut never meets half of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from .reading import sha256

try:
    import fcntl
except ImportError:
    fcntl = None  # Windows

__all__ = ["exclusive", "make_folder", "staged", "write_atomically"]


def write_atomically(
    path: str | os.PathLike,
    data: bytes | memoryview,
    *,
    mode: int | None = None,
    overwrite: bool = True,
    locked: bool = False,
) -> None:
    """Write a file in one step: afterwards the path holds all of the data, or what it held before.

    Links are followed. Missing parent folders are created, for their owner alone if `mode` is. A device or a pipe,
    such as `/dev/stdout`, is written to and never replaced.

    Arguments:
        path: The file to write.
        data: Its whole content.
        mode: Permissions from the first byte on, such as `0o600` for a secret; `None` leaves them to the umask.
        overwrite: Whether a file that is already there may be replaced.
        locked: Whether the caller holds the path's lock (:func:`exclusive`). What a killed writer left under its
            temporary name is then swept away.

    Raises:
        FileExistsError: If the path exists and `overwrite` is false.
        OSError: If the file cannot be written. The path and its folder are then as before.
    """
    path = Path(path)
    if overwrite and is_stream(path):
        path.write_bytes(data)
        return
    with staged(path, data, mode=mode, locked=locked) as place:
        place(overwrite=overwrite)


@contextlib.contextmanager
def staged(
    path: str | os.PathLike, data: bytes | memoryview, *, mode: int | None = None, locked: bool = False
) -> Iterator[Place]:
    """Write a file's content to the disk, without a name where the system can do that.

    Arguments are those of :func:`write_atomically`.

    Yields:
        `place(overwrite=...)`, which moves the file to its path in one step.

    Raises:
        OSError: If the content cannot be written.
    """
    path = Path(os.path.realpath(path))
    make_folder(path.parent, private=mode is not None and not mode & 0o077)
    temporary = temporary_of(path) if locked else path.with_name(f".{secrets.token_hex(8)}.tmp")
    if locked:
        temporary.unlink(missing_ok=True)

    def place(*, overwrite: bool) -> None:
        if file is None or not give_name(file, temporary if overwrite else path):
            if file is not None:
                write_durably(temporary, data, mode)
            if not overwrite:
                move_without_replacing(temporary, path)
        if overwrite:
            os.replace(temporary, path)

    try:
        with write_unnamed(path.parent, data, mode) as file:
            if file is None:
                write_durably(temporary, data, mode)
            yield place
        flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class Place(Protocol):
    """Moves a staged file to its path. Raises `FileExistsError` if the path exists and `overwrite` is false."""

    def __call__(self, *, overwrite: bool) -> None: ...


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a file, after waiting for it; hold nothing where the system has no `flock`.

    The lock is a file of the same name with `.lock` appended, there only while it is held. Whoever waited for one that
    was removed meanwhile starts over, so that no two ever hold the lock of one path.

    Raises:
        OSError: If the lock cannot be had.
    """
    if fcntl is None:
        yield
        return
    make_folder(path.parent, private=True)
    name = path.with_name(path.name + ".lock")
    while True:
        with open(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_still(name, lock):
                continue
            try:
                yield
            finally:
                name.unlink(missing_ok=True)
            return


def is_still(path: Path, file: BinaryIO) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def make_folder(folder: Path, *, private: bool = False) -> None:
    """Create a folder and its missing parents, readable by their owner alone if `private`."""
    if not folder.is_dir():
        make_folder(folder.parent, private=private)
        folder.mkdir(mode=0o700 if private else 0o777, exist_ok=True)


def is_stream(path: Path) -> bool:
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def temporary_of(path: Path) -> Path:
    """The temporary name of whoever holds the lock of a path: always the same, and never too long."""
    return path.with_name(f".{sha256(os.fsencode(path.name))[:16]}.tmp")


@contextlib.contextmanager
def write_unnamed(folder: Path, data: bytes | memoryview, mode: int | None) -> Iterator[BinaryIO | None]:
    """A file in a folder that holds some data and has no name, so that a kill leaves nothing; else None."""
    try:
        descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666 if mode is None else mode)
    except (OSError, AttributeError):
        yield None
        return
    with open(descriptor, "wb") as file:
        fill(file, data)
        yield file


def give_name(file: BinaryIO, path: Path) -> bool:
    """Give a file without a name one, if the file system can do that.

    Raises:
        FileExistsError: If the path exists.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # A link to where the descriptor leads; with `dst_dir_fd` Python calls `linkat`, which follows it.
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, dst_dir_fd=folder)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    finally:
        os.close(folder)
    return True


def write_durably(path: Path, data: bytes | memoryview, mode: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o666 if mode is None else mode), "wb") as file:
        fill(file, data)


def fill(file: BinaryIO, data: bytes | memoryview) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def move_without_replacing(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: claim the name, then replace our own empty file.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.replace(source, target)
        except OSError:
            target.unlink()
            raise


def flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, on the systems that can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
