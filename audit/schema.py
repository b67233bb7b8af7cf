"""The columns of a row, declared here and nowhere else, and what a verdict puts into them.

One row is one image, also one that could not be looked at: then `error` says why, and what was not seen is null. The
rows name keys and give scores to the last digit, so they are for those who hold the keys.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

    from ..detectors.identity.statements import Statements
    from ..detectors.verdict import Verdict

__all__ = ["COLUMNS", "SCHEMA", "Column", "arrow_schema", "columns_of", "described"]

SCHEMA = "wmark-audit/1"


class Column(NamedTuple):
    """A column of an audit's tables: what it holds, in words."""

    name: str
    type: str
    meaning: str


COLUMNS = tuple(
    Column(*row)
    for row in (
        ("row", "int64", "number of the image in the run, from 0, in the order of the sources"),
        ("source", "string", "path or URL of the file, the archive or the table"),
        ("member", "string", "what the image is called in its archive, or its row in its table and what stands there"),
        ("bytes", "int64", "size of the image's file"),
        ("sha256", "string", "SHA-256 of the image's file"),
        ("fingerprint", "string", "perceptual hash, 128 bits in hexadecimal; of the same picture 8 may differ"),
        ("width", "int32", "width of the upright image in pixels"),
        ("height", "int32", "its height"),
        ("format", "string", "format of the file, such as PNG"),
        ("found", "bool", "whether the image is marked: log10_p is at most log10 of the false-positive rate"),
        ("keyring", "string", "public fingerprint of the keyring"),
        ("key_id", "string", "the key that stands closest, whether found or not; null where names say more"),
        ("key_revoked", "string", "when that key was revoked, ISO 8601 in UTC"),
        ("log10_p", "double", "log10 of the p-value, corrected for all that was searched in this image"),
        ("log10_p_raw", "double", "the same of that key where it stands, not corrected; null for names, or at p = 1"),
        ("cosine", "float", "cosine between the recovered coordinates and the key, or the name"),
        ("inverted", "bool", "whether that is negative: somebody pushed the key away"),
        ("presence", "bool", "the statement that the image is of the keyring, where names were tested"),
        ("presence_log10_p", "double", "its log10 p, corrected"),
        ("series", "bool", "the statement that it carries an address"),
        ("series_log10_p", "double", "its log10 p, corrected"),
        ("series_number", "int64", "the number whose address stands closest"),
        ("identity", "bool", "the statement that it carries a name: that it is this image"),
        ("identity_log10_p", "double", "its log10 p, corrected"),
        ("identity_number", "int64", "the number whose name stands closest"),
        ("issuer", "string", "whose number that is"),
        ("names_tested", "int64", "names that the identity paid for"),
        ("ledger_account", "string", "what the ledger knows of the number, JSON"),
        ("transplant", "bool", "whether the ledger's picture of that number is another: the mark was carried over"),
        ("manifest", "string", "state of the file's C2PA manifest"),
        ("angle", "float", "degrees that the image was turned by since it was marked"),
        ("scale", "float", "how it was scaled since"),
        ("mirror", "bool", "whether it was mirrored"),
        ("shift_y", "float", "how it was shifted down, as a share of the canvas"),
        ("shift_x", "float", "and to the right"),
        ("canvas_height", "int32", "height in latent pixels of the canvas that the key is taken to be planted in"),
        ("canvas_width", "int32", "its width"),
        ("placement", "string", "of a marked image, how it lies on what was marked, JSON: matrix, words, outline"),
        ("parts", "string", "every marked part that a search came upon, the strongest first, JSON (docs/verdict.md)"),
        ("spectrum", "string", "of a marked image, in which frequencies the key is seen, JSON; null without decoys"),
        ("look", "string", "recovery and reading that gave the p-value"),
        ("keys_tested", "int64", "keys that the correction paid for"),
        ("alignments_tested", "int64", "alignments"),
        ("looks_allowed", "int32", "looks"),
        ("decoy_log10_p", "list<float>", "log10 p of each decoy where the mark stands, both signs, not corrected"),
        ("searched_log10_p", "list<float>", "log10 p of each decoy that was searched for like the mark, corrected"),
        ("fallbacks", "list<string>", "what was done otherwise than asked"),
        ("read_seconds", "float", "time to get the image's bytes"),
        ("decode_seconds", "float", "time to decode, hash and scale it"),
        ("seconds", "float", "time of the verdict; in a batch, its share"),
        ("error_class", "string", "kind of what went wrong; null for an image that was looked at"),
        ("error", "string", "what went wrong, a sentence"),
    )
)


def arrow_schema() -> pa.Schema:
    """The Arrow schema, the meaning of each column in its metadata."""
    import pyarrow as pa

    types = {
        "bool": pa.bool_(),
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "list<float>": pa.list_(pa.float32()),
        "list<string>": pa.list_(pa.string()),
    }
    return pa.schema(
        [pa.field(c.name, types[c.type], nullable=c.name != "row", metadata={"meaning": c.meaning}) for c in COLUMNS]
    )


def described() -> str:
    """The columns as a Markdown table."""
    lines = ["| column | type | meaning |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{c.name}` | {c.type} | {c.meaning} |" for c in COLUMNS)])


def columns_of(verdict: Verdict, trials: float) -> dict[str, Any]:
    """What a verdict puts into a row.

    Arguments:
        verdict: The verdict.
        trials: What the union bound paid for the p-value of a key.
    """
    shift = verdict.alignment.shift
    of_key = verdict.key_id is not None and verdict.log10_p < 0
    return {
        **(statements(verdict.names) if verdict.names else {}),
        "found": verdict.found,
        "keyring": verdict.basis.keyring,
        "key_id": verdict.key_id,
        "key_revoked": verdict.key_revoked,
        "log10_p": verdict.log10_p,
        "log10_p_raw": verdict.log10_p - math.log10(trials) if of_key else None,
        "cosine": verdict.cosine,
        "inverted": verdict.inverted,
        "angle": verdict.alignment.angle,
        "scale": verdict.alignment.scale,
        "mirror": verdict.alignment.mirror,
        "shift_y": shift[0],
        "shift_x": shift[1],
        "canvas_height": verdict.canvas[0],
        "canvas_width": verdict.canvas[1],
        "placement": json.dumps(verdict.placed.to_json()) if verdict.found else None,
        "parts": json.dumps([part.to_json(scores=True) for part in verdict.parts]) if verdict.parts else None,
        "look": verdict.look,
        "keys_tested": verdict.keys_tested,
        "alignments_tested": verdict.alignments_tested,
        "looks_allowed": verdict.looks_allowed,
        "searched_log10_p": list(verdict.decoys) or None,
        "fallbacks": list(verdict.fallbacks),
        "seconds": verdict.seconds,
    }


def statements(names: Statements) -> dict[str, Any]:
    """The columns of what is said of names."""
    return {
        "presence": names.presence.found,
        "presence_log10_p": names.presence.log10_p,
        "series": names.series.found,
        "series_log10_p": names.series.log10_p,
        "series_number": names.addressed,
        "identity": names.identity.found,
        "identity_log10_p": names.identity.log10_p,
        "identity_number": names.named and names.named.number,
        "issuer": names.named and names.named.issuer,
        "names_tested": names.names_tested,
    }
