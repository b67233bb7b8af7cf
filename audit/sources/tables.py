"""Images in tables: Parquet, Arrow (also Feather, and streams) and Lance, with a column of images or of their paths.

A column of images holds bytes, or structures with `bytes` and `path` as the datasets library writes them. A path is
relative to the table's folder.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import AuditError, ImageError
from ...files import shown
from .places import content, filesystem, is_url, opened
from .stretch import Member, Stretch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TABLES", "list_table", "read_table"]

TABLES = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".lance": "lance"}
"""Kinds of tables by the suffixes of their names."""

NAMES = ("image", "images", "img", "jpg", "jpeg", "png", "webp", "content", "bytes", "picture")
PATHS = ("path", "file", "file_name", "filename", "image_path", "url", "uri")


def list_table(source: str, kind: str, version: str, column: str | None) -> Iterator[Stretch]:
    """All rows of a table as one stretch.

    Arguments:
        column: The column of images or paths; None finds it.

    Raises:
        AuditError: If there is none, or several that may be meant.
    """
    with Table(source, kind) as table:
        count, column = table.count, column_of(table.schema, column, source)
    if count:
        yield Stretch(source, kind, count=count, column=column, version=version)


def column_of(schema: pa.Schema, column: str | None, source: str) -> str:
    name = f"table '{shown(source)}'"
    if column:
        if column not in schema.names:
            raise AuditError(f"{name} has no column {column!r}, but {', '.join(schema.names[:20])}: name one of them")
        return column
    images = [field.name for field in schema if holds_images(field.type)]
    candidates = images or [field.name for field in schema if holds_text(field.type) and field.name in PATHS]
    named = [field for field in candidates if field.lower() in NAMES]
    for found in (candidates, named):
        if len(found) == 1:
            return found[0]
    several = f"may hold images in any of {', '.join(candidates)}" if candidates else "has no column of images or paths"
    raise AuditError(f"{name} {several}: name one with --column")


def holds_images(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return types.is_binary(kind) or types.is_large_binary(kind)


def holds_text(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return types.is_string(kind) or types.is_large_string(kind)


def read_table(stretch: Stretch, wanted: range | frozenset[int]) -> Iterator[Member]:
    """The images of a stretch; those whose numbers in it are not wanted come without content."""
    with Table(stretch.source, stretch.kind) as table:
        for number, cell in enumerate(table.cells(stretch.column, stretch.first, stretch.count)):
            row = stretch.first + number
            if number in wanted:
                yield member(stretch.source, row, cell.as_py())
            else:
                yield Member.broken(str(row), "not asked for")


def member(source: str, row: int, cell: Any) -> Member:
    data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(data, str):
        data, path = None, data
    name = f"{row}:{path}" if path else str(row)
    if data is not None:
        return Member(name, lambda: data)
    if path:
        return Member(name, lambda: content(beside(source, path)))
    return Member.broken(name, f"row {row} of '{shown(source)}' holds no image")


def beside(source: str, path: str) -> str:
    """A path that a table holds, as seen from its folder.

    Raises:
        ImageError: If a table from elsewhere names a file of this machine.
    """
    if not is_url(source):
        return path if is_url(path) else os.path.join(os.path.dirname(source), path)
    if path.startswith("/") or re.search("(^|::)(file|local)://", path):
        raise ImageError(f"image '{shown(path)}' is a file of this machine, named by a table from elsewhere")
    return path if is_url(path) else posixpath.join(posixpath.dirname(source), path)


class Table:
    """A table, open for reading some of its rows.

    Attributes:
        schema: Its columns.
        count: Its rows.
    """

    def __init__(self, source: str, kind: str) -> None:
        self.source, self.kind = source, kind

    def __enter__(self) -> Table:
        if self.kind == "lance":
            self.reader = open_lance(self.source)
            self.schema, self.count = self.reader.schema, self.reader.count_rows()
            return self
        self.file = opened(self.source)
        stream = self.file.__enter__()
        try:
            if self.kind == "parquet":
                import pyarrow.parquet as pq

                self.reader = pq.ParquetFile(stream)
                self.schema, self.count = self.reader.schema_arrow, self.reader.metadata.num_rows
            else:
                self.reader, self.schema, self.count = open_arrow(stream)
        except BaseException:
            self.file.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self.kind != "lance":
            self.file.__exit__(*exception)

    def cells(self, column: str, first: int, count: int) -> Iterator[pa.Scalar]:
        """Values of a column in some rows; only the row groups that hold them are read."""
        if self.kind == "lance":
            yield from self.reader.take([*range(first, first + count)], columns=[column])[column]
            return
        begin = 0
        for number, rows in enumerate(self.parts()):
            start, stop = max(first - begin, 0), min(first + count - begin, rows)
            if start < stop:
                yield from self.part(number, column).slice(start, stop - start)
            begin += rows

    def parts(self) -> list[int]:
        """Rows of each row group or record batch."""
        if self.kind == "parquet":
            groups = self.reader.metadata
            return [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        return [batch.num_rows for batch in self.reader]

    def part(self, number: int, column: str) -> pa.ChunkedArray | pa.Array:
        if self.kind == "parquet":
            return self.reader.read_row_group(number, columns=[column])[column]
        return self.reader[number].column(column)


def open_arrow(stream) -> tuple[list[pa.RecordBatch], pa.Schema, int]:
    """The record batches of an Arrow file or stream."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(stream)
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except pa.ArrowInvalid:
        stream.seek(0)
        reader = pa.ipc.open_stream(stream)
        batches = [*reader]
    return batches, reader.schema, sum(batch.num_rows for batch in batches)


def open_lance(source: str):
    try:
        import lance
    except ImportError as error:
        raise AuditError(f"table '{shown(source)}' needs Lance: pip install 'wmark[lance]'") from error
    if is_url(source):
        filesystem(source)
    return lance.dataset(source)
