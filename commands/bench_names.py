"""`wmark bench`: the benchmarks of names, `identities` and `impostors`."""

from __future__ import annotations

import click

from ..models import registry
from .options import bench_options, fpr_option, with_options

__all__ = ["NAMES"]


@click.command("identities")
@click.option("-n", "--images", type=click.IntRange(0), default=60, show_default=True, help="Pictures; 0 takes none.")
@click.option(
    "--trials", type=click.IntRange(0), default=200, show_default=True, help="Simulated readings of each case."
)
@fpr_option
@with_options(bench_options)
def bench_identities(images, trials, fpr, out, seed, model, dtype, device) -> None:
    """Whose name is told among 10^6, 10^8 and 2^40, after each damage, how faint a mark may be, and what it costs."""
    from ..benchmarks.identities import Extent, run

    run(
        lambda: registry.load_model(model, dtype=dtype, device=device),
        Extent(trials, images),
        fpr=fpr,
        seed=seed,
        out=out,
    )


@click.command("impostors")
@click.option("-n", "--images", type=click.IntRange(10), default=1000, show_default=True, help="Images he holds.")
@fpr_option
@with_options(bench_options[:2])
def bench_impostors(images, fpr, out, seed) -> None:
    """What somebody who holds marked images, or a stolen issuer, can forge; simulated readings, no model."""
    from ..benchmarks.impostors import run

    run(images=images, fpr=fpr, seed=seed, out=out)


NAMES = (bench_identities, bench_impostors)
