"""`wmark bench`: the benchmarks of inversion, from pictures to latents and from latents to noise."""

from __future__ import annotations

from pathlib import Path

import click

from ..inversion.marking.ways import WAYS
from ..models import registry
from .options import Device, Number, bench_options, choice, model_options, with_options

__all__ = ["INVERSIONS"]

every_precision = [option for option in bench_options if option is not model_options[1]]
every_model = [option for option in bench_options if option is not model_options[0]]


@click.command("decoder-inversion")
@click.option("-n", "--images", type=click.IntRange(1), default=64, show_default=True, help="Images to invert.")
@with_options(every_precision)
def bench_decoder_inversion(images, out, seed, model, device) -> None:
    """Error against calls, seconds and memory: the paper's decoder inversions, the gradient, and ours."""
    from ..benchmarks.decoder_inversion import run
    from ..benchmarks.inversion_variants import VARIANTS

    run(in_precisions_of(VARIANTS, model, device), images=images, seed=seed, out=out)


@click.command("ablation")
@click.option("-n", "--images", type=click.IntRange(1), default=4, show_default=True, help="Images to invert.")
@click.option(
    "--among",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Generated images that they are chosen from, from easy to hard.",
)
@with_options(every_precision)
def bench_ablation(images, among, out, seed, model, device) -> None:
    """The decoder inversions at all learning rates and precisions, with up to 200 iterations, on a few images."""
    from ..benchmarks.decoder_inversion import run
    from ..benchmarks.inversion_variants import ABLATION

    loaded = in_precisions_of(ABLATION, model, device)
    run(loaded, images=images, among=among, seed=seed, out=out, name="ablation", variants=ABLATION)


def in_precisions_of(variants, model, device) -> dict:
    """The model in each precision that a variant asks for."""
    precisions = dict.fromkeys(variant.dtype for variant in variants)
    return {dtype: registry.load_model(model, dtype=dtype, device=device) for dtype in precisions}


@click.command("cocoercivity")
@click.option("-n", "--images", type=click.IntRange(1), default=64, show_default=True)
@click.option("--iterations", type=click.IntRange(1), default=12, show_default=True, help="Length of the path.")
@click.option("--rho", type=Number(0, min_open=True), default=0.5, show_default=True, help="Step size.")
@with_options(bench_options)
def bench_cocoercivity(images, iterations, rho, out, seed, model, dtype, device) -> None:
    """Whether the assumption holds under which the iterations converge, and how it goes with their error."""
    from ..benchmarks.cocoercivity import run

    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, images=images, iterations=iterations, rho=rho, seed=seed, out=out)


@click.command("latent")
@click.option("-n", "--images", type=click.IntRange(1), default=16, show_default=True, help="Marked images.")
@with_options(bench_options)
def bench_latent(images, out, seed, model, dtype, device) -> None:
    """What a better latent buys: noise error and p-value by decoder inversion, damage and inversion steps."""
    from ..benchmarks.latent import run

    run(registry.load_model(model, dtype=dtype, device=device), images=images, seed=seed, out=out)


@click.command("clips")
@click.option("-n", "--clips", type=click.IntRange(1), default=4, show_default=True, help="Clips of each turn.")
@click.option("--frames", type=click.IntRange(2), default=6, show_default=True, help="Frames of each.")
@with_options(bench_options)
def bench_clips(clips, frames, out, seed, model, dtype, device) -> None:
    """What the frame before is worth to the decoder inversion of the next."""
    from ..benchmarks.clips import run

    run(registry.load_model(model, dtype=dtype, device=device), clips=clips, frames=frames, seed=seed, out=out)


@click.command("autoencoders")
@click.option("--timed/--counted", default=False, help="Measure seconds, too, or only count the memory.")
@bench_options[0]
@click.option("--device", type=Device(), default="cpu", show_default=True, help="Where seconds are measured.")
@click.option(
    "--repeats", type=click.IntRange(1), default=3, show_default=True, help="Measurements; the median counts."
)
def bench_autoencoders(timed, out, device, repeats) -> None:
    """Memory and time on the autoencoders of Stable Diffusion 2.1, InstaFlow, LaVie and SDXL, random weights."""
    from ..benchmarks.autoencoders import run

    run(out=out, timed=timed, device=device, repeats=repeats)


@click.command("adapter")
@with_options([option for option in bench_options if option is not model_options[0]])
def bench_adapter(out, seed, dtype, device) -> None:
    """Full-size Stable Diffusion 2.1 shapes with random weights, epsilon and v-prediction, through the whole chain."""
    from ..benchmarks.adapter import run

    run(out=out, seed=seed, dtype=dtype, device=device)


