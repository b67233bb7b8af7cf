"""`wmark audit`: verdicts on any number of images, into the folder of a run that can be gone on with."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from ..detectors.plan import ALIGN
from ..errors import AuditError
from ..files import exclusive, reason, shown
from ..inversion.recovery import EFFORTS
from .audit_terminal import Display, say_summary
from .exits import INTERRUPTED, OK, UNEXPECTED, UNUSABLE
from .keys import active_keys, open_keyring
from .ledger import ledger_option
from .manifests import trust_option
from .options import Number, Size, choice, fpr_option, json_option, keyring_option, model_options, with_options
from .sources import STANDARD_INPUT
from .terminal import complain, dumps

__all__ = ["audit"]

ENGINES = ("local", "ray")
CHANGED = ("stop", "redo", "ignore")
OF_THE_RUN = (
    *("column", "key_id", "keyring", "model", "dtype", "fpr", "effort", "align", "tuned", "size"),
    *("decoys", "searched_decoys", "batch_size", "shard_size", "threads"),
)
"""Parameters that are settled when a run begins."""


@click.command()
@click.argument("sources", nargs=-1)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of a new run, or of one to go on with.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Go on with the run of this folder, as it was begun.",
    metavar="RUN",
)
@click.option(
    "--list",
    "lists",
    multiple=True,
    metavar="FILE",
    help="A file that names sources, one a line; - for standard input.",
)
@click.option("--column", help="Column of tables that holds images or paths; found if not given.")
@click.option("--retry-failed", is_flag=True, help="Look again at images that could not be looked at.")
@click.option(
    "--changed",
    type=choice(CHANGED),
    default="stop",
    show_default=True,
    help="Where sources changed since the run began: stop and say so, look at what changed, or take no notice.",
)
@click.option(
    "--max-failures",
    type=Number(0, 1),
    default=1.0,
    show_default=True,
    help="Stop once more than this share of all images could not be looked at.",
)
@click.option("--key", "key_id", help="Test this key alone; names and all active keys if not given.")
@keyring_option
@with_options(model_options)
@fpr_option
@click.option("--effort", type=choice(EFFORTS), default="auto", show_default=True, help="As of `wmark verify`.")
@click.option("--align", type=choice(ALIGN), default="auto", show_default=True, help="As of `wmark verify`.")
@click.option("--tuned/--untuned", default=True, help="As of `wmark verify`.")
@click.option("--size", type=Size(), help="Size the images were generated at; the likely ones are tried if not given.")
@click.option(
    "--decoys",
    type=click.IntRange(0, 1000),
    default=20,
    show_default=True,
    help="Keys that nothing carries, tested where the mark stands: what chance does on these very images.",
)
@click.option(
    "--searched-decoys",
    type=click.IntRange(0, 100),
    default=0,
    help="Keyrings that exist nowhere, searched for like the real one; each costs as much again.",
)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--shard-size", type=click.IntRange(1), help="Images of a shard.  [1/200 of all, between 16 and 1024]")
@click.option(
    "--engine", type=choice(ENGINES), default="local", show_default=True, help="Here, or on a cluster of Ray."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Each holds the model once.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads of a worker's model on a CPU; the last digits of scores depend on them, and not on --workers.",
)
@click.option(
    "--decoders", type=click.IntRange(1), default=2, show_default=True, help="Threads of a worker that decode ahead."
)
@trust_option
@ledger_option
@json_option
def audit(
    sources,
    out,
    resume,
    lists,
    column,
    retry_failed,
    changed,
    max_failures,
    key_id,
    keyring,
    model,
    dtype,
    device,
    fpr,
    effort,
    align,
    tuned,
    size,
    decoys,
    searched_decoys,
    batch_size,
    shard_size,
    engine,
    workers,
    threads,
    decoders,
    trust,
    place,
    as_json,
) -> int:
    """Look at every image of SOURCES, and keep in a folder what was found, what was not, and what could not be read.

    SOURCES are files, folders (all that is below them), globs in quotes, zip, tar and WebDataset archives, Parquet,
    Arrow and Lance tables with a column of images or of their paths, and URLs that fsspec knows, such as
    s3://bucket/images. The same command, or --resume with the folder, goes on where a run stopped.

    Exit code: 0 if every image was looked at, 2 if one cannot be used, 70 if one could not be looked at for another
    reason, 130 if interrupted. What was found is in the tables.
    """
    if (out is None) == (resume is None):
        raise click.UsageError("say either -o FOLDER, for a new run, or --resume FOLDER, for one to go on with")
    if resume and (sources or lists):
        raise click.UsageError("--resume goes on with the run's own sources: name none")
    if resume and (given := [name for name in OF_THE_RUN if is_said(name)]):
        raise click.UsageError(
            f"--resume goes on with a run as it was begun: leave out --{given[0].removesuffix('_id').replace('_', '-')}"
        )
    if STANDARD_INPUT in sources:
        raise click.UsageError("standard input holds no image here, but names sources with --list -")
    if not resume and not (sources or lists):
        raise click.UsageError("name what to look at: files, folders, globs, archives, tables, URLs, or --list FILE")
    from ..audit.beginning import check_sources, opened
    from ..audit.engines import ENGINES as engines
    from ..audit.run import Run, carry_on
    from ..audit.sources.listing import RUN_FILE
    from ..audit.specification import Machine, Settings
    from ..audit.summary import summarise
    from ..audit.worker import Hire

    machine = Machine(device, decoders, place and absolute(place), trust and str(trust.absolute()))
    folder = resume or out
    if resume:
        Run.load(folder)
    with exclusive(folder / "audit.json"):
        known = (folder / RUN_FILE).exists()
        if resume:
            run = Run.load(folder)
        else:
            ring, path = open_keyring(keyring)
            names = key_id is None and bool(ring.named)
            if key_id is not None:
                keys = [ring.key(key_id, allow_revoked=True)]
            else:
                keys = ring.active() if names else active_keys(ring)
            settings = Settings(
                str(path.absolute()),
                tuple(key.id for key in keys),
                names=names,
                model=model,
                dtype=dtype,
                tuned=tuned,
                effort=effort,
                align=align,
                fpr=fpr,
                size=size,
                decoys=decoys,
                searched=searched_decoys,
                batch_size=batch_size,
                threads=threads,
                column=column,
            )
            arguments = (*map(absolute, sources), *(line for name in lists for line in lines(name)))
            run = opened(folder, settings, arguments, machine, shard_size)
        if known:
            check_sources(run, changed)
        hire = Hire(run.settings, machine, run.specification)
        total = run.images
        with Display(run) as display, interruptions() as stopped:
            steps = carry_on(run, hire, engines[engine], workers, retry_failed=retry_failed, stopped=stopped)
            for step in steps:
                display.show(step)
                if display.counts.failed > max_failures * total:
                    steps.close()
                    raise AuditError(
                        f"{display.counts.failed:,} of {total:,} images could not be looked at, more than the share "
                        f"of {max_failures:g} that --max-failures allows: '{shown(folder)}' says why, and a larger "
                        "share lets the run go on"
                    )
        left = len(run.shards) - display.shards
        if left:
            complain(
                f"interrupted with {display.shards:,} of {len(run.shards):,} shards done, {left:,} left: go on with "
                f"`wmark audit --resume {shown(folder)}`"
            )
            return INTERRUPTED
        summary = summarise(run)
    if as_json:
        click.echo(dumps(summary))
    else:
        say_summary(summary, run.folder)
    totals = summary["totals"]
    return UNEXPECTED if totals["unforeseen"] else UNUSABLE if totals["failed"] else OK


def is_said(parameter: str) -> bool:
    """Whether a parameter stands on the command line."""
    return click.get_current_context().get_parameter_source(parameter) == ParameterSource.COMMANDLINE


def absolute(source: str) -> str:
    """A source as it can be found again from another folder."""
    from ..audit.sources.places import is_url

    return source if is_url(source) else os.path.abspath(source)


def lines(name: str) -> Iterator[str]:
    """The sources that a file names, one a line, or ended by NUL as `find -print0` has them."""
    try:
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    except OSError as error:
        raise click.UsageError(f"the list '{shown(name)}' cannot be read: {reason(error)}") from error
    for line in data.split(b"\0") if b"\0" in data else data.splitlines():
        if line.strip():
            yield absolute(os.fsdecode(line))


@contextlib.contextmanager
def interruptions() -> Iterator:
    """Whether somebody interrupted: the first time only this says so, the second ends everything at once."""
    said: list[int] = []
    former = signal.getsignal(signal.SIGINT)

    def note(number, frame) -> None:
        said.append(number)
        signal.signal(signal.SIGINT, former)
        complain("finishing the shards in hand; interrupt again to leave at once")

    if former not in (signal.SIG_IGN, None):
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(said)
    finally:
        if former is not None:
            signal.signal(signal.SIGINT, former)
