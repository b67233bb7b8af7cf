"""`wmark attack`: damage an image as the benchmarks do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ImageError
from ..files import reason, shown
from .options import Seed, model_options, with_options
from .terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from ..attacks import Kind

__all__ = ["attack"]


def print_kinds(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print every kind of damage, and leave."""
    if not wanted or context.resilient_parsing:
        return
    from ..attacks import KINDS, NAMED, find_damage

    for kind in KINDS.values():
        say(f"{kind.name:21} {kind.category:12} {strengths(kind):62} {kind.about}")
    named = (f"{name} = {find_damage(name).name}" for name in NAMED if name not in KINDS and name != "none")
    say(f"also: none, {', '.join(named)}")
    context.exit()


def strengths(kind: Kind) -> str:
    """Unit, range and default strengths of a kind of damage."""
    if kind.unit is None:
        return "-"
    low, high = kind.span
    return f"{low:g} to {high:g} {kind.unit}; {', '.join(f'{strength:g}' for strength in kind.sweep)}"


@click.command()
@click.argument("image")
@click.argument("names", metavar="[NAME[:STRENGTH]]...", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the damaged images.")
@click.option("--seed", type=Seed(bits=32), default=0, show_default=True, help="Seed of what is drawn.")
@with_options(model_options)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_kinds,
    help="Print every kind of damage: category, range and unit of its strength, default strengths.",
)
def attack(image, names, output, seed, model, dtype, device, force) -> None:
    """Damage IMAGE in one way or several, each into a PNG file of its own.

    A NAME alone takes the middle one of its default strengths; joined by +, as in jpeg:30+rotation:7, damages follow
    one another. Without names, every kind that needs no model is done at all its default strengths. The kinds that
    regenerate an image take the model that --model says.
    """
    from ..attacks import KINDS, find_damage, sweep
    from ..images import open_image

    damages = [find_damage(name) for name in names] or [
        damage for kind in KINDS.values() if not kind.needs_model for damage in sweep(kind)
    ]
    picture = open_image(image)
    paths = [output / f"{Path(image).stem}-{damage.file_name}.png" for damage in damages]
    refuse_obstacles(output, paths, force)
    loaded = None
    if any(damage.needs_model for damage in damages):
        from ..models.registry import load_model

        loaded = load_model(model, dtype=dtype, device=device)
    for damage, path in zip(damages, paths, strict=True):
        write(damage(picture, seed, loaded), path)
        say(f"{path}  {damage.name}")


def refuse_obstacles(folder: Path, paths: Sequence[Path], force: bool) -> None:
    """Make the folder; refuse files that exist, before anything is computed."""
    from ..files import make_folder

    try:
        make_folder(folder.absolute())
    except (OSError, ValueError) as error:
        raise ImageError(f"the folder '{shown(folder)}' cannot be made: {reason(error)}") from error
    for path in paths:
        if path.exists() and not (force and path.is_file()):
            raise ImageError(f"{shown(path)} exists: choose another folder, or overwrite it with --force")


def write(image: Image.Image, path: Path) -> None:
    """Write the pixels of an image, and nothing else, as PNG."""
    import io

    from ..files import write_atomically

    content = io.BytesIO()
    image.save(content, "PNG")
    try:
        write_atomically(path, content.getvalue())
    except (OSError, ValueError) as error:
        raise ImageError(f"{shown(path)} cannot be written: {reason(error)}") from error
