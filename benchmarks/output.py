"""What every benchmark writes: rows as they are measured, so that a rerun goes on, then a table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import platform
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import WmarkError
from ..files import write_atomically
from ..version import __version__

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Columns", "Rows", "provenance", "table", "tabulate", "write_json", "write_results"]

Columns = Mapping[str, str | Callable[[dict], object]]
"""What a table shows of a row, by the names of its columns: a format of the row's values, or a function of the row."""


class Rows:
    """Measurements in a JSON Lines file, each under a key; those of an interrupted run with the same settings are kept.

    Arguments:
        path: The file.
        settings: What the measurements depend on. A file of other settings is set aside, not mixed in.
        fields: The fields of a row that make up its key.
    """

    def __init__(self, path: Path, settings: dict, fields: Sequence[str]) -> None:
        self.path, self.fields = path, tuple(fields)
        self.rows: dict[Hashable, dict] = {}
        settings = json.loads(json.dumps(settings))
        lines = path.read_text().splitlines() if path.exists() else []
        try:
            found = [json.loads(line) for line in lines if line.endswith("}")]
        except ValueError as error:
            raise WmarkError(f"{path} is damaged: delete it to measure anew") from error
        if found and found[0] == settings:
            self.rows = {self._key(row): row for row in found[1:]}
        elif found:
            path.rename(path.with_suffix(f".{datetime.now():%Y%m%d-%H%M%S}.jsonl"))
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in [settings, *self.rows.values()]).encode())

    def _key(self, row: dict) -> tuple:
        return tuple(row[field] for field in self.fields)

    def __contains__(self, key: tuple) -> bool:
        return key in self.rows

    def add(self, row: dict) -> None:
        self.rows[self._key(row)] = row
        with self.path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def select(self, **wanted) -> list[dict]:
        """Rows with these values, or with one of these lists' or ranges', in the order in which they were measured."""
        return [
            row
            for row in self.rows.values()
            if all(row[k] in v if isinstance(v, (list, range)) else row[k] == v for k, v in wanted.items())
        ]


def provenance(model: LatentDiffusion | None = None, **settings) -> dict:
    """What a result depends on: command, model, settings, versions, machine."""
    described = (
        {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "left_inverse": model.left_inverse_fingerprint,
            "dtype": str(model.dtype),
        }
        if model
        else None
    )
    device = model.device.type if model else "cpu"
    return {
        "command": " ".join(["wmark", *sys.argv[1:]]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": described,
        "settings": settings,
        "versions": {"wmark": __version__, "torch": torch.__version__, "diffusers": version("diffusers")},
        "machine": {
            "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
        },
    }


def table(header: Sequence[str], cells: Sequence[Sequence]) -> str:
    """A Markdown table with aligned columns."""
    lines = [[str(cell) for cell in row] for row in [header, *cells]]
    widths = [max(len(row[i]) for row in lines) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def tabulate(columns: Columns, rows: Sequence[dict]) -> str:
    """The Markdown table of rows."""
    return table(list(columns), cells(columns, rows))


def write_results(stem: Path, columns: Columns, rows: Sequence[dict], result: dict) -> None:
    """Write the table of rows to `stem.csv`, and what there is to know to `stem.json`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([list(columns), *cells(columns, rows)])
    write_atomically(Path(f"{stem}.csv"), text.getvalue().encode())
    write_json(Path(f"{stem}.json"), result)


def write_json(path: Path, content: dict) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def cells(columns: Columns, rows: Sequence[dict]) -> list[list]:
    return [[show.format(**row) if isinstance(show, str) else show(row) for show in columns.values()] for row in rows]
