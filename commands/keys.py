"""`wmark keys`: create, list, show and revoke keys, and issuers of names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import KeyringError
from ..files import shown
from ..watermark.patterns import PATTERNS, Pattern
from .certificate import certificate
from .options import Channels, Number, OutputFile, choice, json_option, keyring_option
from .terminal import describe, dumps, say

if TYPE_CHECKING:
    from ..watermark.keyring import KeyEntry, Keyring
    from ..watermark.keys import Key
    from ..watermark.layout import IssuerEntry

__all__ = ["active_keys", "keys", "open_keyring"]


@click.group()
def keys() -> None:
    """Create, list, show and revoke keys."""


keys.add_command(certificate)


@keys.command()
@keyring_option
@click.option("--id", "key_id", help="Name of the key; random if not given.")
@click.option("--pattern", type=choice(PATTERNS), default="disc", show_default=True)
@click.option(
    "--radius",
    type=click.IntRange(1),
    help="Largest frequency, in cycles per latent side.  [disc, square: 31, others: 10]",
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
@click.option("--names/--no-names", default=True, show_default=True, help="Give a new keyring names for images.")
def create(keyring, key_id, pattern, radius, channels, strength, pilot, note, names) -> None:
    """Create a key, and the keyring if there is none."""
    from ..watermark.keyring import Keyring, default_path

    path = keyring or default_path()
    chosen = Pattern.of(pattern, radius=radius, channels=channels, strength=strength)
    with Keyring.edit(path, create=chosen, pilot=pilot) as ring:
        if begun := names and not path.exists():
            ring.add_names()
        if pilot not in (None, ring.pilot_strength):
            has = f"a pilot of strength {ring.pilot_strength}" if ring.pilot_strength else "no pilot"
            raise KeyringError(f"keyring {ring.fingerprint} has {has}, which stays: start another with --keyring")
        key = ring.add(key_id, pattern=chosen, note=note)
    if begun:
        begin_counter(ring, path)
    say(f"created key {key.id} ({describe(key.pattern)}) in {path}")


@keys.command("list")
@keyring_option
@json_option
def list_keys(keyring, as_json) -> None:
    """List the keys of the keyring."""
    ring, path = open_keyring(keyring)
    if as_json:
        rows = [public(entry) for entry in ring.entries]
        issuers = [{**vars(entry), "status": entry.status} for entry in issuers_of(ring)]
        click.echo(dumps({"keyring": ring.fingerprint, "keys": rows, "issuers": issuers}, indent=2))
        return
    say(f"{path} (fingerprint {ring.fingerprint})")
    for entry in ring.entries:
        note = f"  {entry.note}" if entry.note else ""
        say(f"{entry.id:<20} {entry.status:<8} {entry.created}  {describe(entry.pattern)}{note}")
    for entry in issuers_of(ring):
        last = entry.first + entry.count - 1
        say(f"{entry.name:<20} {entry.status:<8} {entry.created}  issuer of the images {entry.first} to {last}")


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


@keys.command()
@keyring_option
def names(keyring) -> None:
    """Give a keyring that was made without names some."""
    from ..watermark.keyring import Keyring, default_path

    path = keyring or default_path()
    with Keyring.edit(path) as ring:
        ring.add_names()
    begin_counter(ring, path)
    say(f"{path} names images now: `wmark embed` gives each its own")


@keys.group()
def issuer() -> None:
    """Issuers: secrets and numbers for machines that name images."""


@issuer.command("create")
@click.argument("name")
@click.option("-o", "--output", type=OutputFile(), required=True, help="File of the issuer, which must not exist.")
@click.option(
    "--numbers",
    type=click.IntRange(1, 1 << 40),
    default=1 << 30,
    show_default=True,
    help="Images it can name.",
)
@keyring_option
def create_issuer(name, output, numbers, keyring) -> None:
    """Write a file with which a machine names images, and can do so for nobody else.

    Numbers are counted beside the file: one machine has it, and no copy is used.
    """
    from ..watermark.issuer import write_issuer
    from ..watermark.keyring import Keyring, default_path

    if output.exists():
        raise KeyringError(f"'{shown(output)}' exists already: choose another name")
    with Keyring.edit(keyring or default_path()) as ring:
        ring.add_issuer(name, numbers)
    write_issuer(ring.names(name), output)
    say(f"created issuer {name} of {numbers} images in {output}")


@issuer.command("revoke")
@click.argument("name")
@keyring_option
def revoke_issuer(name, keyring) -> None:
    """Retire an issuer. Images that it named are still told by their names."""
    from ..watermark.keyring import Keyring, default_path

    with Keyring.edit(keyring or default_path()) as ring:
        ring.revoke_issuer(name)
    say(f"revoked issuer {name}")


def begin_counter(ring: Keyring, path: Path) -> None:
    """Count the numbers of a keyring's own machine beside its file, now that it is saved with names."""
    from ..watermark.counter import Counter, counter_path

    Counter(counter_path(path), ring.fingerprint).begin(ring.named.issuers[0])


def open_keyring(path: Path | None) -> tuple[Keyring, Path]:
    """The keyring of a path, or of its usual place, and where that is."""
    from ..watermark.keyring import Keyring, default_path

    path = path or default_path()
    return Keyring.load(path), path


def issuers_of(ring: Keyring) -> tuple[IssuerEntry, ...]:
    """Everyone who may issue numbers."""
    return ring.named.issuers if ring.named else ()


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
