"""`wmark embed`: generate images, each with a name of its own, or all with a key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ArgumentError, ImageError, ProvenanceError
from ..models.sampling import LONGEST, SCHEDULERS, Sampling
from .embed_image import embed_image, image_options
from .keys import active_keys, open_keyring
from .manifests import keep_unsigned, note_unsigned, signs
from .options import Number, OutputFile, Seed, Size, Text, choice, keyring_option, model_options, with_options
from .registering import registers
from .terminal import complain, recorded, say

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion
    from ..watermark.issuer import Issuer
    from ..watermark.keys import Key

__all__ = ["embed"]

USUAL = "[default: what the model is meant for, most often {}]"


@click.command()
@click.option(
    "--prompt",
    "prompts",
    type=Text(),
    multiple=True,
    help="What to generate; may be given several times.",
)
@with_options(image_options)
@click.option("-o", "--output", type=OutputFile(), required=True, help="PNG, JPEG or WebP file.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Images for each prompt.")
@click.option("--seed", type=Seed(), help="Seed of the first image, counting up from there; fresh ones if not given.")
@click.option("--key", "key_id", help="Plant this one key in all images.  [a name each, or the first active key]")
@click.option(
    "--issuer",
    type=click.Path(path_type=Path),
    help="Issuer that names the images; that of the keyring if not given.",
)
@keyring_option
@with_options(model_options)
@click.option("--size", type=Size(), help="Image size; the model's own if not given.")
@click.option("--steps", type=click.IntRange(1, LONGEST), help=f"Sampling steps.  {USUAL.format(Sampling.steps)}")
@click.option("--guidance", type=Number(0), help=f"Guidance scale.  {USUAL.format(Sampling.guidance_scale)}")
@click.option("--scheduler", type=choice(SCHEDULERS), default=Sampling.scheduler, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True)
@signs
@registers
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--skip-existing", is_flag=True, help="Go on where an interrupted run stopped.")
def embed(
    prompts,
    image,
    min_psnr,
    way,
    output,
    count,
    seed,
    key_id,
    issuer,
    keyring,
    model,
    dtype,
    device,
    size,
    steps,
    guidance,
    scheduler,
    batch_size,
    signer,
    register,
    force,
    skip_existing,
) -> None:
    """Generate images that carry a name each, or a key, or mark one that exists, with a JSON record beside them."""
    if bool(prompts) == bool(image):
        raise click.UsageError("say --prompt for pictures to be generated, or --image for one to be marked")
    from ..images import check_suffix
    from ..watermark.noise import seeds_of
    from ..watermark.record import check_writable, finished, read_record

    check_suffix(output.suffix)
    sampled(Sampling(), steps, guidance, scheduler)  # Refuses what is not possible.
    key, file = planted(key_id, issuer, keyring)
    if image:
        with register.open(key, file) as registered:
            loaded = dict(name=model, dtype=dtype, device=device)
            return embed_image(image, output, registered, loaded, way, min_psnr, force, registered.signing(signer))
    wanted = [prompt for prompt in prompts for _ in range(count)]
    jobs = list(zip(numbered(output, len(wanted)), wanted, seeds_of(seed, len(wanted)), strict=True))
    made = [path for path, *_ in jobs if finished(path)] if skip_existing else []
    note_unsigned(signer, made)
    jobs = [job for job in jobs if job[0] not in made]
    for path, *_ in jobs if skip_existing else ():
        if read_record(path):
            complain(f"note: {path} is unfinished: image and record are made anew")
    check_writable([path for path, *_ in jobs], overwrite=force, resume=skip_existing)

    from ..models.registry import load_model
    from ..progress import progress
    from ..watermark.embed import embed as generate

    with register.open(key, file) as registered:
        registered.catch_up(made)
        signer = registered.signing(signer)
        if not jobs:
            say("nothing to do: every image exists")
            return
        loaded = load_model(model, dtype=dtype, device=device)
        sampling = sampled(loaded.usual, steps, guidance, scheduler)
        warn_of_cuts(loaded, prompts)
        with progress(len(jobs) * sampling.steps, "step") as bar:
            marked = generate(
                loaded,
                registered.issuer,
                [prompt for _, prompt, _ in jobs],
                seed=[seed for *_, seed in jobs],
                sampling=sampling,
                size=size,
                batch_size=batch_size,
                callback=lambda done, step: bar.update(min(batch_size, len(jobs) - done)),
            )
            for (path, *_), image in zip(jobs, marked, strict=True):
                try:
                    image.save(path, overwrite=force, resume=skip_existing, signer=signer)
                except ProvenanceError as error:
                    keep_unsigned(image, path, error, registered)
                except ImageError:
                    if not (skip_existing and finished(path)):
                        raise
                    bar.write(f"{path}  made by another run meanwhile")
                else:
                    registered.finished(path, image)
                    bar.write(f"{path}  {recorded(image.record)}  seed {image.record['seed']}")


def planted(key_id: str | None, issuer: Path | None, keyring: Path | None) -> tuple[Key | Issuer, Path]:
    """What images are to carry, a key or names of an issuer, and the file that it is from.

    Raises:
        WmarkError: If both were asked for, or there is neither.
    """
    from ..watermark.issuer import Issuer

    if key_id is not None and issuer:
        raise ArgumentError("one image carries a key or a name: leave --key or --issuer out")
    if issuer:
        return Issuer.load(issuer), issuer
    ring, path = open_keyring(keyring)
    if key_id is not None:
        return ring.key(key_id), path
    return (Issuer.load(path) if ring.named else active_keys(ring)[0]), path


def sampled(usual: Sampling, steps: int | None, guidance: float | None, scheduler: str) -> Sampling:
    """How images are sampled: as the model is meant to be, where nothing was said."""
    guidance = usual.guidance_scale if guidance is None else guidance
    return Sampling(steps or usual.steps, guidance, scheduler)


def warn_of_cuts(model: LatentDiffusion, prompts: Iterable[str]) -> None:
    """Say what the model does not read of prompts that are too long for it."""
    for prompt in dict.fromkeys(prompts):
        if cut := model.cut(prompt):
            complain(f"note: the prompt is too long for {model.name}, which does not read its end: {cut!r}")


def numbered(output: Path, count: int) -> list[Path]:
    """One path as it is; several with a running number before the suffix."""
    if count == 1:
        return [output]
    digits = max(3, len(str(count)))
    return [output.with_name(f"{output.stem}-{i + 1:0{digits}d}{output.suffix}") for i in range(count)]
