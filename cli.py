"""The `wmark` command: it gathers its commands, and imports one when it is asked for."""

from __future__ import annotations

import click

from .commands.exits import CODES, Program
from .version import __version__

__all__ = ["main"]

COMMANDS = {
    "keys": ".commands.keys:keys",
    "embed": ".commands.embed:embed",
    "edit": ".commands.edit:edit",
    "restore": ".commands.restore:restore",
    "verify": ".commands.verify:verify",
    "audit": ".commands.audit:audit",
    "report": ".commands.report:report",
    "ledger": ".commands.ledger:ledger",
    "attack": ".commands.attack:attack",
    "tune": ".commands.tune:tune",
    "bench": ".commands.bench:bench",
    "train": ".commands.train:train",
}


@click.group(cls=Program, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}, epilog=CODES)
@click.version_option(__version__, prog_name="wmark")
@click.option("--debug", is_flag=True, envvar="WMARK_DEBUG", help="Show where an error arose.  [env: WMARK_DEBUG]")
def main(debug: bool) -> None:
    """Watermark the images of a latent diffusion model in their initial noise, and prove it later."""
