"""`wmark embed --image`: mark a picture that exists, as far as a PSNR allows."""

from __future__ import annotations

import io
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ImageError, ProvenanceError
from ..inversion.marking.ways import WAYS
from .manifests import keep_unsigned
from .options import Number, choice
from .terminal import recorded, say

if TYPE_CHECKING:
    from PIL import Image

    from ..detectors.marking import MarkedPicture
    from ..models.latent_diffusion import LatentDiffusion
    from ..provenance import Signer
    from ..watermark.issuer import Issuer
    from ..watermark.keys import Key
    from .registering import Registered

__all__ = ["embed_image", "image_options"]

ELSEWHERE = ("prompts", "count", "seed", "size", "steps", "guidance", "scheduler", "batch_size", "skip_existing")
"""Options that say how a picture is generated."""

image_options = [
    click.option(
        "--image",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Mark this picture in place of generating some.",
    ),
    click.option(
        "--min-psnr", type=Number(20, 60), default=35, show_default=True, help="With --image: least PSNR in dB."
    ),
    click.option("--way", type=choice(WAYS), default="direct", show_default=True, help="With --image: how."),
]


def embed_image(
    picture: Path,
    output: Path,
    registered: Registered,
    model: dict[str, str | None],
    way: str,
    min_psnr: float,
    force: bool,
    signer: Signer | None,
) -> None:
    """Mark a picture and say what it cost and what it is worth.

    Arguments:
        picture: The file.
        output: Where the marked one and its record go.
        registered: What it carries, a key or a name of its own, and where that is written down.
        model: Keyword arguments of :func:`~wmark.models.registry.load_model`, its `name` among them.
        way: A name in :data:`~wmark.inversion.marking.ways.WAYS`.
        min_psnr: Least PSNR in dB.
        force: Whether files that exist are overwritten.
        signer: Who signs the marked picture; None for nobody.

    Raises:
        ImageError: If evidence and likeness can't be had together.
    """
    refuse_elsewhere()
    from ..benchmarks.quality import ssim
    from ..detectors.marking import mark_picture
    from ..images import open_image, read_image
    from ..images.writing import encode_image
    from ..models.registry import load_model
    from ..progress import progress
    from ..watermark.record import MarkedImage, check_writable

    check_writable([output], overwrite=force)
    image, loaded = open_image(picture), load_model(**model)

    def keep(made: Image.Image) -> Image.Image:
        return read_image(io.BytesIO(encode_image(made, output.suffix)))

    with progress(None, "step") as bar:
        options = dict(min_psnr=min_psnr, way=way, keep=keep, callback=lambda _: bar.update(1))
        marked = mark_picture(loaded, registered.issuer, image, **options)
    verdict = marked.verdict
    if not marked.found:
        other = " beside the one that it carries" if verdict.found else ""
        raise ImageError(
            f"{picture} cannot carry the mark{other} at {marked.psnr:.1f} dB: its log10 p is {marked.log10_p:.0f}, not "
            f"{math.log10(verdict.fpr):g}: allow more with a smaller --min-psnr"
        )
    likeness = ssim(image, keep(marked.image))
    figures = {"psnr": round(marked.psnr, 2), "ssim": round(likeness, 4), "log10_p": round(verdict.log10_p, 2)}
    record = {
        **record_of(loaded, registered.issuer, marked, (picture, way)),
        **figures,
        "size": [image.width, image.height],
    }
    made = MarkedImage(marked.image, record)
    try:
        made.save(output, overwrite=force, signer=signer and signer.opening(picture.read_bytes()))
    except ProvenanceError as error:
        keep_unsigned(made, output, error, registered)
    registered.finished(output, made)
    cost = f"PSNR {marked.psnr:.1f} dB  SSIM {likeness:.3f}"
    say(f"{output}  {recorded(record)}  {cost}  log10 p {verdict.log10_p:.1f}")


def record_of(model: LatentDiffusion, key: Key | Issuer, marked: MarkedPicture, how: tuple[Path, str]) -> dict:
    """What is written down of a picture that was marked, of which file and in which way, but for what it came to."""
    from ..files import sha256, shown
    from ..version import __version__
    from ..watermark.embed import of_key, of_name
    from ..watermark.record import SCHEMA

    picture, way = how
    return {
        "schema": SCHEMA,
        "generator": f"wmark {__version__}",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        **(of_name(marked.identity, key) if marked.identity else of_key(key)),
        "source": {"name": shown(picture.name), "sha256": sha256(picture)},
        "way": way,
        "digital_source_type": "algorithmicallyEnhanced",
    }


def refuse_elsewhere() -> None:
    """Refuse options that mean nothing to a picture that exists.

    Raises:
        UsageError: If one was given.
    """
    context = click.get_current_context()
    for name in ELSEWHERE:
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.COMMANDLINE:
            said = "--prompt" if name == "prompts" else f"--{name.replace('_', '-')}"
            raise click.UsageError(f"--image marks a picture as it is: leave {said} out")
