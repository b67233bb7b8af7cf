"""`python -m wmark.models.training`: parse, run a stage, print."""

from __future__ import annotations

from pathlib import Path

import click

from ...terminal import Group, with_options

folder = click.Path(path_type=Path, file_okay=False)

run_options = [
    click.option("--config", default="tiny", show_default=True, help="A shipped configuration, or a TOML file."),
    click.option("--set", "overrides", multiple=True, metavar="TABLE.NAME=VALUE", help="Change a setting."),
    click.option("--data", type=folder, default="training/data", show_default=True, help="The prepared dataset."),
    click.option("--run", type=folder, default="training/run", show_default=True, help="Checkpoints and logs."),
    click.option("--device", help="Torch device; a GPU if there is one."),
]
minutes_option = click.option(
    "--minutes", type=click.FloatRange(0), help="Stop after so long; the same command goes on from there."
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train a small latent diffusion model on the free pictures that Debian packages ship."""


@main.command()
@click.option("--data", type=folder, default="training/data", show_default=True, help="Gets the prepared dataset.")
@click.option("--cache", type=folder, default="training/cache", show_default=True, help="Gets the packages.")
@click.option("--unpacked", type=folder, help="Take these unpacked packages, in folders NAME_VERSION; fetch nothing.")
@click.option(
    "--cap", type=click.FloatRange(0, min_open=True), default=40, show_default=True, help="Megabytes at most."
)
def data(data, cache, unpacked, cap) -> None:
    """Fetch packages, sift their pictures and write the prepared dataset."""
    from .configuration import FOLDER, read_toml
    from .dataset import prepare
    from .sources import fetch, find_pictures

    sources = read_toml(FOLDER / "sources.toml")
    manifest = prepare(find_pictures(sources, unpacked or fetch(sources, cache)), data, int(cap * 1e6))
    held_out = sum(entry["held_out"] for entry in manifest["pictures"])
    click.echo(f"{len(manifest['pictures'])} pictures, {held_out} of them held out, WebP quality {manifest['quality']}")


if __name__ == "__main__":
    main()
