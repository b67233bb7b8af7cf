"""`wmark tune`: what makes verification better and faster on a model, fitted once and put where `verify` finds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..files import sha256
from .material import find_pictures, read_prompts
from .options import PLOTS, Number, OutputFile, Seed, choice, device_option
from .terminal import say

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion
    from ..models.reader import Reader
    from ..progress import Progress
    from ..training.left_inverse import Tuning
    from ..training.samples import Samples

__all__ = ["tune"]

PARTS = ("reader", "left-inverse")
SYNTHETIC_PICTURES = 180


@click.command()
@click.argument("model", default="tiny")
@click.option("--only", type=choice(PARTS), help="Fit this part alone.")
@click.option(
    "--minutes", type=Number(0, min_open=True), default=15, show_default=True, help="Time to fit each part for."
)
@click.option(
    "--latents", type=click.IntRange(17), default=400, show_default=True, help="Pictures to sample and learn from."
)
@click.option("--steps", type=click.IntRange(1, 1000), default=20, show_default=True, help="Sampling steps of each.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="What to sample: a text file, a prompt a line; simple wallpapers if not given.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Unmarked pictures of the kind that you will be asked about: what they have in common is learnt as well.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), help="Pictures in a step.  [reader: 8, left inverse: CPU 1, GPU 8]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to; where `verify` looks for what was tuned if not given.",
)
@click.option("--plot", type=OutputFile(PLOTS), help="Draw what was reached against the minutes.")
@click.option("--seed", type=Seed(bits=32), default=0, show_default=True)
@click.option("--dtype", type=choice(["fp32", "bf16"]), default="fp32", show_default=True)
@device_option
def tune(
    model, only, minutes, latents, steps, prompts, pictures, batch_size, output, plot, seed, dtype, device
) -> None:
    """Fit to MODEL what its verification profits from, once; every `verify` uses it from then on.

    The reader is a small network that says of a picture, whatever happened to it, what noise it came from, in one call
    of the encoder; with it goes the plan of what else is worth trying on this model. The left inverse is a copy of the
    encoder that undoes the decoder on pictures of the model. Both learn from pictures that the model samples. An
    interrupted run goes on where it stopped.
    """
    given = read_prompts(prompts) if prompts else None
    further = find_pictures(pictures) if pictures else []

    from ..models import left_inverse
    from ..models import reader as learned
    from ..models.prompts import draw_prompts
    from ..models.registry import load_model
    from ..progress import progress
    from ..training.samples import HELD_OUT, hold_out, sample_latents

    loaded = load_model(model, dtype=dtype, device=device, tuned=False)
    wanted = [given[i % len(given)] for i in range(latents)] if given else draw_prompts(latents, seed)
    folder = working_folder(loaded.fingerprint, wanted, steps, seed)
    target = output or default_folder(model, loaded.fingerprint)
    with progress(latents, "picture") as bar:
        sampled = sample_latents(loaded, wanted, folder, steps=steps, seed=seed, callback=advance(bar, latents))
    samples, held_out = hold_out(sampled)
    say(f"learning from {latents - HELD_OUT} pictures of {loaded.name}, {HELD_OUT} held out; checkpoints in {folder}")
    material = Material(loaded, samples, held_out, minutes, folder, batch_size, seed)
    reader = tuning = None
    if only != "left-inverse":
        reader = fit_reader(material, further)
        reader.save(target / learned.FILE_NAME, loaded.fingerprint)
        say(f"saved {target / learned.FILE_NAME}")
    if only != "reader":
        tuning = fit_left_inverse(material)
        first, last = tuning.curve[0]["none"], tuning.curve[-1]["none"]
        if last >= first:
            say(f"not saved: {last:.2f} dB is no better than the encoder's {first:.2f} dB; try more minutes")
        else:
            about = {"minutes": minutes, "latents": latents, "sampling_steps": steps, "seed": seed}
            tuning.inverse.save(target / left_inverse.FILE_NAME, loaded.fingerprint, {**about, "curve": tuning.curve})
            say(f"saved {target / left_inverse.FILE_NAME}: {last:.2f} dB where the encoder has {first:.2f} dB")
    if plot:
        draw_curves(plot, reader, tuning)


@dataclass(frozen=True, eq=False)
class Material:
    """What a part is fitted with.

    Attributes:
        model: The model.
        samples, held_out: What is learnt from, and what is evaluated on.
        minutes: Time to fit for.
        folder: Where checkpoints are kept.
        batch_size: Pictures in a step; None takes the part's own.
        seed: Seed of what is drawn.
    """

    model: LatentDiffusion
    samples: Samples
    held_out: Samples
    minutes: float
    folder: Path
    batch_size: int | None
    seed: int


def fit_reader(material: Material, further: Sequence[Path]) -> Reader:
    """Train a reader, find the looks that pay, and what unmarked readings, of further pictures too, have in common."""
    from ..detectors.plan import write_plan
    from ..inversion.recovery import TURNED
    from ..progress import progress
    from ..training.common import common_directions
    from ..training.looks import find_looks
    from ..training.reader import TESTS, ReaderSettings, train_reader
    from ..training.readings import drawn_readings
    from ..training.turning import TURNING_PICTURES, find_turning

    model, seed, batch = material.model, material.seed, material.batch_size
    settings = ReaderSettings(seed=seed, **({"batch": batch} if batch else {}))
    count = len(material.samples.noise)
    with progress(count, "picture") as bar:
        readings = drawn_readings(
            model,
            material.samples,
            material.folder,
            versions=settings.versions,
            seed=seed,
            callback=advance(bar, count),
        )
    say(f"reader: minutes, steps, and log10 p of a random direction after {', '.join(TESTS)}")
    with progress(1000, "step") as bar:
        callback = shown_curve(bar, TESTS)
        reader = train_reader(
            model,
            readings,
            material.held_out,
            minutes=material.minutes,
            folder=material.folder,
            settings=settings,
            callback=callback,
        )
        callback(1, reader.about["curve"])
    reader = replace(reader, turning=find_turning(model, material.samples.latents[:TURNING_PICTURES]))
    looks, worth = find_looks(model, reader, material.held_out, seed)
    say("mean log10 p of the weaker half: " + ", ".join(f"{name} {value:.1f}" for name, value in worth.items()))
    ways = list(dict.fromkeys(look.recovery for look in looks))
    say("looks that pay: " + ", ".join(way.name for way in ways))
    count = SYNTHETIC_PICTURES + len(further)
    with progress(count, "picture") as bar:
        common = common_directions(
            replace(model, reader=reader),
            [*ways, TURNED],
            pictures=SYNTHETIC_PICTURES,
            further=further,
            callback=advance(bar, count),
        )
    return replace(reader, common=common, plan=write_plan(looks), about={**reader.about, "worth": worth})


def fit_left_inverse(material: Material) -> Tuning:
    """Tune a left inverse; shows the curve."""
    from ..progress import progress
    from ..training import left_inverse as stage
    from ..training.augmentation import DAMAGES

    model = material.model
    batch = material.batch_size or (1 if model.device.type == "cpu" else 8)
    settings = stage.Settings(batch=batch, seed=material.seed)
    say(f"left inverse: minutes, steps, and NMSE in dB after {', '.join(DAMAGES)}")
    with progress(1000, "step") as bar:
        callback = shown_curve(bar, DAMAGES)
        tuning = stage.tune(
            model,
            material.samples.latents,
            material.held_out.latents,
            minutes=material.minutes,
            folder=material.folder,
            settings=settings,
            callback=callback,
        )
        callback(1, tuning.curve)
    return tuning


def draw_curves(path: Path, reader: Reader | None, tuning: Tuning | None) -> None:
    """Draw the curves of what was fitted into a file.

    Raises:
        WmarkError: If matplotlib is missing or the file cannot be written in its format.
    """
    from ..figures import figure, save
    from ..training import left_inverse
    from ..training import reader as learned

    count = (reader is not None) + (tuning is not None)
    drawing, axes = figure(1, count, width=5.5 * count, height=4)
    if reader:
        learned.draw_curve(axes[0, 0], reader)
    if tuning:
        left_inverse.draw_curve(axes[0, -1], tuning)
    save(drawing, path)


def default_folder(name: str, fingerprint: str) -> Path:
    """Where `verify` looks for what was tuned for a model: beside a model in the user's own folder, else in the user's
    data folder, as the embedded model and those of the hub are not to be written to."""
    from ..models.registry import EMBEDDED
    from ..models.tuned import user_folder

    folder = Path(name)
    ours = name not in EMBEDDED and folder.is_dir() and os.access(folder, os.W_OK)
    return folder if ours else user_folder(fingerprint)


def working_folder(fingerprint: str, prompts: list[str], steps: int, seed: int) -> Path:
    """Where samples and checkpoints of a tuning are kept until it is finished."""
    from platformdirs import user_cache_path

    digest = sha256("\n".join(prompts).encode())[:8]
    return user_cache_path("wmark") / "tune" / f"{fingerprint}-{digest}-{steps}-{seed}"


def advance(bar: Progress, total: int) -> Callable[[int], None]:
    """A callback that moves a bar to the number it is given."""
    at = 0

    def move(done: int) -> None:
        nonlocal at
        done = min(done, total)
        bar.update(done - at)
        at = done

    return move


def shown_curve(bar: Progress, columns: Iterable[str]) -> Callable[[float, list[dict]], None]:
    """A callback that moves a bar of 1000 by the share that is done, and prints the points of a curve as they come."""
    printed, move = 0, advance(bar, 1000)

    def show(share: float, curve: list[dict]) -> None:
        nonlocal printed
        for point in curve[printed:]:
            values = "  ".join(f"{point[name]:7.2f}" for name in columns)
            bar.write(f"{point['minutes']:7.1f}  {point['steps']:5d}  {values}")
        printed = len(curve)
        move(int(1000 * share))

    return show
