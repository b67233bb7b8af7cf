"""Rows -> small pictures, from the sources where these still hold what was looked at."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..audit.shards import Shard
from ..audit.worker import Task, wanted
from ..errors import WmarkError
from ..files import sha256, shown
from ..images import read_image

__all__ = ["Thumbnail", "thumbnails"]

SIDE = 224
QUALITY = 72


@dataclass(frozen=True)
class Thumbnail:
    """A small picture, or why there is none.

    Attributes:
        uri: The picture as a `data:` URI; None if there is none.
        width, height: Its sides in pixels.
        missing: Why there is none.
    """

    uri: str | None = None
    width: int = 0
    height: int = 0
    missing: str | None = None


def thumbnails(shards: Sequence[Shard], rows: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[int, Thumbnail]]:
    """Small pictures of rows, one after the other.

    Arguments:
        shards: Those that hold the rows.
        rows: The rows by their numbers.
    """
    for shard in shards:
        mine = frozenset(row - shard.row for row in rows if shard.row <= row < shard.row + shard.count)
        if mine:
            for number, source, member in wanted(Task(shard, mine)):
                name = f"image '{shown(source if member.name is None else f'{source}/{member.name}')}'"
                yield number, thumbnail(member.content, rows[number]["sha256"], name)


def thumbnail(content, expected: str | None, name: str) -> Thumbnail:
    """One small picture."""
    try:
        data = content()
        if sha256(data) != expected:
            return Thumbnail(missing="the file has changed since")
        return small(read_image(io.BytesIO(data), name))
    except WmarkError:
        return Thumbnail(missing="the source can no longer be read")


def small(picture: Image.Image) -> Thumbnail:
    """A picture as a small JPEG file."""
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return Thumbnail(uri, *picture.size)
