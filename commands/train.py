"""`wmark train`: the recipe of the embedded model, a stage at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import Number, Seed, device_option, with_options
from .terminal import say

if TYPE_CHECKING:
    import torch

folder = click.Path(path_type=Path, file_okay=False)

data_option = click.option(
    "--data", type=folder, default="training-run/data", show_default=True, help="The prepared dataset."
)
run_options = [
    click.option("--config", default="tiny", show_default=True, help="A shipped configuration, or a TOML file."),
    click.option("--set", "overrides", multiple=True, metavar="TABLE.NAME=VALUE", help="Change a setting."),
    click.option("--run", type=folder, default="training-run/run", show_default=True, help="Checkpoints and logs."),
    data_option,
    device_option,
]
"""Of every stage, whether it needs them or not: one line of options serves them all."""
stage_options = [
    *run_options,
    click.option("--minutes", type=Number(0), help="Stop after so long; the same command goes on from there."),
    click.option("--start", type=folder, help="Exported model to start from, in place of random weights."),
]


@click.group()
def train() -> None:
    """Train a small latent diffusion model on the free pictures that Debian packages ship."""


@train.command()
@click.option("--data", type=folder, default="training-run/data", show_default=True, help="Gets the prepared dataset.")
@click.option("--cache", type=folder, default="training-run/cache", show_default=True, help="Gets the packages.")
@click.option("--unpacked", type=folder, help="Take these unpacked packages, in folders NAME_VERSION; fetch nothing.")
@click.option("--cap", type=Number(0, min_open=True), default=60, show_default=True, help="Megabytes at most.")
def data(data, cache, unpacked, cap) -> None:
    """Fetch packages, sift their pictures and write the prepared dataset."""
    from ..training.configuration import FOLDER, read_toml
    from ..training.dataset import prepare
    from ..training.sources import fetch, find_pictures

    sources = read_toml(FOLDER / "sources.toml")
    manifest = prepare(find_pictures(sources, unpacked or fetch(sources, cache)), data, int(cap * 1e6))
    held_out = sum(entry["held_out"] for entry in manifest["pictures"])
    say(f"{len(manifest['pictures'])} pictures, {held_out} of them held out, WebP quality {manifest['quality']}")


@train.command()
@with_options(stage_options)
@click.option("--refine", is_flag=True, help="Go on with latents sampled from the diffusion model.")
def autoencoder(config, overrides, data, run, device, minutes, start, refine) -> None:
    """Train the autoencoder, or go on where it stopped."""
    from ..training import autoencoder as stage
    from ..training.configuration import load_configuration

    configuration, device = load_configuration(config, overrides), choose_device(device)
    if refine:
        from ..training.samples import refinement_latents

        samples = refinement_latents(configuration, run, device)
        report("refine", stage.refine(configuration, samples, data, run, device, minutes))
    else:
        report("autoencoder", stage.train_autoencoder(configuration, data, run, device, minutes, start))


@train.command()
@with_options(stage_options)
@click.option("--small", is_flag=True, help="Train on small pictures first.")
def diffusion(config, overrides, data, run, device, minutes, start, small) -> None:
    """Train the diffusion model on the encoded pictures, or go on where it stopped."""
    from ..training.configuration import load_configuration
    from ..training.diffusion import train_diffusion
    from ..training.relative import train_relative

    configuration, device = load_configuration(config, overrides), choose_device(device)
    if "relative" in configuration:
        finished = train_relative(configuration, data, run, device, minutes, small)
    else:
        finished = train_diffusion(configuration, data, run, device, minutes, start, small)
    report("small" if small else "diffusion", finished)


@train.command()
@with_options(run_options)
@click.argument("folder", type=folder)
def export(folder, config, overrides, data, run, device) -> None:
    """Write the model to FOLDER in diffusers' format."""
    from ..training.configuration import load_configuration
    from ..training.export import export as whole
    from ..training.relatives import export_relative

    configuration = load_configuration(config, overrides)
    size = (export_relative if "relative" in configuration else whole)(configuration, run, folder)
    say(f"{folder}: {size / 1e6:.1f} MB of weights")


@train.command()
@click.argument("model")
@click.option("--minutes", type=Number(0, min_open=True), default=20, show_default=True, help="Time to fit for.")
@click.option("--latents", type=click.IntRange(17), default=200, show_default=True, help="Pictures to learn from.")
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="Sampling steps, on average.")
@click.option("--run", type=folder, default="training-run/restorer", show_default=True, help="Samples and checkpoint.")
@click.option("--seed", type=Seed(bits=16), default=0, show_default=True)
@device_option
def restorer(model, minutes, latents, steps, run, seed, device) -> None:
    """Train what `wmark restore` needs, on MODEL's own pictures; it lies beside the model, or in the user's folder."""
    from ..models.prompts import draw_prompts
    from ..models.registry import load_model
    from ..models.restorer import FILE_NAME
    from ..progress import progress
    from ..training.restorer import fit_restorer
    from ..training.samples import hold_out, sample_latents
    from .tune import default_folder

    loaded = load_model(model, device=device, tuned=False)
    with progress(latents, "sample") as bar:
        prompts = draw_prompts(latents, 600_000 + seed)
        ready = 0

        def sampled(count: int) -> None:
            nonlocal ready
            bar.update(count - ready)
            ready = count

        samples = sample_latents(loaded, prompts, run / "samples", steps=steps, seed=seed, callback=sampled)
    training, held_out = hold_out(samples)
    with progress(None, "step") as bar:
        fitted, curve = fit_restorer(
            loaded, training.latents, held_out.latents, minutes=minutes, folder=run, seed=seed,
            callback=lambda share, curve: bar.update(1),
        )  # fmt: skip
    path = default_folder(model, loaded.fingerprint) / FILE_NAME
    fitted.save(path, loaded.fingerprint)
    last = curve[-1]
    say(
        f"{path}: latents of held-out pictures {last['filled_db']:.1f} dB filled, {last['restored_db']:.1f} dB restored"
    )


@train.command()
@data_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def notice(file, data) -> None:
    """Write who made the pictures, and under which terms, to FILE."""
    from ..files import write_atomically
    from ..training.attribution import notice as text_of
    from ..training.dataset import read_manifest

    write_atomically(file, text_of(read_manifest(data)).encode())
    say(f"{file}")


@train.command()
@with_options(run_options)
@click.option("--count", type=click.IntRange(2), default=64, show_default=True, help="Images at each guidance scale.")
@click.argument("folder", type=folder)
def card(folder, count, config, overrides, data, run, device) -> None:
    """Measure the model in FOLDER and write its README.md, measures.json and samples.jpg."""
    from ..training.card import write_card
    from ..training.configuration import load_configuration

    write_card(
        load_configuration(config, overrides), folder, data, run, choose_device(device), count, Path(config).stem
    )
    say(f"{folder / 'README.md'}")


def choose_device(name: str | None) -> torch.device:
    """The device of a name, set to train fast."""
    import torch

    from ..models.registry import find_device

    device = find_device(name)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return device


def report(stage: str, finished: bool) -> None:
    """Say whether a stage is finished."""
    say(f"{stage} is finished" if finished else f"{stage} stopped in time: run the same command to go on")
