"""Debian packages -> pictures: fetched with apt, unpacked without being installed, sifted and deduplicated."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch, fnmatchcase
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ImageError, WmarkError
from ..files import sha256
from ..images import SAME, open_image, perceptual_hash
from ..progress import progress
from .captions import subject_of
from .licences import NAMELESS, copyright_text, kde_metadata, licence_of

with contextlib.suppress(ImportError):
    import pillow_jxl  # noqa: F401  JPEG XL, where the plugin is installed

__all__ = ["Picture", "decode", "fetch", "find_pictures"]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".jxl", ".avif"}
SHORTEST_SIDE = 512
LONGEST_ASPECT = 4
THREADS = 4
FLAT = 3.0
"""Standard deviation of the 8-bit luma below which a picture is empty."""


@dataclass
class Picture:
    """A picture and where it comes from.

    Attributes:
        package, version, path: The Debian package and the path inside it.
        licence: Short name, from :func:`~.licences.licence_of`.
        authors: As far as stated.
        subject: One of the captions' subjects.
        hash: SHA-256 of the file.
        file: Where it lies on this machine.
        signature: Perceptual hash, with shape (128,), bool.
        area: Size in pixels.
    """

    package: str
    version: str
    path: str
    licence: str
    authors: list[str]
    subject: str
    hash: str
    file: Path = field(repr=False)
    signature: np.ndarray = field(repr=False)
    area: int = 0


def fetch(sources: dict, folder: Path) -> Path:
    """Download and unpack the packages; what is there already is kept.

    Arguments:
        sources: The tables of `sources.toml`.
        folder: Gets the package lists, the packages and their contents.

    Returns:
        A folder with one folder `NAME_VERSION` for each package.

    Raises:
        WmarkError: If apt is missing or cannot reach its mirror.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise WmarkError(f"{tool} is needed to fetch the pictures: run this on Debian, or give --unpacked")
    lists, packages, trees = folder / "apt", folder / "packages", folder / "unpacked"
    for needed in (lists / "lists/partial", lists / "cache/archives/partial", packages, trees):
        needed.mkdir(parents=True, exist_ok=True)
    (lists / "sources.list").write_text(
        "".join(f"deb {sources['mirror']} {suite} main\n" for suite in sources["suites"])
    )
    options = {
        "Dir::Etc::sourcelist": lists.resolve() / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": lists.resolve() / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": lists.resolve() / "cache",
        "Acquire::Languages": "none",
        # apt would fetch as another user, who need not be able to write here.
        "APT::Sandbox::User": getpass.getuser(),
    }
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    wanted = _wanted(sources)
    _run(["apt-get", "-qq", *settings, "update"], folder)
    listed = _run(["apt-cache", *settings, "madison", *wanted], folder)
    versions = {
        tuple(part.strip() for part in line.split("|")[:2]) for line in listed.splitlines() if "Packages" in line
    }
    versions = {(name, version) for name, version in versions if fnmatch(version, wanted[name])}
    _run(["apt-get", "-qq", *settings, "download", *sorted(map("=".join, versions))], packages)
    for wanted_name in wanted:
        files = sorted(packages.glob(f"{wanted_name}_*.deb"))
        if not files:
            raise WmarkError(f"no suite has the package {wanted_name}: take it out of sources.toml")
        for file in files:
            name, version, _ = file.stem.split("_")
            tree = trees / f"{name}_{version.replace('%3a', '+')}"
            if not tree.exists():
                _run(["dpkg-deb", "-x", str(file.resolve()), str(tree.with_suffix(".partial").resolve())], folder)
                tree.with_suffix(".partial").rename(tree)
    return trees


def find_pictures(sources: dict, trees: Path) -> list[Picture]:
    """The usable pictures of the unpacked packages, each once, in its largest size.

    Arguments:
        sources: The tables of `sources.toml`.
        trees: Folder with one folder `NAME_VERSION` for each package.

    Raises:
        WmarkError: If there are pictures in JPEG XL and no plugin to read them.
    """
    found: list[Picture] = []
    candidates = [
        (rules, tree, path) for rules, tree in _trees(sources, trees) for path in _candidates(sources, rules, tree)
    ]
    if not candidates:
        return []
    jxl = sum(path.suffix.lower() == ".jxl" for _, _, path in candidates)
    if jxl and ".jxl" not in Image.registered_extensions():
        raise WmarkError(f"{jxl} pictures are JPEG XL, which takes a plugin: pip install 'wmark[training]'")
    with progress(len(candidates), "picture") as bar, ThreadPoolExecutor(THREADS) as pool:
        for picture in pool.map(partial(_inspect, sources), *zip(*candidates, strict=True)):
            if picture:
                _keep_once(found, picture)
            bar.update(1)
    limits = {rules["name"]: rules["limit"] for rules in sources["packages"] if "limit" in rules}
    kept: dict[str, int] = {}
    result = []
    for picture in sorted(found, key=lambda picture: picture.hash):
        kept[picture.package] = kept.get(picture.package, 0) + 1
        if kept[picture.package] <= limits.get(picture.package, len(found)):
            result.append(picture)
    return result


