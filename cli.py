"""The `wmark` command: parse, call the library, print."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import click

from .commands.bench import bench
from .commands.terminal import EXIT_UNUSABLE, Group, Size, describe, line, model_options, with_options
from .commands.train import train
from .errors import ImageError, KeyringError
from .files import shown
from .progress import Progress, progress
from .version import __version__

EXIT_FOUND, EXIT_NOT_FOUND = 0, 1


keyring_option = click.option(
    "--keyring", type=click.Path(path_type=Path), envvar="WMARK_KEYRING", help="Keyring file.  [env: WMARK_KEYRING]"
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wmark")
def main() -> None:
    """Watermark the images of a latent diffusion model in their initial noise, and prove it later."""


# keys -----------------------------------------------------------------------------------------------------------------


@main.group(cls=Group)
def keys() -> None:
    """Create, list, show and revoke keys."""


@keys.command("create")
@keyring_option
@click.option("--id", "key_id", help="Name of the key; random if not given.")
@click.option(
    "--pattern", type=click.Choice(["disc", "ring", "rand", "const", "zeros"]), default="disc", show_default=True
)
@click.option("--radius", type=int, help="Largest frequency, in cycles per latent side.  [disc: 16, others: 10]")
@click.option("--channels", help="Latent channels, such as 0,1,2,3.  [disc: 0,1,2,3, others: 3]")
@click.option("--strength", type=float, help="Cosine between noise and key, in (0, 1].  [disc: 0.5, others: 1]")
@click.option("--note", default="", help="A remark to keep with the key.")
def keys_create(keyring, key_id, pattern, radius, channels, strength, note) -> None:
    """Create a key, and the keyring if there is none."""
    from .watermark.keyring import Keyring, default_path
    from .watermark.patterns import Pattern

    path = keyring or default_path()
    chosen = Pattern.of(pattern, radius=radius, channels=_channels(channels), strength=strength)
    with Keyring.edit(path, create=chosen) as ring:
        key = ring.add(key_id, pattern=chosen, note=note)
    click.echo(f"created key {key.id} ({describe(key.pattern)}) in {path}")


@keys.command("list")
@keyring_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def keys_list(keyring, as_json) -> None:
    """List the keys of the keyring."""
    ring, path = open_keyring(keyring)
    if as_json:
        rows = [public(entry) for entry in ring.entries]
        click.echo(json.dumps({"keyring": ring.fingerprint, "keys": rows}, indent=2))
        return
    click.echo(f"{path} (fingerprint {ring.fingerprint})")
    for entry in ring.entries:
        note = f"  {entry.note}" if entry.note else ""
        click.echo(f"{entry.id:<20} {entry.status:<8} {entry.created}  {describe(entry.pattern)}{note}")


@keys.command("show")
@click.argument("key_id")
@keyring_option
def keys_show(key_id, keyring) -> None:
    """Show one key as JSON: everything but its secret."""
    ring, _ = open_keyring(keyring)
    entry = ring.entry(key_id)
    click.echo(json.dumps({**public(entry), "keyring": ring.fingerprint}, indent=2))


@keys.command("revoke")
@click.argument("key_id")
@keyring_option
def keys_revoke(key_id, keyring) -> None:
    """Retire a key: it embeds no more, and is verified only when named."""
    from .watermark.keyring import Keyring, default_path

    with Keyring.edit(keyring or default_path()) as ring:
        ring.revoke(key_id)
    click.echo(f"revoked key {key_id}")


# embed ----------------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--prompt", "prompts", multiple=True, required=True, help="What to generate; may be given several times.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="PNG, JPEG or WebP file.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Images for each prompt.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    help="Seed of the first image, counting up from there; fresh ones if not given.",
)
@click.option("--key", "key_id", help="Key to plant; the first active one if not given.")
@keyring_option
@with_options(model_options)
@click.option("--size", type=Size(), help="Image size; the model's own if not given.")
@click.option("--steps", type=click.IntRange(1, 1000), default=50, show_default=True, help="Sampling steps.")
@click.option("--guidance", type=click.FloatRange(0), default=7.5, show_default=True, help="Guidance scale.")
@click.option("--scheduler", type=click.Choice(["ddim", "dpmsolver++"]), default="ddim", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--skip-existing", is_flag=True, help="Go on where an interrupted run stopped.")
def embed(
    prompts,
    output,
    count,
    seed,
    key_id,
    keyring,
    model,
    dtype,
    device,
    size,
    steps,
    guidance,
    scheduler,
    batch_size,
    force,
    skip_existing,
) -> None:
    """Generate images that carry a key, each with a JSON record beside it."""
    from .images import check_suffix
    from .models.sampling import Sampling

    check_suffix(output.suffix)
    sampling = Sampling(steps, guidance, scheduler)
    ring, _ = open_keyring(keyring)
    key = ring.key(key_id) if key_id else first_active(ring)
    wanted = [prompt for prompt in prompts for _ in range(count)]

    from .watermark.noise import seeds_of
    from .watermark.record import check_writable, finished, read_record

    jobs = list(zip(numbered(output, len(wanted)), wanted, seeds_of(seed, len(wanted)), strict=True))
    if skip_existing:
        jobs = [job for job in jobs if not finished(job[0])]
        for path, *_ in jobs:
            if read_record(path):
                click.echo(f"{shown(path)} is unfinished: image and record are made anew", err=True)
    check_writable([path for path, *_ in jobs], overwrite=force, resume=skip_existing)
    if not jobs:
        click.echo("nothing to do: every image exists")
        return

    from .models.registry import load_model
    from .watermark.embed import embed as generate

    loaded = load_model(model, dtype=dtype, device=device)
    with progress(len(jobs) * steps, "step") as bar:
        marked = generate(
            loaded,
            key,
            [prompt for _, prompt, _ in jobs],
            seed=[s for *_, s in jobs],
            sampling=sampling,
            size=size,
            batch_size=batch_size,
            callback=lambda done, step: bar.update(min(batch_size, len(jobs) - done)),
        )
        for (path, *_), image in zip(jobs, marked, strict=True):
            try:
                image.save(path, overwrite=force, resume=skip_existing)
            except ImageError:
                if not (skip_existing and finished(path)):
                    raise
                bar.write(f"{shown(path)}  made by another run meanwhile")
            else:
                bar.write(f"{shown(path)}  key {key.id}  seed {image.record['seed']}")


# verify ---------------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", "key_id", help="Test this key alone; all active keys if not given.")
@keyring_option
@with_options(model_options)
@click.option(
    "--fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=1e-6,
    show_default=True,
    help="Largest p-value that counts as found.",
)
@click.option(
    "--effort",
    type=click.Choice(["fast", "auto", "exact"]),
    default="auto",
    show_default=True,
    help="One call for the latent, iterated decoder inversion, or the second only where the first is not decisive.",
)
@click.option(
    "--align",
    type=click.Choice(["off", "auto", "full"]),
    default="auto",
    show_default=True,
    help="Search rotation, scale, mirror and shift: never, where needed, or at once.",
)
@click.option(
    "--decoder-inversion",
    type=click.Choice(["encoder", "forward", "km", "adam", "gradient", "anderson"]),
    help="In place of the effort's own.",
)
@click.option("--iterations", type=click.IntRange(1), help="Iterations of the decoder inversion.")
@click.option(
    "--left-inverse/--no-left-inverse",
    default=True,
    help="Use what `wmark tune` made.  [default: if there is one]",
)
@click.option("--diffusion-inversion", type=click.Choice(["ddim", "dpmsolver++"]), help="In place of the effort's own.")
@click.option("--inversion-steps", type=click.IntRange(1, 1000), help="Steps of the diffusion inversion.")
@click.option("--size", type=Size(), help="Size the images were generated at; the model's own if not given.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw the recovered spectrum beside the key's (one image)."
)
def verify(
    images,
    key_id,
    keyring,
    model,
    dtype,
    device,
    fpr,
    effort,
    align,
    decoder_inversion,
    iterations,
    left_inverse,
    diffusion_inversion,
    inversion_steps,
    size,
    batch_size,
    as_json,
    plot,
) -> None:
    """Say of each image whether it carries a key, which, and with what p-value.

    Exit code: 0 if every image carries a key, 1 if one does not, 2 if one cannot be used.
    """
    if plot and len(images) > 1:
        raise click.UsageError("--plot draws one image: name one")
    ring, _ = open_keyring(keyring)
    tested = [ring.key(key_id, allow_revoked=True)] if key_id else ring.active()
    if not tested:
        first_active(ring)

    @cache
    def detector():
        from .detectors.chain import Detector
        from .inversion.recovery import stages
        from .models.registry import load_model

        loaded = load_model(model, dtype=dtype, device=device)
        chosen = stages(effort, decoder_inversion, iterations, diffusion_inversion, inversion_steps, left_inverse)
        return Detector(loaded, tested, chosen, align=align, fpr=fpr, size=size, keep_noise=bool(plot))

    from .detectors.files import verify_files

    codes, keys_by_id = set(), {key.id: key for key in tested}
    with progress(len(images), "image") as bar:
        for path, outcome in verify_files(images, detector, batch_size=batch_size):
            if isinstance(outcome, ImageError):
                codes.add(EXIT_UNUSABLE)
                bar.write(json.dumps({"image": str(path), "error": str(outcome)}), as_json)
                bar.complain(f"error: {outcome}")
            else:
                codes.add(EXIT_FOUND if outcome.found else EXIT_NOT_FOUND)
                bar.write(json.dumps({"image": str(path), **outcome.to_json()}) if as_json else line(path, outcome))
                if not outcome.found:
                    point_out_other_model(path, detector().model, bar)
                if plot:
                    from .detectors.plot import plot_verdict

                    plot_verdict(path, outcome, keys_by_id[outcome.key_id], detector(), plot)
            bar.update(1)
    sys.exit(max(codes))


# tune -----------------------------------------------------------------------------------------------------------------


@main.command("tune")
@click.argument("model", default="tiny")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=30, show_default=True, help="Time to tune.")
@click.option(
    "--latents", type=click.IntRange(17), default=400, show_default=True, help="Latents to sample and tune on."
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What to sample: a text file, a prompt a line; simple wallpapers if not given.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Images in a step.  [CPU: 1, GPU: 8]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write; where `verify` looks for it if not given."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the error against the minutes of tuning.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--dtype", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", help="Torch device; a GPU if there is one.")
def tune(model, minutes, latents, prompts, batch_size, output, plot, seed, dtype, device) -> None:
    """Tune a left inverse of MODEL's decoder, once; every `verify` uses it from then on.

    A copy of the encoder learns to undo the decoder on images that the model makes. An interrupted run goes on where it
    stopped.
    """
    from .training.tune import run

    run(
        model,
        minutes=minutes,
        latents=latents,
        prompts=prompts,
        batch=batch_size,
        output=output,
        plot=plot,
        seed=seed,
        dtype=dtype,
        device=device,
    )


main.add_command(bench)
main.add_command(train)


def open_keyring(path: Path | None):
    from .watermark.keyring import Keyring, default_path

    path = path or default_path()
    return Keyring.load(path), path


def first_active(ring):
    active = ring.active()
    if not active:
        raise KeyringError("the keyring has no active key: create one with `wmark keys create`")
    return active[0]


def _channels(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of channels like 0,1,2,3", param_hint="--channels") from None


def public(entry) -> dict:
    return {**entry.to_json(), "status": entry.status, "dimension": entry.pattern.dimension}


def point_out_other_model(path: Path, model, bar: Progress) -> None:
    """A mark is found with the model that made the image; say so where the image's record names another."""
    from .watermark.record import recorded_model

    recorded = recorded_model(path)
    if recorded and model.fingerprint and recorded["fingerprint"] not in (None, model.fingerprint):
        bar.complain(f"note: by its record, {path} was made with {recorded['name']}, other weights than {model.name}")


def numbered(output: Path, count: int) -> list[Path]:
    """One path as it is; several with a running number before the suffix."""
    if count == 1:
        return [output]
    digits = max(3, len(str(count)))
    return [output.with_name(f"{output.stem}-{i + 1:0{digits}d}{output.suffix}") for i in range(count)]


if __name__ == "__main__":
    main()
