"""An image and its record: two files that agree whatever happens to those who write them.

The record stands beside the image, `.json` after its name, and names the image's SHA-256. Both are written whole to
the disk first, unseen; then, under the lock of the image's path,

    (image, record)  ->  (-, record)  ->  (-, new record)  ->  (new image, new record),

so that a kill leaves the old pair, the new one, or a record without its image, which is *unfinished* and replaced by
the next writer. An image never stands beside the record of another.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from ..errors import ImageError
from ..files import exclusive, make_folder, open_regular, reason, sha256, shown, staged
from ..images import encode_image

__all__ = ["SCHEMA", "MarkedImage", "check_writable", "finished", "read_record", "record_path", "recorded_model"]

SCHEMA = "wmark-record/1"
TRAINED = "trainedAlgorithmicMedia"
"""IPTC's digital source type of what a model made."""

LARGEST = 16 << 20


class SignedImage(Protocol):
    """A file with a signed manifest, and the manifest's name."""

    data: bytes
    id: str


class ImageSigner(Protocol):
    """Puts a signed manifest into a file, by its suffix and the image's record; or raises a `ProvenanceError`."""

    def sign(self, data: bytes, suffix: str, record: dict) -> SignedImage: ...


@dataclass(frozen=True)
class MarkedImage:
    """A generated image and what is known of how it was made; neither holds a secret.

    Attributes:
        image: The image, RGB.
        record: Model, key id, pattern, seed, prompt and sampler settings.
    """

    image: Image.Image
    record: dict = field(repr=False)

    def save(
        self, path: str | Path, *, overwrite: bool = False, resume: bool = False, signer: ImageSigner | None = None
    ) -> Path:
        """Write the image, with its digital source type in its metadata, and its record.

        Of several writers to one path, one wins with both its files.

        Arguments:
            path: The image file, PNG, JPEG or WebP.
            overwrite: Whether an image that is already there is replaced, with its record.
            resume: Whether an image that disagrees with its record is replaced.
            signer: Puts a signed manifest into the file, such as :class:`~wmark.provenance.Signer`; None puts in none.

        Raises:
            ImageError: If something stands in the way (:func:`check_writable`), or the format is another.
            ProvenanceError: If it cannot be signed. Nothing is written then.
        """
        path = Path(path)
        data = encode_image(self.image, path.suffix, source=self.record.get("digital_source_type", TRAINED))
        record = dict(self.record)
        if signer:
            signed = signer.sign(data, path.suffix, self.record)
            data, record["manifest"] = signed.data, signed.id
        record |= {"image": shown(path.name), "image_sha256": sha256(data)}
        try:
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            make_folder(path.absolute().parent)
            with exclusive(path):
                if obstacle := in_the_way(path, overwrite=overwrite, resume=resume):
                    raise ImageError(obstacle)
                write_pair(path, data, text.encode())
        except FileExistsError as error:
            raise ImageError(f"{shown(path)} came to be meanwhile: choose another name") from error
        except (OSError, ValueError) as error:
            raise ImageError(f"{shown(path)} cannot be written: {reason(error)}") from error
        return path


def record_path(image: str | Path) -> Path:
    """Where the record of an image stands: beside it, with `.json` after its name."""
    image = Path(image)
    return image.with_name(image.name + ".json")


def read_record(image: str | Path) -> dict | None:
    """The record beside an image; None if there is none, or something else under its name."""
    try:
        with open_regular(record_path(image), LARGEST) as file:
            record = json.loads(file.read())
        return record if str(record["schema"]).startswith("wmark-record/") else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def recorded_model(image: str | Path) -> dict | None:
    """Name and fingerprint of the model in the record beside an image; None without a readable record."""
    try:
        model = read_record(image)["model"]
        return {"name": str(model["name"]), "fingerprint": model["fingerprint"]}
    except (KeyError, TypeError):
        return None


def finished(path: Path) -> bool:
    """Whether an image stands beside a record that names its very content."""
    record = read_record(path)
    return record is not None and path.is_file() and record.get("image_sha256") == sha256(path)


def check_writable(paths: Iterable[Path], *, overwrite: bool = False, resume: bool = False) -> None:
    """Refuse what :meth:`MarkedImage.save` could not write, before anything is generated. Nothing is created.

    Arguments:
        paths: Image files to be.
        overwrite, resume: As of :meth:`MarkedImage.save`.

    Raises:
        ImageError: If a name is too long for the image or its record, the folder is none, cannot be made or not be
            written to, a folder, a pipe or a device has the image's name, the image exists, or what has the record's
            name is no record, which is never replaced.
    """
    folders: set[Path] = set()
    for path in map(Path, paths):
        try:
            folder, missing = nearest_folder(path.absolute().parent)
            longest = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
            for name in (*missing, record_path(path).name):
                if (length := len(os.fsencode(name))) > longest:
                    raise ImageError(f"{shown(path)} cannot be written: a name of {length} bytes is too long")
            if folder not in folders:
                folders.add(folder)
                with tempfile.TemporaryFile(dir=folder):
                    pass
            obstacle = in_the_way(path, overwrite=overwrite, resume=resume)
        except (OSError, ValueError) as error:
            raise ImageError(f"{shown(path)} cannot be written: {reason(error)}") from error
        if obstacle:
            raise ImageError(obstacle)


def nearest_folder(folder: Path) -> tuple[Path, list[str]]:
    """The nearest folder above that exists, and the names of those missing below it."""
    missing: list[str] = []
    while not os.path.lexists(folder):
        missing.append(folder.name)
        folder = folder.parent
    return folder, missing


def in_the_way(path: Path, *, overwrite: bool, resume: bool) -> str | None:
    """What keeps an image from being written, as a sentence."""
    if os.path.lexists(record_path(path)) and read_record(path) is None:
        return f"{shown(record_path(path))} is in the way and is no record of wmark's: choose another name, or move it"
    if path.exists() and not path.is_file():
        return f"{shown(path)} is no regular file: choose another name"
    if not path.exists() or overwrite or (resume and read_record(path) is not None and not finished(path)):
        return None
    return f"{shown(path)} exists already: choose another name, or overwrite it with --force"


def write_pair(path: Path, data: bytes, text: bytes) -> None:
    """Put an image and its record in place, by the steps above; the lock is held."""
    image, record = Path(os.path.realpath(path)), record_path(path)
    with staged(record, text, locked=True) as place_record, staged(image, data, locked=True) as place_image:
        image.unlink(missing_ok=True)
        place_record(overwrite=True)
        try:
            place_image(overwrite=False)
        except OSError:
            record.unlink()
            raise
