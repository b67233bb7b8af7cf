"""Who made a picture, and under which licence: KDE's metadata beside it, else the package's copyright file (DEP-5).

Short names differ between packages; those of `NAMES` are written in one way.

https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import json
import re
from fnmatch import translate
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

__all__ = ["NAMELESS", "copyright_text", "kde_metadata", "licence_of"]

UNKNOWN = "see copyright"
NAMELESS = ["Various"]
"""How a stanza speaks of authors whom nobody could find out."""

NAMES = {
    "CC0": "CC0-1.0",
    "CC-BY-SA-4": "CC-BY-SA-4.0",
    "CC-BY-SA 4.0": "CC-BY-SA-4.0",
    "Expat": "MIT",
    "LGPLv3": "LGPL-3.0-only",
    "PD": "public-domain",
}


def licence_of(picture: str, copyright_file: str, metadata: str = "") -> tuple[str, list[str]]:
    """Licence and authors of a picture.

    A stanza names files as they lie in the source package, whose layout differs from the installed one. So a pattern
    counts if it fits the end of the installed path, or if its last part names the file. The last stanza that fits
    decides, as the format demands; `*` and the packaging's own `debian/*` only where nothing else fits.

    Arguments:
        picture: Installed path of the picture.
        copyright_file: Text of the package's copyright file.
        metadata: Text of the `metadata.json`, or of the older `metadata.desktop`, of the KDE wallpaper that the picture
            belongs to, if there is one.

    Returns:
        The licence's short name, `see copyright` if it is not stated per file, and the authors, as far as stated.
    """
    stated = _kde(metadata)
    if stated:
        return stated
    everything = chosen = None
    for stanza in _stanzas(copyright_file):
        everything = stanza if stanza.everything else everything
        chosen = stanza if any(pattern.match(picture) for pattern in stanza.patterns) else chosen
    stanza = chosen or everything
    return (stanza.licence, list(stanza.authors)) if stanza else (UNKNOWN, [])


class _Stanza(NamedTuple):
    patterns: list[re.Pattern]
    everything: bool
    licence: str
    authors: list[str]


@cache
def _stanzas(copyright_file: str) -> list[_Stanza]:
    stanzas = []
    for text in re.split(r"\n\s*\n", copyright_file):
        fields = _fields(text)
        if "files" not in fields or "license" not in fields:
            continue
        patterns = [pattern for pattern in fields["files"].split() if not pattern.startswith("debian/")]
        licence = fields["license"].partition("\n")[0].strip() or UNKNOWN
        lines = [line.strip() for line in fields.get("copyright", "").splitlines()]
        lines = [re.sub(r"^(©|\(c\)|Copyright|[\d,.\s–-]+)+", "", line) for line in lines]
        fitting = [_pattern(pattern) for pattern in patterns if pattern != "*"]
        stanzas.append(_Stanza(fitting, "*" in patterns, NAMES.get(licence, licence), [line for line in lines if line]))
    return stanzas


@cache
def copyright_text(package: Path) -> str:
    files = sorted(package.glob("usr/share/doc/*/copyright"))
    return "\n\n".join(file.read_text(errors="replace") for file in files)


def kde_metadata(picture: Path) -> str:
    """The metadata of a KDE wallpaper, which lies at most three folders above its pictures."""
    for folder in list(picture.parents)[:3]:
        for name in ("metadata.json", "metadata.desktop"):
            if (folder / name).is_file():
                return (folder / name).read_text(errors="replace")
    return ""


def _kde(metadata: str) -> tuple[str, list[str]] | None:
    try:
        plugin = json.loads(metadata)["KPlugin"]
        licence, authors = plugin["License"], [author["Name"] for author in plugin.get("Authors", [])]
    except (ValueError, KeyError, TypeError):
        entries = dict(re.findall(r"^X-KDE-PluginInfo-(License|Author)=(.+)$", metadata, re.MULTILINE))
        if "License" not in entries:
            return None
        licence, authors = entries["License"].strip(), [entries.get("Author", "").strip()]
    return NAMES.get(licence, licence), [author for author in authors if author]


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


def _pattern(pattern: str) -> re.Pattern:
    wanted = pattern.removeprefix("./")
    name = PurePosixPath(wanted).name
    # A last part that begins with a wildcard, or is no file's name, would fit too much without its folder.
    named = "." in name and name[0] not in "*?"
    return re.compile(rf"(?:.*/)?{translate(name if named else wanted)}", re.DOTALL)
