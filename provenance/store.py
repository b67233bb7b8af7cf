"""Copies of manifests, kept where a picture that lost its own is answered from.

A store is asked by what the mark says (:func:`~wmark.provenance.binding.public_name`), which one picture or many may
carry, so it answers with a list.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ProvenanceError
from ..files import read_file, reason, sha256, shown, write_atomically

__all__ = ["ManifestFolder", "ManifestStore", "ManifestStores", "default_folder"]

LARGEST = 64 << 20


class ManifestStore(Protocol):
    """Where manifests are kept."""

    def store(self, number: str, manifest: bytes) -> None:
        """Keep the manifest of a picture, durably, before the call returns.

        Arguments:
            number: What the picture's mark says.
            manifest: The manifest store in JUMBF, as it stands in the picture.

        Raises:
            ProvenanceError: If it cannot be kept.
        """

    def manifests_of(self, number: str) -> list[bytes]:
        """The manifests of every picture whose mark says this; none if none was kept.

        Raises:
            ProvenanceError: If they cannot be read.
        """


class ManifestFolder:
    """A folder for each mark, and in it a file for each manifest, named after their SHA-256.

    Arguments:
        folder: Where; made when the first manifest is kept.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def store(self, number: str, manifest: bytes) -> None:
        path = self.shelf(number) / f"{sha256(manifest)[:32]}.c2pa"
        try:
            write_atomically(path, manifest)
        except OSError as error:
            raise ProvenanceError(f"the manifest cannot be kept in {shown(path)}: {reason(error)}") from error

    def manifests_of(self, number: str) -> list[bytes]:
        try:
            return [read_file(path, LARGEST) for path in sorted(self.shelf(number).glob("*.c2pa"))]
        except OSError as error:
            raise ProvenanceError(f"manifests in {shown(self.folder)} cannot be read: {reason(error)}") from error

    def shelf(self, number: str) -> Path:
        """The folder of a mark; by a digest, as file systems disagree about what names are the same."""
        return self.folder / sha256(number.encode())[:32]


@dataclass(frozen=True)
class ManifestStores:
    """Several stores as one: what is kept is kept in each, and what any of them has is found.

    Attributes:
        stores: The stores.
    """

    stores: tuple[ManifestStore, ...]

    def store(self, number: str, manifest: bytes) -> None:
        for store in self.stores:
            store.store(number, manifest)

    def manifests_of(self, number: str) -> list[bytes]:
        return list(dict.fromkeys(one for store in self.stores for one in store.manifests_of(number)))


def default_folder() -> Path:
    """Where manifests are kept unless a folder is given: `manifests` in the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("wmark") / "manifests"
