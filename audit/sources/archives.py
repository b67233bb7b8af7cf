"""Images in zip and tar files; WebDataset's shards are tar files.

A tar has no directory: its headers are walked once, when it is listed, and stretches remember at which byte they begin,
so that each is read from there. A compressed tar can only be read from its start, so it is one stretch.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from ...errors import ImageError
from ...files import reason, shown
from ...images import is_image
from .places import capped, opened
from .stretch import Member, Stretch

__all__ = ["ARCHIVES", "list_tar", "list_zip", "read_tar", "read_zip"]

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

TOGETHER = 16
"""Members of a tar that are listed as one stretch."""


def list_zip(source: str, version: str) -> Iterator[Stretch]:
    """All images of a zip file as one stretch."""
    with opened(source) as file, zipfile.ZipFile(file) as archive:
        count = len(images_of(archive))
    if count:
        yield Stretch(source, "zip", count=count, version=version)


def images_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [member for member in archive.infolist() if not member.is_dir() and is_image(base(member.filename))]


def base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def read_zip(stretch: Stretch, wanted: range | frozenset[int]) -> Iterator[Member]:
    """The images of a stretch; those whose numbers in it are not wanted come without content."""
    with opened(stretch.source) as file, zipfile.ZipFile(file) as archive:
        members = images_of(archive)[stretch.first : stretch.first + stretch.count]
        for number, info in enumerate(members):
            if number in wanted:
                yield eager(stretch.source, info.filename, lambda info=info: archive.open(info))
            else:
                yield Member.broken(info.filename, "not asked for")


def list_tar(source: str, version: str) -> Iterator[Stretch]:
    """Stretches of a tar's images; the last may be a fault, if the file is damaged from somewhere on."""
    with opened(source) as file:
        compressed = is_compressed(file)
        count = begin = begun = 0
        fault = None
        try:
            with tarfile.open(fileobj=file, mode="r:*" if compressed else "r:") as archive:
                for member in images_in(archive):
                    if not compressed and count - begun == TOGETHER:
                        yield Stretch(source, "tar", begun, count - begun, begin, version=version)
                        begun = count
                    if count == begun:
                        begin = member.offset
                    count += 1
                    archive.members.clear()  # They would all be kept.
                fault = missing_end(archive)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            fault = reason(error)
        kind = "tarball" if compressed else "tar"
        if count > begun:
            yield Stretch(source, kind, begun, count - begun, begin, version=version)
        if fault:
            problem = f"archive '{shown(source)}' is damaged after {count} images ({fault}): get it again"
            yield Stretch(source, "fault", count, version=version, problem=problem)


def is_compressed(file: BinaryIO) -> bool:
    magic = file.read(6)
    file.seek(0)
    return magic.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))


def images_in(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        if member.isreg() and is_image(base(member.name)):
            yield member


def missing_end(archive: tarfile.TarFile) -> str | None:
    """What is wrong with the end of a tar that was walked: the reader takes a file that breaks off for a whole one."""
    archive.fileobj.seek(0, 2)
    if archive.offset > archive.fileobj.tell():
        return "the file breaks off"
    return None


def read_tar(stretch: Stretch, wanted: range | frozenset[int]) -> Iterator[Member]:
    """The images of a stretch, as :func:`read_zip` has it."""
    with opened(stretch.source) as file:
        file.seek(stretch.offset)
        mode = "r:*" if stretch.kind == "tarball" else "r:"
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for number, info in zip(range(stretch.count), images_in(archive), strict=False):
                if number in wanted:
                    yield eager(stretch.source, info.name, lambda info=info: archive.extractfile(info))
                else:
                    yield Member.broken(info.name, "not asked for")
                archive.members.clear()


def eager(source: str, name: str, opening) -> Member:
    """A member that is read at once, since an archive is read by one at a time; what is wrong is said when asked."""
    shown_name = f"image '{shown(source)}/{shown(name)}'"
    try:
        with opening() as file:
            data = capped(file, shown_name)
    except ImageError as error:
        return Member.broken(name, str(error))
    except Exception as error:  # Encrypted, of an unknown method, a wrong checksum, broken off.
        return Member.broken(name, f"{shown_name} cannot be read ({reason(error)}): get the archive again")
    return Member(name, lambda: data)
