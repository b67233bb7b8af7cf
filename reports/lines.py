"""A row -> what is said of it.

Of what is not marked nothing finer than the order of magnitude of p is said, and no key, cosine or place: whoever gets
to see the page learns no more than `wmark verify` tells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..detectors.notation import format_p, order_of_magnitude
from ..files import shown

__all__ = ["line_of", "middle_out", "name_of"]

LONGEST_NAME = 240
LONGEST_SENTENCE = 400
STATEMENTS = ("presence", "series", "identity")
REACH = 4.0
"""Widths of the picture beyond which an outline is not followed."""


def line_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a row, as JSON has it.

    Arguments:
        row: Its columns, and the two of `corrections.parquet`.
    """
    failed, found = row["error_class"] is not None, bool(row["found"])
    verdict = "failed" if failed else "transplant" if row["transplant"] else "found" if found else "not found"
    common = {
        "row": row["row"],
        "verdict": verdict,
        "name": name_of(row),
        "format": row["format"],
        "width": row["width"],
        "height": row["height"],
        "bytes": row["bytes"],
        "sha256": row["sha256"],
        "manifest": row["manifest"],
    }
    if failed:
        error = middle_out(shown(row["error"] or ""), LONGEST_SENTENCE)
        return {**common, "error_class": shown(row["error_class"]), "error": error}
    if not found:
        magnitude = min(0, math.ceil(row["log10_p"]))
        return {**common, "log10_p": magnitude, "p": order_of_magnitude(magnitude)}
    return {
        **common,
        "carries": carried(row),
        "key_id": said(row["key_id"]),
        "number": row["identity_number"] if row["identity"] else None,
        "issuer": said(row["issuer"]) if row["identity"] else None,
        "revoked": said(row["key_revoked"]),
        "log10_p": round(row["log10_p"], 3),
        "p": format_p(row["log10_p"]),
        "log10_p_family": round(row["log10_p_family"], 3),
        "p_family": format_p(row["log10_p_family"]),
        "log10_q": round(row["log10_q"], 3),
        "statements": {name: statement(row, name) for name in STATEMENTS if row[name] is not None},
        "cosine": None if row["cosine"] is None else round(row["cosine"], 2),
        "inverted": bool(row["inverted"]),
        **placed(row),
        "spectrum": json.loads(row["spectrum"] or "null"),
        "look": said(row["look"]),
        "fallbacks": [shown(text) for text in row["fallbacks"] or ()],
        "ledger_account": middle_out(said(row["ledger_account"]) or "", LONGEST_SENTENCE) or None,
    }


def name_of(row: Mapping[str, Any]) -> str:
    """What an image is called: its source, and its name in there."""
    name = row["source"] if row["member"] is None else f"{row['source']}/{row['member']}"
    return middle_out(shown(name or ""), LONGEST_NAME)


def middle_out(text: str, most: int) -> str:
    """A text of so many characters at most, of a longer one its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 3]} … {text[-(most - most // 3 - 3) :]}"


def said(text: str | None) -> str | None:
    return None if text is None else shown(text)


def carried(row: Mapping[str, Any]) -> str:
    """What a marked image carries, in words, as :func:`~wmark.detectors.notation.whose` has them."""
    if row["key_id"] is not None:
        return f"key {shown(row['key_id'])}"
    if row["identity"]:
        return f"image {row['identity_number']} of {shown(row['issuer'] or '?')}"
    if row["series"]:
        return f"an address like that of image {row['series_number']}, but not its name"
    return "of this keyring, but no name"


def statement(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    found, log10_p = bool(row[name]), row[f"{name}_log10_p"] or 0.0
    p = format_p(log10_p) if found else order_of_magnitude(min(0, math.ceil(log10_p)))
    return {"found": found, "p": p}


def placed(row: Mapping[str, Any]) -> dict[str, Any]:
    """How the picture was turned since, in words, the outlines of its marked parts, and what each carries if there are
    several."""
    whole, parts = json.loads(row["placement"]), json.loads(row["parts"] or "[]")
    several = len(parts) > 1
    return {
        "alignment": f"{len(parts)} marked parts" if several else shown(whole["words"]),
        "outlines": [points for points in map(outline, parts or [whole]) if points],
        "parts": [
            {"carries": carried(row_of(part)), "p": format_p(part["log10_p"]), "alignment": shown(part["words"])}
            for part in parts
        ]
        * several,
    }


def outline(placement: Mapping[str, Any]) -> list[list[float]]:
    """Points (x, y) around a marked part, as shares of the picture's sides; none where a bend leads nowhere."""
    points = placement["outline"]
    if not all(math.isfinite(value) for point in points for value in point):
        return []
    return [[min(max(value, -REACH), 1 + REACH) for value in point] for point in points]


def row_of(part: Mapping[str, Any]) -> dict[str, Any]:
    """What a part carries, as the columns of a row say it."""
    names = part.get("names") or {"identity": {}, "series": {}}
    identity, series = names["identity"], names["series"]
    return {
        "key_id": part["key_id"],
        "identity": identity.get("found"),
        "identity_number": identity.get("number"),
        "issuer": identity.get("issuer"),
        "series": series.get("found"),
        "series_number": series.get("number"),
    }
