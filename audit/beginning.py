"""How a run begins, or is gone on with: as it was asked for, and on the sources that it listed."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from ..errors import AuditError
from ..files import shown
from .changes import changes, redivide
from .run import Run
from .shards import divide
from .shards import shard_size as usual_size
from .sources import find
from .sources.listing import RUN_FILE
from .specification import Machine, Settings, build, check_same, specification

__all__ = ["check_sources", "opened"]


def opened(
    folder: Path, settings: Settings, arguments: tuple[str, ...], machine: Machine, shard_size: int | None
) -> Run:
    """The run of a folder, begun if there is none.

    Raises:
        AuditError: If it is of other sources, or of another specification.
    """
    if (folder / RUN_FILE).exists():
        run = Run.load(folder)
        if run.arguments != arguments:
            raise AuditError(f"the run in '{shown(folder)}' is of other sources: choose another folder")
        settings = replace(settings, decoy_seed=run.settings.decoy_seed)
        if settings != run.settings:
            check_same(run.specification, specification(build(settings, machine), settings), f"'{shown(folder)}'")
        return replace(run, settings=settings)
    if folder.exists() and (not folder.is_dir() or any(path.suffix != ".lock" for path in folder.iterdir())):
        raise AuditError(f"'{shown(folder)}' is there and holds no run: choose another folder")
    settings = replace(settings, decoy_seed=secrets.token_hex(32))
    stretches = [*find(arguments, settings.column)]
    size = shard_size or usual_size(sum(stretch.count for stretch in stretches))
    run = Run(folder, settings, specification(build(settings, machine), settings), arguments, size)
    return run.begin([*divide(stretches, size)])


def check_sources(run: Run, changed: str) -> None:
    """Notice sources that changed since a run began.

    Raises:
        AuditError: If some did, and nobody said what to do.
    """
    if changed == "ignore":
        return
    stretches = [*find(run.arguments, run.settings.column)]
    differing = changes(run.shards, stretches)
    if not differing:
        return
    if changed == "stop":
        raise AuditError(
            f"the sources changed since the run began: {differing}: say --changed redo to look at what changed, "
            "--changed ignore to go on as they were listed, or begin a new run"
        )
    run.list(redivide(run.shards, stretches, differing, run.shard_size))
