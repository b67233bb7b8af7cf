"""Stretches of images -> shards, the units of work, and the listing of a run: which shards there are.

    listing.parquet   one row a stretch: shard, row, source, kind, first, count, offset, column, version, problem

A listing is written once, when a run begins, so that what a shard is does not change under a run. A shard's digest
covers its stretches with the versions of their sources; its rows are done when a file names that digest.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..files import write_atomically
from .sources import Stretch
from .specification import digest

__all__ = ["Shard", "divide", "read_listing", "shard_size", "write_listing"]

SMALLEST, LARGEST, SHARDS = 16, 1024, 200

LISTING = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int64()),
        ("source", pa.binary()),
        ("kind", pa.string()),
        ("first", pa.int64()),
        ("count", pa.int64()),
        ("offset", pa.int64()),
        ("column", pa.string()),
        ("version", pa.string()),
        ("problem", pa.string()),
    ]
)


@dataclass(frozen=True)
class Shard:
    """A unit of work.

    Attributes:
        number: Which one of the run it is, from 0.
        row: Number of its first row in the run.
        stretches: Its images.
    """

    number: int
    row: int
    stretches: tuple[Stretch, ...]

    @property
    def count(self) -> int:
        """Its images."""
        return sum(stretch.count for stretch in self.stretches)

    @property
    def digest(self) -> str:
        """What its rows are of."""
        return digest([self.row, [asdict(stretch) for stretch in self.stretches]])


def shard_size(images: int) -> int:
    """Images of a shard: of so many that a run killed in one loses half a per cent, and no more than 1,024."""
    return max(SMALLEST, min(LARGEST, images // SHARDS // SMALLEST * SMALLEST))


def divide(stretches: Iterable[Stretch], size: int, number: int = 0, row: int = 0) -> Iterator[Shard]:
    """Shards of about so many images, in order.

    Arguments:
        stretches: Their images. What is not divisible stays whole, so a shard may be larger.
        size: Images of a shard.
        number, row: Those of the first shard.
    """
    shard: list[Stretch] = []
    held = 0
    for stretch in stretches:
        rest: Stretch | None = stretch
        while rest:
            room = size - held
            if shard and (room == 0 or (rest.count > room and not rest.divisible)):
                yield Shard(number, row, tuple(shard))
                number, row, shard, held = number + 1, row + held, [], 0
                continue
            part, rest = cut(rest, room)
            held += part.count
            if shard and follows(shard[-1], part):
                shard[-1] = replace(shard[-1], count=shard[-1].count + part.count)
            else:
                shard.append(part)
    if shard:
        yield Shard(number, row, tuple(shard))


def cut(stretch: Stretch, room: int) -> tuple[Stretch, Stretch | None]:
    """What of a stretch fits, and the rest; all of what is not divisible."""
    if stretch.count <= room or not stretch.divisible:
        return stretch, None
    rest = replace(stretch, first=stretch.first + room, count=stretch.count - room)
    return replace(stretch, count=room), rest


def follows(one: Stretch, other: Stretch) -> bool:
    """Whether two stretches are one."""
    return (one.source, one.kind, one.first + one.count) == (other.source, other.kind, other.first) and (
        one.kind not in ("file", "fault")
    )


def write_listing(path: Path, shards: Sequence[Shard]) -> None:
    """Write which shards a run has, in one step."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, LISTING, compression="zstd") as writer:
        for start in range(0, len(shards), 4096):
            rows = [
                {"shard": shard.number, "row": shard.row, **asdict(stretch), "source": os.fsencode(stretch.source)}
                for shard in shards[start : start + 4096]
                for stretch in shard.stretches
            ]
            writer.write_table(pa.Table.from_pylist(rows, LISTING))
    write_atomically(path, buffer.getbuffer(), mode=0o600)


def read_listing(path: Path) -> Iterator[Shard]:
    """The shards that :func:`write_listing` wrote, in order."""
    with pq.ParquetFile(path) as file:
        entries = (entry for batch in file.iter_batches(4096) for entry in batch.to_pylist())
        for (number, row), members in groupby(entries, key=itemgetter("shard", "row")):
            yield Shard(number, row, tuple(stretch_of(entry) for entry in members))


def stretch_of(entry: dict) -> Stretch:
    names = {field.name for field in fields(Stretch)}
    values = {name: value for name, value in entry.items() if name in names}
    return Stretch(**values | {"source": os.fsdecode(entry["source"])})
