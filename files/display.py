"""Paths and the system's errors in words for people."""

from __future__ import annotations

import os
import unicodedata

__all__ = ["reason", "shown"]


def reason(error: Exception) -> str:
    """What went wrong, in the words of the system and without the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).lower()


def shown(path: str | os.PathLike) -> str:
    r"""A path as one line of text that changes nothing else on a terminal, in a log or in JSON.

    Line breaks, escapes, other control characters and invisible ones become `\n`, `\x1b`, `\u202e`, and a byte that is
    not UTF-8 becomes `\x80`. Everything else stays as it is.
    """
    return "".join(map(shown_character, os.fsdecode(path)))


def shown_character(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
