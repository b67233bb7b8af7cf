"""`wmark keys certificate`: what it takes to try out signing."""

from __future__ import annotations

import click

from ..errors import ProvenanceError
from ..files import shown
from .options import Number, OutputFile, Text
from .terminal import say

__all__ = ["certificate"]


@click.command()
@click.option("-o", "--output", type=OutputFile((".pem", ".crt")), default="certificate.pem", show_default=True)
@click.option("--name", type=Text(), default="wmark trial", show_default=True, help="Whose name readers show.")
@click.option(
    "--days", type=Number(0, 3650, min_open=True), default=30, show_default=True, help="How long it is valid."
)
def certificate(output, name, days) -> None:
    """Make a certificate to try out `wmark embed --sign` with, which nobody trusts.

    It comes in three files: CERTIFICATE.pem, its private key CERTIFICATE.key, for you alone, and
    CERTIFICATE-authority.pem for `wmark verify --trust`. For the public, get one from an authority on the C2PA trust
    list.
    """
    from ..files import write_atomically
    from ..provenance.authority import issue

    if not 0 < len(name) <= 64:
        raise click.UsageError(f"a name of {len(name)} characters fits no certificate: choose 1 to 64")
    made = issue(name, days)
    files = {
        output.with_suffix(".key"): (made.key, 0o600),
        output.with_name(f"{output.stem}-authority{output.suffix}"): (made.authority, None),
        output: (made.chain, None),
    }
    for path in files:
        if path.exists():
            raise ProvenanceError(f"{shown(path)} exists already: choose another name with -o, or move it")
    for path, (data, mode) in files.items():
        write_atomically(path, data, mode=mode, overwrite=False)
    key, authority, chain = files
    say(f"made {chain}, its key {key} and {authority}, valid for {days:g} days")
