"""Rows as CSV, JSON Lines or Parquet. Fingerprints and thumbnails stay behind: who moves a ledger merges it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import fields
from itertools import islice
from typing import BinaryIO, TextIO

from .row import Row

__all__ = ["FORMATS", "write_csv", "write_json_lines", "write_parquet"]

FORMATS = ("csv", "jsonl", "parquet")
COLUMNS = ("number", "state", *(f.name for f in fields(Row) if f.name not in ("number", "fingerprint", "thumbnail")))
NUMBERS = ("number", "width", "height")
AT_ONCE = 10_000


def write_csv(rows: Iterable[Row], stream: TextIO) -> None:
    """A header and a line for each row; what is None is empty, and settings of the sampler are JSON."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(flat(row).values())


def write_json_lines(rows: Iterable[Row], stream: TextIO) -> None:
    """An object a line, as `wmark ledger show` prints it."""
    for row in rows:
        stream.write(json.dumps(row.to_json()) + "\n")


def write_parquet(rows: Iterable[Row], stream: BinaryIO) -> None:
    """A table of the columns of the CSV file."""
    import pyarrow
    from pyarrow import parquet

    types = dict.fromkeys(COLUMNS, pyarrow.string())
    types |= dict.fromkeys(NUMBERS, pyarrow.int64()) | {"genuine": pyarrow.bool_()}
    schema, rows = pyarrow.schema(list(types.items())), iter(rows)
    with parquet.ParquetWriter(stream, schema) as writer:
        while batch := [flat(row) for row in islice(rows, AT_ONCE)]:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def flat(row: Row) -> dict:
    told = row.to_json()
    sampler = None if row.sampler is None else json.dumps(row.sampler, sort_keys=True)
    return {name: sampler if name == "sampler" else told[name] for name in COLUMNS}
