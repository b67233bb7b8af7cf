"""What a terminal shows: lines that nothing in a name can forge, and JSON that is valid UTF-8."""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import TYPE_CHECKING

import click

from ..detectors.notation import format_p, order_of_magnitude, whose
from ..files import shown

if TYPE_CHECKING:
    from ..detectors.verdict import Verdict
    from ..watermark.patterns import Pattern

__all__ = ["complain", "describe", "dumps", "line", "recorded", "say"]


def say(text: str) -> None:
    """One line on standard output, control characters escaped."""
    click.echo(shown(text))


def complain(text: str, *further: str) -> None:
    """Lines on standard error, control characters escaped; where it is closed there is nobody to complain to."""
    with contextlib.suppress(OSError):
        for line in (text, *further):
            click.echo(shown(line), err=True)


def dumps(value: object, indent: int | None = None) -> str:
    r"""JSON in ASCII. Bytes of a file name that are not UTF-8 become text like `\xe9`, as JSON has none for them."""
    return json.dumps(without_surrogates(value), indent=indent)


def without_surrogates(value: object) -> object:
    """A value of JSON with every lone surrogate in it, names of fields too, written as an escape."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", lambda match: shown(match[0]), value)
    if isinstance(value, dict):
        return {without_surrogates(name): without_surrogates(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_surrogates(content) for content in value]
    return value


def describe(pattern: Pattern) -> str:
    """A pattern in half a line."""
    channels = ",".join(map(str, pattern.channels))
    return f"{pattern.kind}, radius {pattern.radius}, channels {channels}, strength {pattern.strength:g}"


def line(name: str, verdict: Verdict, remark: str = "", *, scores: bool = False) -> str:
    """A verdict and a remark in a line. Below the threshold nothing finer than the order of p, unless one asks for it.

    Whoever may ask often, and sees every digit, learns from them how to remove a mark.
    """
    cosine = f"cos {verdict.cosine:.4f}" if scores else f"cos {verdict.cosine:.2f}" if verdict.found else ""
    p = format_p(verdict.log10_p) if verdict.found or scores else order_of_magnitude(verdict.magnitude)
    revoked = f"(revoked {verdict.key_revoked})" if verdict.found and verdict.key_revoked else ""
    words = [
        "found    " if verdict.found else "not found",
        name,
        carried(verdict),
        revoked,
        "(inverted)" if verdict.found and verdict.inverted else "",
        f"p {p}",
        cosine,
        describe_alignment(verdict),
        remark,
        f"{verdict.seconds:.1f} s",
    ]
    return "  ".join(word for word in words if word)


def recorded(record: dict) -> str:
    """What was planted in an image, by its record."""
    return f"image {record['number']} of {record['issuer']}" if "number" in record else f"key {record['key_id']}"


def carried(verdict: Verdict) -> str:
    """What an image carries, as far as it is found, and how sure each statement is that is made of names."""
    said = verdict.names
    if not verdict.found or said is None or verdict.key_id is not None:
        return whose(verdict)
    sure = [
        f"{word} {format_p(one.log10_p) if one.found else order_of_magnitude(min(0, math.ceil(one.log10_p)))}"
        for word, one in (("presence", said.presence), ("series", said.series), ("identity", said.identity))
    ]
    return f"{whose(verdict)}  ({', '.join(sure)})"


def describe_alignment(verdict: Verdict) -> str:
    """How a marked image was turned since; nothing if it was not."""
    if not (verdict.found and verdict.aligned):
        return ""
    if len(verdict.parts) > 1:
        return f"({len(verdict.parts)} marked parts)"
    return f"({verdict.placed.words})"
