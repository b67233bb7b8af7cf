"""`wmark tune`: sample latents, tune the left inverse on them, and put it where `verify` finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import WmarkError
from ..files import read_file, reason, shown
from .options import PLOTS, Number, OutputFile, Seed, choice, device_option
from .terminal import say

if TYPE_CHECKING:
    from ..progress import Progress

__all__ = ["tune"]

LONGEST_PROMPTS = 64 << 20


@click.command()
@click.argument("model", default="tiny")
@click.option("--minutes", type=Number(0, min_open=True), default=30, show_default=True, help="Time to tune.")
@click.option(
    "--latents", type=click.IntRange(17), default=400, show_default=True, help="Latents to sample and tune on."
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="What to sample: a text file, a prompt a line; simple wallpapers if not given.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Images in a step.  [CPU: 1, GPU: 8]")
@click.option("-o", "--output", type=OutputFile(), help="File to write; where `verify` looks for it if not given.")
@click.option("--plot", type=OutputFile(PLOTS), help="Draw the error against the minutes of tuning.")
@click.option("--seed", type=Seed(bits=32), default=0, show_default=True)
@click.option("--dtype", type=choice(["fp32", "bf16"]), default="fp32", show_default=True)
@device_option
def tune(model, minutes, latents, prompts, batch_size, output, plot, seed, dtype, device) -> None:
    """Tune a left inverse of MODEL's decoder, once; every `verify` uses it from then on.

    A copy of the encoder learns to undo the decoder on images that the model makes. An interrupted run goes on where it
    stopped.
    """
    given = read_prompts(prompts) if prompts else None

    from ..models.prompts import draw_prompts
    from ..models.registry import load_model
    from ..progress import progress
    from ..training import left_inverse as stage
    from ..training.augmentation import DAMAGES
    from ..training.samples import sample_latents

    loaded = load_model(model, dtype=dtype, device=device, tuned=False)
    batch = batch_size or (1 if loaded.device.type == "cpu" else 8)
    settings = stage.Settings(latents=latents, batch=batch, seed=seed)
    wanted = [given[i % len(given)] for i in range(latents)] if given else draw_prompts(latents, seed)
    folder = stage.working_folder(loaded.fingerprint, wanted, seed)

    with progress(latents, "latent") as bar:
        sampled = sample_latents(
            loaded, wanted, folder, steps=settings.sampling_steps, seed=seed, callback=advance(bar, latents)
        )
    fitted = latents - stage.HELD_OUT
    say(f"tuning on {fitted} latents of {loaded.name} for {minutes:g} minutes; checkpoints in {folder}")
    say(f"minutes  steps  NMSE in dB on {stage.HELD_OUT} held-out latents, after: {', '.join(DAMAGES)}")
    with progress(1000, "step") as bar:
        move, show = advance(bar, 1000), show_points(bar, DAMAGES)

        def on_step(share: float, curve: list[dict]) -> None:
            show(curve)
            move(int(1000 * share))

        result = stage.tune(loaded, sampled, minutes=minutes, folder=folder, settings=settings, callback=on_step)
        show(result.curve)
    if plot:
        stage.draw_curve(result, plot, loaded.name)
    first, last = result.curve[0]["none"], result.curve[-1]["none"]
    if last >= first:
        say(f"not saved: {last:.2f} dB is no better than the encoder's {first:.2f} dB; try more minutes")
        return
    target = output or stage.default_output(model, loaded.fingerprint)
    result.inverse.save(target, loaded.fingerprint, {"minutes": minutes, **vars(settings), "curve": result.curve})
    say(f"saved {target}: {last:.2f} dB where the encoder has {first:.2f} dB")


def read_prompts(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        WmarkError: If it cannot be read, is no text, or has none.
    """
    try:
        lines = read_file(path, LONGEST_PROMPTS).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise WmarkError(f"'{shown(path)}' is no text in UTF-8: save it as such, a prompt a line") from None
    except (OSError, ValueError) as error:
        raise WmarkError(f"the prompts in '{shown(path)}' cannot be read: {reason(error)}") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise WmarkError(f"'{shown(path)}' holds no prompts: write one a line")
    return prompts


def advance(bar: Progress, total: int) -> Callable[[int], None]:
    """A callback that moves a bar to the number it is given."""
    at = 0

    def move(done: int) -> None:
        nonlocal at
        done = min(done, total)
        bar.update(done - at)
        at = done

    return move


def show_points(bar: Progress, damages: Iterable[str]) -> Callable[[list[dict]], None]:
    """A callback that prints the points of a curve as they come."""
    printed = 0

    def show(curve: list[dict]) -> None:
        nonlocal printed
        for point in curve[printed:]:
            errors = "  ".join(f"{point[damage]:7.2f}" for damage in damages)
            bar.write(f"{point['minutes']:7.1f}  {point['steps']:5d}  {errors}")
        printed = len(curve)

    return show
