"""`wmark tune`: sample latents, tune the left inverse on them, and put it where `verify` finds it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import ModelError, WmarkError
from ..files import sha256
from ..models.prompts import draw_prompts
from ..models.registry import EMBEDDED, load_model
from ..progress import Progress, progress
from .tuning import DAMAGES, HELD_OUT, Settings, Tuning, sample_latents, tune

__all__ = ["run"]


def run(
    name: str,
    *,
    minutes: float,
    latents: int,
    prompts: Path | None,
    batch: int | None,
    output: Path | None,
    plot: Path | None,
    seed: int,
    dtype: str = "fp32",
    device: str | None = None,
) -> Path | None:
    """Tune and save; returns the file, or None if the encoder could not be beaten.

    Arguments:
        name: Name, folder or hub id of the model.
        minutes: Time to tune, that of an interrupted run counted in.
        latents: Latents to sample, 16 of them held out.
        prompts: Text file of prompts, used in turn; None draws simple ones.
        batch: Images in a step; None picks 1 on the CPU and 8 elsewhere.
        output: File to write; None picks the model's own folder, or the user's data folder where that is not ours.
        plot: Figure of the error against the minutes.
        seed: Seed of everything.
        dtype, device: As in :func:`load_model`.

    Raises:
        WmarkError: If a file or the model cannot be used.
    """
    from platformdirs import user_cache_path

    model = load_model(name, dtype=dtype, device=device, tuned=False)
    settings = Settings(latents=latents, batch=batch or (1 if model.device.type == "cpu" else 8), seed=seed)
    target = output or _default_output(name, model.fingerprint)
    wanted = _read_prompts(prompts, latents) if prompts else draw_prompts(latents, seed)
    drawn = sha256("\n".join(wanted).encode())[:8]
    work = user_cache_path("wmark") / "tune" / f"{model.fingerprint}-{drawn}-{seed}"

    with progress(latents, "latent") as bar:
        sampled = sample_latents(
            model, wanted, work, steps=settings.sampling_steps, seed=seed, callback=_advance(bar, latents)
        )
    click.echo(f"tuning on {latents - HELD_OUT} latents of {model.name} for {minutes:g} minutes; checkpoints in {work}")
    click.echo(f"minutes  steps  NMSE in dB on {HELD_OUT} held-out latents, after: {', '.join(DAMAGES)}")
    printed = 0

    def show(curve: list[dict]) -> None:
        nonlocal printed
        for point in curve[printed:]:
            errors = "  ".join(f"{point[damage]:7.2f}" for damage in DAMAGES)
            bar.write(f"{point['minutes']:7.1f}  {point['steps']:5d}  {errors}")
        printed = len(curve)

    with progress(1000, "step") as bar:
        advance = _advance(bar, 1000)

        def on_step(share: float, curve: list[dict]) -> None:
            show(curve)
            advance(int(1000 * min(share, 1)))

        tuning = tune(model, sampled, minutes=minutes, folder=work, settings=settings, callback=on_step)
        show(tuning.curve)
    if plot:
        draw(tuning, plot, model.name)
    first, last = tuning.curve[0]["none"], tuning.curve[-1]["none"]
    if last >= first:
        click.echo(f"not saved: {last:.2f} dB is no better than the encoder's {first:.2f} dB; try more minutes")
        return None
    tuning.inverse.save(target, model.fingerprint, {"minutes": minutes, **vars(settings), "curve": tuning.curve})
    click.echo(f"saved {target}: {last:.2f} dB where the encoder has {first:.2f} dB")
    return target


def draw(tuning: Tuning, path: Path, name: str) -> None:
    """Error on held-out latents against the minutes of tuning."""
    from ..figures import figure, save

    drawing, axes = figure(1, 1, width=6, height=4)
    axis = axes[0, 0]
    minutes = [point["minutes"] for point in tuning.curve]
    for damage in DAMAGES:
        axis.plot(minutes, [point[damage] for point in tuning.curve], marker="o", markersize=3, label=damage)
    axis.set_xlabel("minutes of tuning")
    axis.set_ylabel("NMSE of one call, dB")
    axis.set_title(f"Left inverse of {name}, {HELD_OUT} held-out latents", fontsize=10)
    axis.legend(title="damage", fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    axis.grid(alpha=0.3)
    save(drawing, path)


def _default_output(name: str, fingerprint: str) -> Path:
    """Beside a model in the user's own folder; the embedded one and those of the hub are not to be written to."""
    from ..models.left_inverse import FILE_NAME, user_path

    folder = Path(name)
    ours = name not in EMBEDDED and folder.is_dir() and os.access(folder, os.W_OK)
    return folder / FILE_NAME if ours else user_path(fingerprint)


def _read_prompts(path: Path, count: int) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise WmarkError(f"{path} cannot be read as text") from error
    if not lines:
        raise ModelError(f"{path} holds no prompts: write one a line")
    return [lines[i % len(lines)] for i in range(count)]


def _advance(bar: Progress, total: int):
    """A callback that moves a bar to the number it is given."""
    state = {"at": 0}

    def advance(done: int) -> None:
        bar.update(min(done, total) - state["at"])
        state["at"] = min(done, total)

    return advance
