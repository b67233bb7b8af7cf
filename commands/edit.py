"""`wmark edit`: regenerate a picture inside a mask, and keep the rest."""

from __future__ import annotations

import math
from pathlib import Path

import click

from ..inversion.recovery import DECODER_INVERSIONS, EFFORTS
from .options import Number, OutputFile, Text, choice, keyring_option, model_options, with_options
from .terminal import line, say

__all__ = ["edit", "open_mask", "tell", "verdicts"]


@click.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--mask",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Picture of the same shape: what is white in it is made anew.",
)
@click.option("--prompt", type=Text(), required=True, help="What is to be there.")
@click.option("-o", "--output", type=OutputFile(), required=True, help="PNG, JPEG or WebP file.")
@click.option("--source", type=Text(), default="", help="What the picture shows, if that is known.")
@click.option("--steps", type=click.IntRange(1, 1000), default=20, show_default=True, help="Sampling steps.")
@click.option("--guidance", type=Number(0), default=7.5, show_default=True, help="Guidance scale.")
@click.option(
    "--effort", type=choice(("fast", "exact")), default="exact", show_default=True, help="As of `wmark verify`."
)
@click.option("--decoder-inversion", type=choice(DECODER_INVERSIONS), help="In place of the effort's own.")
@click.option(
    "--paste/--no-paste", default=True, show_default=True, help="Keep the pixels outside the mask as they are."
)
@keyring_option
@with_options(model_options)
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def edit(
    image,
    mask,
    prompt,
    output,
    source,
    steps,
    guidance,
    effort,
    decoder_inversion,
    paste,
    keyring,
    model,
    dtype,
    device,
    force,
) -> None:
    """Regenerate IMAGE inside a mask and keep the rest, the mark included.

    Says how well the rest is kept without its pixels, and with a keyring what the verdict is before and after.
    """
    from dataclasses import replace

    from ..images import check_suffix, open_image, to_image, to_tensor
    from ..models.sampling import Sampling

    check_suffix(output.suffix)
    sampling = Sampling(steps, guidance)
    picture = open_image(image)
    refuse_existing(output, force)

    from ..detectors.geometry import fit, working_size
    from ..inversion.editing import Edit, composite
    from ..inversion.editing import edit as regenerate
    from ..models.registry import load_model
    from ..progress import progress

    loaded, recovery = load_model(model, dtype=dtype, device=device), EFFORTS[effort][0]
    if decoder_inversion:
        recovery = replace(recovery, decoder=decoder_inversion, iterations=None)
    size = working_size(picture.size[::-1], loaded.native_size, loaded.downsampling)
    x, where = to_tensor(fit(picture, size)), open_mask(mask, size)
    with progress(steps, "step") as bar:
        how = Edit(sampling, recovery, source)
        made = regenerate(loaded, x, where, prompt, how, lambda _: bar.update(1))
    result = to_image(composite(x, made.image, where) if paste else made.image)
    if paste and result.size != picture.size:
        whole = open_mask(mask, picture.size[::-1])
        larger = to_tensor(fit(to_image(made.image), picture.size[::-1]))
        result = to_image(composite(to_tensor(picture), larger, whole))
    write(output, result)
    kept = f"{10 * math.log10(4 / made.background):.1f} dB" if made.background else "no"
    tell(f"{output}  decoded background {kept}", verdicts(loaded, keyring, (picture, result)))


def open_mask(path: Path, size: tuple[int, int]):
    """Where a mask is white, (H, W), bool, at a size in pixels.

    Raises:
        ImageError: If it is white nowhere or everywhere.
    """
    import numpy as np
    import torch

    from ..detectors.geometry import fit
    from ..errors import ImageError
    from ..images import open_image

    white = torch.from_numpy(np.array(fit(open_image(path), size).convert("L")) > 127)
    if white.all() or not white.any():
        raise ImageError(f"the mask {path} is all {'white' if white.all() else 'black'}: paint white what is made anew")
    return white


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse a file that exists, before anything is computed."""
    from ..errors import ImageError
    from ..files import shown

    if path.exists() and not force:
        raise ImageError(f"{shown(path)} exists: choose another name, or overwrite it with --force")


def write(path: Path, image) -> None:
    """Write a picture that is made of another and of what a model made."""
    from ..files import write_atomically
    from ..images.writing import encode_image

    write_atomically(path, encode_image(image, path.suffix, source="compositeWithTrainedAlgorithmicMedia"))


def verdicts(model, keyring: Path | None, pictures) -> list:
    """What the detector says of pictures, one after the other; nothing where there is no keyring."""
    from ..detectors.detector import Detector
    from ..watermark.keyring import Keyring, default_path

    path = keyring or default_path()
    if not (keyring or path.exists()):
        return []
    ring = Keyring.load(path)
    names = ring.names() if ring.named else None
    if not (names or ring.active()):
        return []
    return Detector(model, ring.active(), names=names).verify(pictures, batch_size=1)


def tell(result: str, seen: list) -> None:
    """A line of results, and below it what is found before and after."""
    say(result)
    for when, verdict in zip(("before", "after"), seen, strict=False):
        say(line(when, verdict))
