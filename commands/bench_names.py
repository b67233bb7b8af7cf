"""`wmark bench`: the benchmarks of names, `identities`, `null-names`, `impostors` and `attackers`."""

from __future__ import annotations

from pathlib import Path

import click

from ..models import registry
from .options import Number, bench_options, fpr_option, with_options

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


@click.command("null-names")
@click.option("--keyrings", type=click.IntRange(0), default=1000, show_default=True, help="That exist nowhere.")
@click.option(
    "-n", "--images", type=click.IntRange(1), default=100, show_default=True, help="Pictures of each kind they tell."
)
@click.option(
    "--searching", type=click.IntRange(0), default=1, show_default=True, help="Keyrings with which `verify` searches."
)
@click.option(
    "--searched", type=click.IntRange(1), default=500, show_default=True, help="Real pictures of each kind it searches."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the real pictures, as of `wmark bench null`.  [default: in the cache]",
)
@with_options([option for option in bench_options if option is not bench_options[1]])
def bench_null_names(keyrings, images, searching, searched, data, out, model, dtype, device) -> None:
    """Unmarked pictures and those of others: how often presence, series and identity are said of them."""
    from ..benchmarks.null_names import Extent, run
    from ..benchmarks.null_sources import default_folder

    run(
        registry.load_model(model, dtype=dtype, device=device),
        Extent(keyrings, images, searching, searched),
        data=data or default_folder(),
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


@click.command("attackers")
@click.option(
    "-n", "--images", type=click.IntRange(1), default=8, show_default=True, help="Pictures with a key, and with names."
)
@click.option("--prompts", type=click.IntRange(1), default=2, show_default=True, help="Replays of each.")
@click.option(
    "--psnr",
    "levels",
    type=Number(10, 60),
    multiple=True,
    default=(40, 35, 30, 25),
    show_default=True,
    help="At which imprints are judged; may be given several times.",
)
@click.option(
    "--iterations", type=click.IntRange(1), default=60, show_default=True, help="Updates of an imprint's latent."
)
@click.option(
    "--inversion-steps", type=click.IntRange(1), default=3, show_default=True, help="That it is optimised through."
)
@click.option(
    "--oracle-images", type=click.IntRange(0), default=1, show_default=True, help="Those a detector is asked about."
)
@click.option("--queries", type=click.IntRange(2), default=150, show_default=True, help="Times it is asked.")
@click.option("--another", metavar="MODEL", help="Another model that attackers have, as a proxy.  [default: none]")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    help="Carried out, as the table calls it; may be given several times.  [default: all]",
)
@fpr_option
@with_options(bench_options)
def bench_attackers(
    images, prompts, levels, iterations, inversion_steps, oracle_images, queries, another, attacks, fpr, out, seed,
    model, dtype, device,
) -> None:  # fmt: skip
    """What is forged or removed by replay, imprint, a known seed and a detector's answers, against a key and names."""
    from ..benchmarks.attackers import run
    from ..benchmarks.attackers_made import Extent, Imprinting

    imprinting = Imprinting(inversion_steps, iterations)
    extent = Extent(images, prompts, tuple(map(float, levels)), min(oracle_images, images), queries, imprinting)
    other = registry.load_model(another, dtype=dtype, device=device) if another else None
    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, extent, another=other, attacks=attacks, fpr=fpr, seed=seed, out=out)


NAMES = (bench_identities, bench_null_names, bench_impostors, bench_attackers)