def _wanted(sources: dict) -> dict[str, str]:
    """Pattern of the versions, by the package's name."""
    larger = [(rules["larger"]["package"], rules["larger"]) for rules in sources["packages"] if "larger" in rules]
    named = [(rules["name"], rules) for rules in sources["packages"]]
    return {name: rules.get("version", "*") for name, rules in [*named, *larger]}


def _trees(sources: dict, trees: Path) -> list[tuple[dict, Path]]:
    return [
        (rules, tree)
        for rules in sources["packages"]
        for tree in _versions(trees, rules["name"], rules.get("version", "*"))
    ]


def _versions(trees: Path, name: str, version: str) -> list[Path]:
    return [tree for tree in sorted(trees.glob(f"{name}_{version}")) if tree.is_dir() and tree.suffix != ".partial"]


def _largest(rules: dict, tree: Path, path: Path) -> tuple[Path, Path]:
    """Tree and path of a picture in the largest size that there is."""
    if larger := rules.get("larger"):
        name = f"{path.parent.name}/{path.stem}{larger['suffix']}{path.suffix}"
        for other in _versions(tree.parent, larger["package"], larger.get("version", "*")):
            if name in _by_name(other):
                return other, _by_name(other)[name]
    return tree, path


@cache
def _by_name(tree: Path) -> dict[str, Path]:
    """The files of a tree by the last two parts of their paths."""
    return {f"{path.parent.name}/{path.name}": path for path in sorted(tree.rglob("*"))}


def _candidates(sources: dict, rules: dict, tree: Path) -> list[Path]:
    def wanted(path: Path) -> bool:
        name = path.relative_to(tree).as_posix().lower()
        return (
            path.suffix.lower() in SUFFIXES
            and not path.is_symlink()
            and path.is_file()
            and any(fnmatch(name, pattern) for pattern in rules.get("include", ["*"]))
            and (not any(fnmatch(name, pattern) for pattern in sources["exclude"]) or "include" in rules)
            and not _named(rules.get("drop", []), tree, path)
        )

    return [path for path in sorted(tree.rglob("*")) if wanted(path)]


def _named(patterns: Sequence[str], tree: Path, path: Path) -> bool:
    """Whether one of the patterns fits the end of NAME_VERSION/PATH, from the start of some part of it."""
    whole = f"/{tree.name}/{path.relative_to(tree).as_posix()}"
    return any(fnmatchcase(whole, f"*/{pattern}") for pattern in patterns)


def _licence(sources: dict, rules: dict, tree: Path, path: Path) -> tuple[str, list[str]] | None:
    """Licence and authors, as `sources.toml` or the package states them; None where the picture may not be used."""
    stated = next((stated for stated in rules.get("licences", []) if _named(stated["files"], tree, path)), None)
    if stated:
        licence, authors = stated["licence"], stated["authors"]
    else:
        licence, authors = licence_of(path.relative_to(tree).as_posix(), copyright_text(tree), kde_metadata(path))
    allowed = sources.get("licences", [licence])
    return (licence, authors) if licence in allowed and authors != NAMELESS else None


def _inspect(sources: dict, rules: dict, tree: Path, path: Path) -> Picture | None:
    terms = _licence(sources, rules, tree, path)
    if not terms:
        return None
    subject = next(
        (subject for subject, patterns in rules.get("subjects", {}).items() if _named(patterns, tree, path)),
        subject_of("/".join(path.relative_to(tree).parts[3:]), sources.get("subjects")),
    )
    tree, path = _largest(rules, tree, path)
    try:
        with Image.open(path) as header:
            width, height = header.size
            shortest, longest = sorted(header.size)
            if shortest < rules.get("shortest", SHORTEST_SIDE) or longest > LONGEST_ASPECT * shortest:
                return None
            header.draft("RGB", (width // 4, height // 4))
            small = header.convert("RGBA").resize((128, 128), Image.Resampling.BOX)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    # Overlays and cut-outs are transparent somewhere.
    if np.asarray(small)[..., 3].min() < 255 or np.asarray(small.convert("L"), dtype=np.float32).std() < FLAT:
        return None
    name, _, version = tree.name.partition("_")
    inside = path.relative_to(tree).as_posix()
    return Picture(name, version, inside, *terms, subject, sha256(path), path, perceptual_hash(small), width * height)


def _keep_once(found: list[Picture], picture: Picture) -> None:
    """Add a picture; of two versions of the same picture, the larger stays."""
    for i, other in enumerate(found):
        if picture.hash == other.hash or int((picture.signature != other.signature).sum()) <= SAME:
            if picture.area > other.area:
                found[i] = picture
            return
    found.append(picture)


def _run(command: list[str], folder: Path) -> str:
    outcome = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if outcome.returncode:
        last = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WmarkError(f"{command[0]} failed: {last}")
    return outcome.stdout


def decode(picture: Picture) -> Image.Image | None:
    """The whole picture, upright and RGB; None if it is damaged."""
    try:
        return open_image(picture.file)
    except ImageError:
        return None
