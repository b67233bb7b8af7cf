"""`wmark bench ledger`, `likeness`, `transplants` and `audit`: kills, and pictures that are known again."""

from __future__ import annotations

from pathlib import Path

import click

from ..detectors.plan import ALIGN
from ..models import registry
from .exits import OK, UNEXPECTED
from .options import Number, bench_options, choice, fpr_option, with_options

__all__ = ["LEDGERS"]


@click.command("ledger")
@click.option("--processes", type=click.IntRange(1, 256), default=8, show_default=True, help="At work at once.")
@click.option("--kills", type=click.IntRange(0), default=200, show_default=True)
@click.option("--pause", type=Number(0), default=0.2, show_default=True, help="Seconds between two kills at most.")
@click.option("--ledger", "place", help="An empty database of PostgreSQL.  [default: a temporary file of SQLite]")
@with_options(bench_options[:2])
def bench_ledger(processes, kills, pause, place, out, seed) -> int:
    """Processes that issue numbers and write rows at once, killed at random: nothing twice, nothing lost.

    Exit code: 70 if anything was.
    """
    from ..benchmarks.ledger_crash import Extent, run

    result = run(extent=Extent(processes, kills, pause), place=place, seed=seed, out=out)
    return UNEXPECTED if result["wrong"] else OK


@click.command("likeness")
@click.option("-n", "--images", type=click.IntRange(2), default=24, show_default=True, help="Pictures of the model.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of further pictures, such as `pictures` of `wmark bench null`.",
)
@click.option("--further", type=click.IntRange(0), default=24, show_default=True, help="How many of them.")
@with_options(bench_options)
def bench_likeness(images, data, further, out, seed, model, dtype, device) -> None:
    """Whether a picture is the registered one: after every damage, and of replayed noise; beside hashes."""
    from ..benchmarks.likeness import Extent, run

    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, extent=Extent(images, further), data=data, seed=seed, out=out)


@click.command("transplants")
@click.option("-n", "--images", type=click.IntRange(1), default=8, show_default=True, help="Named pictures.")
@click.option("--prompts", type=click.IntRange(0), default=4, show_default=True, help="Replays of each.")
@fpr_option
@with_options(bench_options)
def bench_transplants(images, prompts, fpr, out, seed, model, dtype, device) -> None:
    """Whether a ledger tells replays from registered pictures after every damage, as `wmark verify` asks it."""
    from ..benchmarks.transplants import Extent, run

    run(registry.load_model(model, dtype=dtype, device=device), Extent(images, prompts), fpr=fpr, seed=seed, out=out)


@click.command("audit")
@click.option("-n", "--images", type=click.IntRange(64), default=2000, show_default=True, help="Files, 15% broken.")
@click.option(
    "--killed-images",
    type=click.IntRange(16),
    default=200,
    show_default=True,
    help="Files of killed runs.",
)
@click.option("--kills", type=click.IntRange(0), default=100, show_default=True)
@click.option(
    "--repeated",
    type=click.IntRange(64),
    default=10_000,
    show_default=True,
    help="Images over which memory is watched, the files again and again.",
)
@click.option("--align", type=choice(ALIGN), default="off", show_default=True, help="As of `wmark audit`.")
@with_options(bench_options)
def bench_audit(images, killed_images, kills, repeated, align, out, seed, model, dtype, device) -> None:
    """Images a second of `wmark audit` by engine and workers, against a plain loop; memory; killed and resumed."""
    from ..benchmarks.audit import Extent, run

    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, Extent(images, killed_images, kills, repeated, align), seed=seed, out=out)


LEDGERS = (bench_ledger, bench_likeness, bench_transplants, bench_audit)
