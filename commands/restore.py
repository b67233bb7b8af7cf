"""`wmark restore`: a picture of which much is gone, restored by the model before it is verified."""

from __future__ import annotations

from pathlib import Path

import click

from .edit import open_mask, refuse_existing, tell, verdicts, write
from .options import Number, OutputFile, Seed, keyring_option, model_options, with_options

__all__ = ["restore"]


@click.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--mask",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Picture of the same shape: what is white in it is gone.",
)
@click.option(
    "--ratio", type=Number(0, 1, min_open=True, max_open=True), help="Keep this share of the pixels, at random."
)
@click.option("-o", "--output", type=OutputFile(), required=True, help="PNG, JPEG or WebP file.")
@click.option("--seed", type=Seed(bits=32), default=0, show_default=True, help="Seed of the pixels that are kept.")
@keyring_option
@with_options(model_options)
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def restore(image, mask, ratio, output, seed, keyring, model, dtype, device, force) -> None:
    """Restore what is gone of IMAGE, as the model that made it would have painted it.

    With a keyring it says what the verdict is on the picture as it was left, and on the restored one.
    """
    if (mask is None) == (ratio is None):
        raise click.UsageError(
            "say --mask, where the picture is gone, or --ratio, how many of its pixels are to be kept"
        )
    refuse_existing(output, force)
    import torch

    from ..detectors.geometry import fit, working_size
    from ..images import check_suffix, open_image, to_image, to_tensor
    from ..inversion.restoration import kept_pixels
    from ..inversion.restoration import restore as restored
    from ..models.registry import load_model, load_restorer

    check_suffix(output.suffix)
    picture = open_image(image)
    loaded = load_model(model, dtype=dtype, device=device)
    restorer = load_restorer(loaded)
    size = working_size(picture.size[::-1], loaded.native_size, loaded.downsampling)
    x = to_tensor(fit(picture, size))
    known = ~open_mask(mask, size) if mask else kept_pixels(size, ratio, torch.Generator().manual_seed(seed))
    left = to_image(x.where(known, x.new_tensor(0.0)))
    made = to_image(restored(loaded, restorer, x[None], known[None, None])[0])
    write(output, made)
    tell(
        f"{output}  {float(known.float().mean()):.0%} of the pixels were known", verdicts(loaded, keyring, (left, made))
    )
