"""Who made the pictures of a dataset, and under which terms: tables for the card, and the text of NOTICE."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

__all__ = ["authors_by_licence", "notice", "packages"]

ADDRESS = re.compile(r"\s*(<[^>]*>|\([^)]*@[^)]*\))")

ATTRIBUTED = {
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "MIT": "whose text is at the end",
}
"""Licences that ask for each picture's author to be named, and where their text is."""

NOTICE = """\
wmark
Copyright The wmark developers

The weights of the embedded model, in models/tiny, were trained on the pictures of free packages that are named here.
The pictures were cropped, scaled, mirrored, re-encoded and, where any colour would do, recoloured for it; the package
holds none of them. No author endorses the model.

{attributed}

Pictures in the public domain or under CC0-1.0 (https://creativecommons.org/publicdomain/zero/1.0/), which ask for
nothing, are by

{others}.
{mit}"""

MIT = """
The MIT licence:

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def notice(entries: Sequence[dict]) -> str:
    """The text of NOTICE, for the pictures of a manifest."""
    lines = []
    for licence, terms in ATTRIBUTED.items():
        found = [entry for entry in entries if entry["licence"] == licence]
        if found:
            lines += [f"Under {licence}, {terms}:", *sorted(map(_line, found)), ""]
    others = _authors(entry for entry in entries if entry["licence"] not in ATTRIBUTED)
    mit = any(entry["licence"] == "MIT" for entry in entries)
    return NOTICE.format(
        attributed="\n".join(lines).strip(), others=textwrap.fill("; ".join(others), 118), mit=MIT if mit else ""
    )


def authors_by_licence(entries: Sequence[dict]) -> list[list]:
    """Rows of licence, number of pictures, authors."""
    by_licence = defaultdict(list)
    for entry in entries:
        by_licence[entry["licence"]].append(entry)
    return [[licence, len(found), "; ".join(_authors(found))] for licence, found in sorted(by_licence.items())]


def packages(entries: Sequence[dict]) -> list[list]:
    """Rows of package, versions, number of pictures, licences."""
    by_package = defaultdict(list)
    for entry in entries:
        by_package[entry["package"]].append(entry)
    rows = []
    for package, found in sorted(by_package.items()):
        licences = Counter(entry["licence"] for entry in found)
        versions = sorted({entry["version"] for entry in found})
        rows.append([package, ", ".join(versions), len(found), ", ".join(f"{k} ({v})" for k, v in licences.items())])
    return rows


def _authors(entries) -> list[str]:
    return sorted({ADDRESS.sub("", author) for entry in entries for author in entry["authors"]}, key=str.lower)


def _line(entry: dict) -> str:
    return (
        f"  {PurePosixPath(entry['path']).name}, by {', '.join(_authors([entry]))} (Debian package {entry['package']})"
    )
