"""`wmark keys`: create, list, show and revoke keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import KeyringError
from ..watermark.patterns import PATTERNS, Pattern
from .options import Channels, Number, choice, json_option, keyring_option
from .terminal import describe, dumps, say

if TYPE_CHECKING:
    from ..watermark.keyring import KeyEntry, Keyring
    from ..watermark.keys import Key

__all__ = ["active_keys", "keys", "open_keyring"]


@click.group()
def keys() -> None:
    """Create, list, show and revoke keys."""


@keys.command()
@keyring_option
@click.option("--id", "key_id", help="Name of the key; random if not given.")
@click.option("--pattern", type=choice(PATTERNS), default="disc", show_default=True)
@click.option(
    "--radius",
    type=click.IntRange(1),
    help="Largest frequency, in cycles per latent side.  [disc: 16, square: 31, others: 10]",
)
@click.option(
    "--channels", type=Channels(), help="Latent channels, such as 0,1,2,3.  [disc, square: 0,1,2,3, others: 3]"
)
@click.option(
    "--strength",
    type=Number(0, 1, min_open=True),
    help="Cosine between noise and key, in (0, 1].  [disc, square: 0.5, others: 1]",
)
@click.option(
    "--pilot",
    type=Number(0, 1, min_open=True),
    help="Strength of a pilot beside every key of a new keyring, which leads to them in pictures that were turned, cut "
    "or bent.  [none]",
)
@click.option("--note", default="", help="A remark to keep with the key.")
def create(keyring, key_id, pattern, radius, channels, strength, pilot, note) -> None:
    """Create a key, and the keyring if there is none."""
    from ..watermark.keyring import Keyring, default_path

    path = keyring or default_path()
    chosen = Pattern.of(pattern, radius=radius, channels=channels, strength=strength)
    with Keyring.edit(path, create=chosen, pilot=pilot) as ring:
        if pilot not in (None, ring.pilot_strength):
            has = f"a pilot of strength {ring.pilot_strength}" if ring.pilot_strength else "no pilot"
            raise KeyringError(f"keyring {ring.fingerprint} has {has}, which stays: start another with --keyring")
        key = ring.add(key_id, pattern=chosen, note=note)
    say(f"created key {key.id} ({describe(key.pattern)}) in {path}")


@keys.command("list")
@keyring_option
@json_option
def list_keys(keyring, as_json) -> None:
    """List the keys of the keyring."""
    ring, path = open_keyring(keyring)
    if as_json:
        rows = [public(entry) for entry in ring.entries]
        click.echo(dumps({"keyring": ring.fingerprint, "keys": rows}, indent=2))
        return
    say(f"{path} (fingerprint {ring.fingerprint})")
    for entry in ring.entries:
        note = f"  {entry.note}" if entry.note else ""
        say(f"{entry.id:<20} {entry.status:<8} {entry.created}  {describe(entry.pattern)}{note}")


@keys.command()
@click.argument("key_id")
@keyring_option
def show(key_id, keyring) -> None:
    """Show one key as JSON: everything but its secret."""
    ring, _ = open_keyring(keyring)
    click.echo(dumps({**public(ring.entry(key_id)), "keyring": ring.fingerprint}, indent=2))


@keys.command()
@click.argument("key_id")
@keyring_option
def revoke(key_id, keyring) -> None:
    """Retire a key: it embeds no more, and is verified only when named."""
    from ..watermark.keyring import Keyring, default_path

    with Keyring.edit(keyring or default_path()) as ring:
        ring.revoke(key_id)
    say(f"revoked key {key_id}")


def open_keyring(path: Path | None) -> tuple[Keyring, Path]:
    """The keyring of a path, or of its usual place, and where that is."""
    from ..watermark.keyring import Keyring, default_path

    path = path or default_path()
    return Keyring.load(path), path


def active_keys(ring: Keyring) -> list[Key]:
    """The keys that are in use, one at least.

    Raises:
        KeyringError: If there is none.
    """
    active = ring.active()
    if not active:
        raise KeyringError("the keyring has no active key: create one with `wmark keys create`")
    return active


def public(entry: KeyEntry) -> dict:
    """What `list` and `show` tell of a key."""
    return {**entry.to_json(), "status": entry.status, "dimension": entry.pattern.dimension}
