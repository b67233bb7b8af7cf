"""`wmark bench`: the benchmarks as commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..detectors.plan import ALIGN
from ..errors import KeyringError
from ..inversion.recovery import EFFORTS
from ..models import registry
from ..watermark.patterns import Pattern
from .bench_inversion import INVERSIONS
from .bench_ledger import LEDGERS
from .bench_names import NAMES
from .options import Number, bench_options, choice, fpr_option, with_options

__all__ = ["bench"]


class Place(click.ParamType):
    """A searchable pattern, named by its kind and its radius."""

    name = "kind:radius"

    def convert(self, value: str | Pattern, param: click.Parameter | None, ctx: click.Context | None) -> Pattern:
        if isinstance(value, Pattern):
            return value
        kind, _, radius = value.partition(":")
        try:
            pattern = Pattern.of(kind, int(radius))
        except ValueError:
            self.fail(f"{value!r} is no kind and radius, such as disc:16", param, ctx)
        except KeyringError as error:
            self.fail(str(error), param, ctx)
        if not pattern.searchable:
            self.fail(f"marks of the kind {kind!r} are not compared: name disc:16, square:31 or the like", param, ctx)
        return pattern


@click.group()
def bench() -> None:
    """Measure what wmark claims: tables, CSV, JSON and figures."""


@bench.command("confusion")
@click.option("-n", "--images", type=click.IntRange(2), default=30, show_default=True, help="Images in each class.")
@click.option("--damage", default="none", show_default=True, help="Done to every image before it is read.")
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Iterations of the gradient-free and the gradient-based inversion.",
)
@click.option("--inversion-steps", type=click.IntRange(1), default=20, show_default=True)
@with_options(bench_options)
def bench_confusion(images, damage, iterations, inversion_steps, out, seed, model, dtype, device) -> None:
    """Three keys and an unmarked class, by four decoder inversions and two patterns."""
    from ..benchmarks.confusion import run

    run(
        registry.load_model(model, dtype=dtype, device=device),
        images=images,
        damage=damage,
        iterations=iterations,
        steps=inversion_steps,
        seed=seed,
        out=out,
    )


@bench.command("detection")
@click.option(
    "-n", "--images", type=click.IntRange(2), default=60, show_default=True, help="Marked and unmarked images."
)
@click.option(
    "--exact-images",
    type=click.IntRange(0),
    default=16,
    show_default=True,
    help="Images that are also read at the effort `exact`, which takes seconds each.",
)
@fpr_option
@with_options(bench_options)
def bench_detection(images, exact_images, fpr, out, seed, model, dtype, device) -> None:
    """True-positive rates after each damage, false positives, seconds per stage."""
    from ..benchmarks.detection import run

    run(
        registry.load_model(model, dtype=dtype, device=device),
        images=images,
        exact_images=exact_images,
        fpr=fpr,
        seed=seed,
        out=out,
    )


@bench.command("robustness")
@click.option(
    "-n", "--images", type=click.IntRange(1), default=64, show_default=True, help="Marked and unmarked images."
)
@click.option(
    "--curve-images",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Marked images for the strengths that draw curves, and for regeneration.",
)
@click.option(
    "--damage",
    "damages",
    metavar="NAME[:STRENGTH]",
    multiple=True,
    help="Measure this one in place of all, on all images; may be given several times (`wmark attack --list`).",
)
@click.option("--effort", type=choice(EFFORTS), default="auto", show_default=True, help="As of `wmark verify`.")
@click.option(
    "--pilot",
    type=Number(0, 1, min_open=True, max_open=True),
    help="Strength of the pilot.  [default: that of keyrings]",
)
@click.option("--another", metavar="MODEL", help="Another model that regenerates images, besides their own.")
@with_options(bench_options)
def bench_robustness(images, curve_images, damages, effort, pilot, another, out, seed, model, dtype, device) -> None:
    """Every kind of damage at several strengths: share found, evidence, by which look, picture quality."""
    from ..benchmarks.robustness import Extent, run

    extent = Extent(images, curve_images, damages, effort, pilot)
    other = registry.load_model(another, dtype=dtype, device=device) if another else None
    run(registry.load_model(model, dtype=dtype, device=device), extent, another=other, seed=seed, out=out)


@bench.command("null")
@click.option(
    "-n", "--images", type=click.IntRange(1), help="Real pictures, chosen by their hashes.  [default: all, some 3,300]"
)
@click.option("--own", type=click.IntRange(0), default=200, show_default=True, help="Pictures of the model.")
@click.option(
    "--synthetic", type=click.IntRange(0), default=100, show_default=True, help="Flat ones, shapes and noise, of each."
)
@click.option("--keys", type=click.IntRange(2), default=1000, show_default=True, help="Random keys.")
@click.option(
    "--searched", type=click.IntRange(0), default=100, show_default=True, help="Real pictures that are searched, too."
)
@click.option("--effort", type=choice(EFFORTS), default="auto", show_default=True, help="As of `wmark verify`.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the real pictures; fetches 2 GB of packages if they are missing.  [default: in the cache]",
)
@click.option(
    "--training",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Prepared dataset whose pictures are left out.  [default: what the embedded model has seen]",
)
@with_options([option for option in bench_options if option is not bench_options[1]])
def bench_null(images, own, synthetic, keys, searched, effort, data, training, out, model, dtype, device) -> None:
    """Unmarked photographs, drawings and screenshots: p-values over keys, and for each fixed key."""
    from ..benchmarks.null import Extent, run
    from ..benchmarks.null_sources import default_folder

    run(
        registry.load_model(model, dtype=dtype, device=device),
        Extent(images, own, synthetic, keys, searched),
        effort=effort,
        data=data or default_folder(),
        training=training,
        out=out,
    )


@bench.command("search")
@click.option("-n", "--readings", type=click.IntRange(1), default=16, show_default=True, help="Readings of each case.")
@click.option(
    "--compared",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    help="Those of them that are also searched without a pilot, which takes longer.",
)
@fpr_option
@with_options(bench_options[:2])
def bench_search(readings, compared, fpr, out, seed) -> None:
    """How far a pilot leads after turns, crops and warps and in larger pictures, on simulated readings."""
    from ..benchmarks.registration import run

    run(readings=readings, compared=compared, fpr=fpr, seed=seed, out=out)


@bench.command("marks")
@click.option(
    "--pattern",
    "patterns",
    type=Place(),
    multiple=True,
    default=("disc:16", "disc:24", "disc:31", "square:31"),
    show_default=True,
    help="Where a mark lives: a kind and its radius. May be repeated, as the next two.",
)
@click.option(
    "--strength",
    "strengths",
    type=Number(0, 1, min_open=True),
    multiple=True,
    default=(0.2, 0.3, 0.4, 0.5, 0.6),
    show_default=True,
)
@click.option(
    "--energy",
    "energies",
    type=click.Choice(["even", "return"]),
    multiple=True,
    default=("even", "return"),
    show_default=True,
    help="Spread evenly, or by what each channel and frequency returns.",
)
@click.option("-n", "--images", type=click.IntRange(2), default=32, show_default=True, help="Pictures of each mark.")
@click.option(
    "--damaged-images", type=click.IntRange(1), default=12, show_default=True, help="How many are read damaged too."
)
@with_options(bench_options)
def bench_marks(patterns, strengths, energies, images, damaged_images, out, seed, model, dtype, device) -> None:
    """What each mark is worth as evidence, and what it costs the pictures: distance, likeness, quality, traces."""
    from ..benchmarks.marks import Mark, run

    run(
        registry.load_model(model, dtype=dtype, device=device),
        marks=[Mark(replace(p, strength=s), energy) for p in patterns for energy in energies for s in strengths],
        images=images,
        damaged_images=damaged_images,
        seed=seed,
        out=out,
    )


@bench.command("seconds")
@click.option(
    "--repeats", type=click.IntRange(1), default=5, show_default=True, help="Measurements; the median counts."
)
@with_options(bench_options)
def bench_seconds(repeats, out, seed, model, dtype, device) -> None:
    """Where the time of `verify` goes: seconds an image and stage, one image alone and eight together."""
    from ..benchmarks.seconds import run

    run(registry.load_model(model, dtype=dtype, device=device), repeats=repeats, seed=seed, out=out)


@bench.command("throughput")
@click.option(
    "-n", "--images", type=click.IntRange(4), default=64, show_default=True, help="Images, half of them marked."
)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Turns; the median counts.")
@click.option("--align", type=choice(ALIGN), multiple=True, default=("off", "auto"), show_default=True)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Python interpreter that has another release of wmark.",
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads of each process.")
@with_options(bench_options)
def bench_throughput(images, repeats, align, against, threads, out, seed, model, dtype, device) -> None:
    """Images a second of `verify` on a mixed lot, against other releases, side by side."""
    from ..benchmarks.throughput import Extent, run

    extent = Extent(images, repeats, align, threads)
    run(registry.load_model(model, dtype=dtype, device=device), extent, against=against, seed=seed, out=out)


for command in (*INVERSIONS, *LEDGERS, *NAMES):
    bench.add_command(command)