@click.command("inversion")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Models to sample from and invert; may be given several times.  [default: all embedded ones]",
)
@click.option("-n", "--images", type=click.IntRange(1), default=8, show_default=True, help="At guidance 1.")
@click.option("--few", type=click.IntRange(1), default=2, show_default=True, help="Of everything else.")
@click.option(
    "--steps", "lengths", type=click.IntRange(1, 1000), multiple=True, default=(10, 20, 50), show_default=True
)
@click.option("--full-size", is_flag=True, help="Time Stable Diffusion 2.1's U-Net, too, with random weights.")
@with_options(every_model)
def bench_diffusion_inversion(models, images, few, lengths, full_size, out, seed, dtype, device) -> None:
    """The noise of every sampler by every method, with and without the prompt, and diffusers' own inverses."""
    from ..benchmarks.inversion import Extent, run

    names = models or [name for name, folder in registry.EMBEDDED.items() if folder.is_dir()]
    loaded = [registry.load_model(name, dtype=dtype, device=device) for name in names]
    run(loaded, Extent(images, few, tuple(lengths), full_size=full_size), seed=seed, out=out)


@click.command("photographs")
@click.option("-n", "--images", type=click.IntRange(1), default=24, show_default=True, help="Photographs.")
@click.option("--psnr", "levels", type=Number(20, 60), multiple=True, default=(30, 35, 40), show_default=True)
@click.option("--way", "ways", type=choice(WAYS), multiple=True, default=tuple(WAYS), show_default=True)
@click.option("--radius", type=click.IntRange(1), help="Of the keys' disc.  [default: the pattern's own]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of `wmark bench null`'s pictures; packages are fetched where they are missing.  [default: its own]",
)
@with_options(bench_options)
def bench_photographs(images, levels, ways, radius, data, out, seed, model, dtype, device) -> None:
    """Photographs marked in every way at several PSNRs: likeness, evidence, what survives."""
    from ..benchmarks.inversion_photographs import Extent, run
    from ..benchmarks.null_sources import default_folder
    from ..watermark.patterns import Pattern

    extent = Extent(images, tuple(map(float, levels)), tuple(ways), Pattern.of(radius=radius))
    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, extent, data=data or default_folder(), seed=seed, out=out)


@click.command("editing")
@click.option("-n", "--images", type=click.IntRange(1), default=12, show_default=True, help="Pictures to edit.")
@with_options(bench_options)
def bench_editing(images, out, seed, model, dtype, device) -> None:
    """What an edit keeps outside its mask, by decoder inversion, and whether the mark survives."""
    from ..benchmarks.inversion_editing import run

    run(registry.load_model(model, dtype=dtype, device=device), images=images, seed=seed, out=out)


@click.command("restoration")
@click.option("-n", "--images", type=click.IntRange(1), default=16, show_default=True, help="Marked pictures.")
@with_options(bench_options)
def bench_restoration(images, out, seed, model, dtype, device) -> None:
    """What restoring a picture of 10, 25 and 50% of its pixels buys its p-value."""
    from ..benchmarks.inversion_restoration import run

    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, registry.load_restorer(loaded), images=images, seed=seed, out=out)


@click.command("gradients")
@click.option("-n", "--images", type=click.IntRange(1), default=4, show_default=True, help="Noises to optimise.")
@click.option("--iterations", type=click.IntRange(1), default=30, show_default=True, help="Of plain back-propagation.")
@click.option("--steps", type=click.IntRange(2), default=20, show_default=True, help="Sampling steps.")
@with_options(bench_options)
def bench_gradients(images, iterations, steps, out, seed, model, dtype, device) -> None:
    """Gradients through sampling: whole graphs, one step's, and the reversible wiring; time and memory."""
    from ..benchmarks.inversion_gradients import run

    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, images=images, iterations=iterations, steps=steps, seed=seed, out=out)


@click.command("guidance")
@click.option("-n", "--images", type=click.IntRange(1), default=8, show_default=True, help="Pictures.")
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="Sampling steps.")
@click.option("--guidance", type=Number(1, min_open=True), default=7.5, show_default=True, help="Guidance scale.")
@with_options(bench_options)
def bench_guidance(images, steps, guidance, out, seed, model, dtype, device) -> None:
    """Pictures reconstructed at a guidance scale from their inversion: null text, prompt tuning, negative prompt."""
    from ..benchmarks.inversion_guidance import run

    loaded = registry.load_model(model, dtype=dtype, device=device)
    run(loaded, images=images, steps=steps, guidance=guidance, seed=seed, out=out)


INVERSIONS = [
    bench_diffusion_inversion,
    bench_guidance,
    bench_photographs,
    bench_editing,
    bench_restoration,
    bench_gradients,
    bench_decoder_inversion,
    bench_ablation,
    bench_cocoercivity,
    bench_latent,
    bench_clips,
    bench_autoencoders,
    bench_adapter,
]
"""The commands, for the group."""
