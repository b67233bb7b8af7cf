"""Who made a picture, and under which licence: KDE's metadata beside it, else the package's copyright file (DEP-5).

https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

__all__ = ["UNKNOWN", "licence_of"]

UNKNOWN = "see copyright"


def licence_of(picture: str, copyright_file: str, metadata: str = "") -> tuple[str, list[str]]:
    """Licence and authors of a picture.

    A stanza names files as they lie in the source package, whose layout differs from the installed one. So a pattern
    counts if it fits the end of the installed path. The last stanza that fits decides, as the format demands; `*`
    and the packaging's own `debian/*` only where nothing else fits.

    Arguments:
        picture: Installed path of the picture.
        copyright_file: Text of the package's copyright file.
        metadata: Text of the `metadata.json` of the KDE wallpaper that the picture belongs to, if there is one.

    Returns:
        The licence's short name, `see copyright` if it is not stated per file, and the authors, as far as stated.
    """
    stated = _kde(metadata)
    if stated:
        return stated
    chosen = everything = None
    for stanza in re.split(r"\n\s*\n", copyright_file):
        fields = _fields(stanza)
        if "files" not in fields or "license" not in fields:
            continue
        patterns = [pattern for pattern in fields["files"].split() if not pattern.startswith("debian/")]
        if "*" in patterns:
            everything = fields
        if any(_fits(picture, pattern) for pattern in patterns if pattern != "*"):
            chosen = fields
    fields = chosen or everything
    if not fields:
        return UNKNOWN, []
    licence = fields["license"].partition("\n")[0].strip() or UNKNOWN
    lines = [line.strip() for line in fields.get("copyright", "").splitlines()]
    return licence, [line for line in (re.sub(r"^(©|\(c\)|Copyright|[\d,\s–-]+)+", "", line) for line in lines) if line]


def copyright_text(package: Path) -> str:
    files = sorted(package.glob("usr/share/doc/*/copyright"))
    return "\n\n".join(file.read_text(errors="replace") for file in files)


def kde_metadata(picture: Path) -> str:
    """The metadata.json of a KDE wallpaper, which lies at most three folders above its pictures."""
    for folder in list(picture.parents)[:3]:
        if (folder / "metadata.json").is_file():
            return (folder / "metadata.json").read_text(errors="replace")
    return ""


def _kde(metadata: str) -> tuple[str, list[str]] | None:
    try:
        plugin = json.loads(metadata)["KPlugin"]
        return plugin["License"], [author["Name"] for author in plugin.get("Authors", []) if author.get("Name")]
    except (ValueError, KeyError, TypeError):
        return None


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        start = re.match(r"([A-Za-z-]+):\s*(.*)", line)
        if start:
            name = start[1].lower()
            fields[name] = start[2]
        elif name:
            fields[name] += "\n" + line
    return fields


def _fits(picture: str, pattern: str) -> bool:
    parts = PurePosixPath(picture).parts
    wanted = pattern.removeprefix("./")
    return any(fnmatchcase("/".join(parts[i:]), wanted) for i in range(len(parts)))
