"""The folder of a run: what it is of, which shards are done, and going on.

    audit.json            settings, specification, sources
    listing.parquet       the shards (:mod:`.shards`)
    shards/00000000.parquet  their rows, each file written whole or not at all
    corrections.parquet, summary.json  what the rows say together, once all are there (:mod:`.summary`)

A shard is done when its file names the run's specification and the shard's own digest, and holds all its rows. Whatever
else lies there, a torn file or one of another specification, is not done and is written anew.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import AuditError, ImageError
from ..files import make_folder, reason, shown, write_atomically
from .engines import Engine
from .schema import SCHEMA
from .shards import Shard, read_listing, write_listing
from .sources.listing import RUN_FILE
from .specification import Settings, digest
from .worker import Hire, Task

__all__ = ["Counts", "Run", "carry_on"]

FORESEEN = {kind.__name__ for kind in (ImageError, *ImageError.__subclasses__())}
"""Kinds of errors that say what is wrong with an image; all others are our own."""


@dataclass(frozen=True)
class Counts:
    """What became of some images.

    Attributes:
        images: Rows.
        found: Of them, those that carry a key.
        failed: Those that could not be looked at.
        unforeseen: Of these, those that failed for a reason that nobody foresaw.
        seconds: Time that workers spent on them.
    """

    images: int = 0
    found: int = 0
    failed: int = 0
    unforeseen: int = 0
    seconds: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    @classmethod
    def of(cls, rows: pa.Table, seconds: float) -> Counts:
        """Those of rows."""
        kinds = rows["error_class"].drop_null().to_pylist()
        found = pc.sum(rows["found"].cast(pa.int64())).as_py() or 0
        return cls(len(rows), found, len(kinds), sum(kind not in FORESEEN for kind in kinds), seconds)


@dataclass(frozen=True)
class Run:
    """A run in a folder.

    Attributes:
        folder: The folder.
        settings: What was asked for.
        specification: What the verdicts rest on.
        arguments: The sources, as they were named.
        shard_size: Images of a shard.
        created: When it was begun, ISO 8601 in UTC; None before that.
    """

    folder: Path
    settings: Settings
    specification: Mapping[str, Any]
    arguments: tuple[str, ...]
    shard_size: int
    created: str | None = None

    def begin(self, shards: Sequence[Shard]) -> Run:
        """Write what the run is of, last of all the file by which it is known as one; returns the run.

        Raises:
            OSError: If the folder cannot be written.
        """
        make_folder(self.folder, private=True)
        self.list(shards)
        content = {
            "schema": SCHEMA,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "settings": asdict(self.settings),
            "specification": self.specification,
            "sources": self.arguments,
            "shard_size": self.shard_size,
        }
        write_atomically(self.folder / RUN_FILE, (json.dumps(content, indent=1) + "\n").encode(), mode=0o600)
        return self

    @classmethod
    def load(cls, folder: Path) -> Run:
        """The run of a folder.

        Raises:
            AuditError: If it holds none, or it is damaged.
        """
        try:
            content = json.loads((folder / RUN_FILE).read_bytes())
            if content["schema"] != SCHEMA:
                raise AuditError(f"the run in '{shown(folder)}' has the schema {content['schema']!r}, not {SCHEMA}")
            settings = Settings.of_json(content["settings"])
            sources, size = tuple(content["sources"]), content["shard_size"]
            return cls(folder, settings, content["specification"], sources, size, content["created"])
        except FileNotFoundError:
            raise AuditError(f"'{shown(folder)}' holds no run of an audit: it has no {RUN_FILE}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuditError(f"the {RUN_FILE} of '{shown(folder)}' cannot be read ({reason(error)})") from error

    @cached_property
    def digest(self) -> str:
        """That of its specification."""
        return digest(self.specification)

    @cached_property
    def shards(self) -> list[Shard]:
        """Its shards, in order."""
        try:
            return [*read_listing(self.folder / "listing.parquet")]
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise AuditError(f"the listing of '{shown(self.folder)}' cannot be read ({reason(error)})") from error

    @property
    def images(self) -> int:
        """All its images."""
        return sum(shard.count for shard in self.shards)

    def list(self, shards: Sequence[Shard]) -> None:
        """Write which shards it has; what other shards left is removed.

        Raises:
            OSError: If the folder cannot be written.
        """
        write_listing(self.folder / "listing.parquet", shards)
        self.__dict__.pop("shards", None)
        kept = {self.path(shard) for shard in shards}
        for path in (self.folder / "shards").glob("*.parquet"):
            if path not in kept:
                path.unlink()

    def path(self, shard: Shard) -> Path:
        """Where the rows of a shard are."""
        return self.folder / "shards" / f"{shard.number:08}.parquet"

    def done(self, shard: Shard) -> Counts | None:
        """What became of a shard's images; None if it is not done."""
        try:
            footer = pq.read_metadata(self.path(shard))
            about = json.loads(footer.metadata[b"wmark"])
            mine = (about["specification"], about["shard"]) == (self.digest, shard.digest)
            counts = Counts(**about["counts"])
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            return None
        return counts if mine and footer.num_rows == shard.count == counts.images else None

    def rows(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a shard that is done.

        Raises:
            AuditError: If its file is damaged.
        """
        path = self.path(shard)
        try:
            return pq.read_table(path, columns=columns and list(columns))
        except (OSError, pa.ArrowException) as error:
            raise AuditError(
                f"the rows in '{shown(path)}' cannot be read ({reason(error)}): remove that file and go on with the run"
            ) from error

    def write(self, task: Task, rows: pa.Table) -> Counts:
        """Write a shard's rows in one step, new ones in place of the old ones where only some were wanted.

        Raises:
            AuditError: If they are of another specification.
            OSError: If they cannot be written.
        """
        about = json.loads(rows.schema.metadata[b"wmark"])
        if about["specification"] != self.digest:
            raise AuditError("a worker has another specification than the run: rows of two are not mixed")
        seconds = about["seconds"]
        if task.wanted is not None:
            old = self.rows(task.shard)
            seconds += self.done(task.shard).seconds
            kept = old.filter(pc.invert(pc.is_in(old["row"], rows["row"])))
            rows = pa.concat_tables([kept.cast(rows.schema), rows]).sort_by("row")
        counts = Counts.of(rows, seconds)
        metadata = {"wmark": json.dumps({**about, "counts": asdict(counts)})}
        buffer = io.BytesIO()
        pq.write_table(rows.replace_schema_metadata(metadata), buffer, compression="zstd")
        write_atomically(self.path(task.shard), buffer.getbuffer(), mode=0o600)
        return counts

    def tasks(self, retry_failed: bool) -> Iterator[Task]:
        """What is left to do.

        Arguments:
            retry_failed: Look again at images that could not be looked at.
        """
        for shard in self.shards:
            counts = self.done(shard)
            if counts is None:
                yield Task(shard)
            elif retry_failed and counts.failed:
                rows = self.rows(shard, ["row", "error_class"])
                failed = rows.filter(pc.is_valid(rows["error_class"]))["row"].to_pylist()
                yield Task(shard, frozenset(row - shard.row for row in failed))


@dataclass(frozen=True)
class Step:
    """A shard that was written.

    Attributes:
        shard: The shard.
        counts: What became of its images.
        change: The same less what was known of them before.
    """

    shard: Shard
    counts: Counts
    change: Counts


def carry_on(
    run: Run,
    hire: Callable[[], Any],
    engine: Engine,
    workers: int,
    *,
    retry_failed: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Do what is left of a run, shard after shard.

    Arguments:
        run: The run.
        hire: How to come by a worker.
        engine, workers: Who works, and how many.
        retry_failed: Look again at images that could not be looked at.
        stopped: Asked before a shard is begun; once true, the shards in hand are finished and no more.

    Raises:
        WmarkError: If the model or a key cannot be used, or a worker is lost.
        OSError: If rows cannot be written.
    """
    in_hand = workers + 1
    results = engine(expecting(hire, run), until(stopped, run.tasks(retry_failed)), workers)
    for task, rows in results:
        before = run.done(task.shard) or Counts()
        counts = run.write(task, rows)
        yield Step(task.shard, counts, counts - before)
        if stopped():
            in_hand -= 1
            if not in_hand:
                results.close()
                return


def until(stopped: Callable[[], bool], tasks: Iterator[Task]) -> Iterator[Task]:
    for task in tasks:
        if stopped():
            return
        yield task


def expecting(hire: Callable[[], Any], run: Run) -> Callable[[], Any]:
    return replace(hire, expected=run.specification) if isinstance(hire, Hire) else hire
