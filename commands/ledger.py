"""`wmark ledger`: show, find and export rows, check a ledger, and merge another one in."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ..errors import LedgerError
from ..files import reason, shown
from .exits import OK, UNUSABLE
from .options import OutputFile, Text, choice, json_option, keyring_option, with_options
from .terminal import complain, dumps, say

if TYPE_CHECKING:
    from ..ledger import Ledger, Query, Row

__all__ = ["Time", "ledger", "ledger_option", "open_ledger", "row_line"]

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


class Time(click.ParamType):
    """A date or a time, in UTC unless it says otherwise; converts to ISO 8601 in UTC."""

    name = "time"

    def convert(self, value, param, ctx):
        try:
            time = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            time = time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time like 2030-01-31 or 2030-01-31T12:00", param, ctx)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class FileHash(click.ParamType):
    """How a SHA-256 begins."""

    name = "hex"

    def convert(self, value, param, ctx):
        if not 0 < len(value) <= 64 or set(value.lower()) - set("0123456789abcdef"):
            self.fail(f"{value!r} is not the beginning of a SHA-256, up to 64 hexadecimal digits", param, ctx)
        return value.lower()


ledger_option = click.option(
    "--ledger",
    "place",
    envvar="WMARK_LEDGER",
    help="The ledger: a file, or postgresql://user@host/database. Its password is best left to PGPASSWORD or ~/.pgpass."
    "  [default: beside the keyring; env: WMARK_LEDGER]",
)
where = [ledger_option, keyring_option]
which = [
    click.option("--issuer", help="Numbers of this issuer alone."),
    click.option("--since", type=Time(), help="Registered (or reserved, if never finished) at this time or later."),
    click.option("--until", type=Time(), help="Before this time."),
]


@click.group()
def ledger() -> None:
    """Which images were marked: show, find, export, check, merge, and their manifests."""


@ledger.command()
@click.argument("number", type=click.IntRange(0, 2**40 - 1))
@with_options(where)
def show(number, place, keyring) -> None:
    """Show the row of an image's NUMBER as JSON."""
    with open_ledger(place, keyring) as opened:
        row = opened.find(number)
        if row is None:
            raise LedgerError(f"the number {number} was never issued in {opened.place.name}")
    warn(row)
    click.echo(dumps(row.to_json(), indent=2))


@ledger.command()
@click.option("--number", type=click.IntRange(0, 2**40 - 1), help="Of this number.")
@click.option("--file-hash", type=FileHash(), help="Whose file has a SHA-256 that begins so.")
@click.option("--picture", type=click.Path(path_type=Path), help="That look like this file, the likest first.")
@click.option("--prompt", type=Text(), help="Made from just this prompt (its hash is compared; needs the keyring).")
@click.option("--unfinished", is_flag=True, help="Reserved and never registered.")
@with_options(which)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Rows at most.")
@json_option
@with_options(where)
def find(number, file_hash, picture, prompt, unfinished, issuer, since, until, limit, as_json, place, keyring) -> None:
    """Find images: every condition that is given must hold. Nothing is printed where there is none."""
    from ..ledger import Query

    with open_ledger(place, keyring) as opened:
        hashes = None if prompt is None else prompt_hashes(opened, prompt)
        state = "reserved" if unfinished else None
        query = Query(number, issuer, since, until, file_hash, hashes, state)
        for row, likeness in islice(candidates(opened, query, picture, limit), limit):
            warn(row)
            told = {} if likeness is None else {"likeness": round(likeness, 3)}
            words = "" if likeness is None else f"  likeness {likeness:.2f}"
            click.echo(dumps({**row.to_json(), **told})) if as_json else say(row_line(row) + words)


@ledger.command()
@click.option("-o", "--output", type=OutputFile(tuple(FORMATS)), help="File, for its owner alone.  [standard output]")
@click.option("--format", "form", type=choice(FORMATS.values()), help="[default: by the file's name, else jsonl]")
@with_options(which)
@with_options(where)
def export(output, form, issuer, since, until, place, keyring) -> None:
    """Write rows as CSV, JSON Lines or Parquet, all columns but pictures."""
    from ..ledger import Query
    from ..ledger.export import write_csv, write_json_lines, write_parquet

    form = form or (FORMATS[output.suffix.lower()] if output else "jsonl")
    if form == "parquet" and output is None:
        raise click.UsageError("a Parquet file is not for a terminal: name it with --output")
    write = {"csv": write_csv, "jsonl": write_json_lines, "parquet": write_parquet}[form]
    with open_ledger(place, keyring) as opened:
        rows = opened.search(Query(issuer=issuer, since=since, until=until))
        if output is None:
            write(rows, sys.stdout)
            return
        with replaced(output) as file:
            if form == "parquet":
                write(rows, file)
            else:
                with os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", newline="") as stream:
                    write(rows, stream)


@ledger.command()
@click.argument("number", type=click.IntRange(0, 2**40 - 1))
@click.option("-o", "--output", type=OutputFile(), help="File for the manifest, a sidecar; the one there is.")
@with_options(where)
def manifest(number, output, place, keyring) -> None:
    """Show the signed manifests that were kept for the image of NUMBER, whatever became of its file."""
    from ..files import write_atomically
    from ..ledger.manifests import LedgerManifests
    from ..provenance import public_name
    from ..provenance.reading import read_kept

    with open_ledger(place, keyring) as opened:
        kept = LedgerManifests(opened).manifests_of(public_name(opened.keyring, number=number))
        if not kept:
            raise LedgerError(f"no manifest was kept for the number {number} in {opened.place.name}")
    for one in kept:
        click.echo(dumps(asdict(read_kept(one)), indent=2))
    if output:
        if len(kept) > 1:
            raise LedgerError(f"{len(kept)} manifests were kept for the number {number}, which are not one file")
        write_atomically(output, kept[0])


@ledger.command()
@json_option
@with_options(where)
def check(as_json, place, keyring) -> int:
    """Look for damage, and for rows that were changed, swapped, removed or written by nobody.

    Exit code: 0 if the ledger is sound, 2 if not. What was never finished is told, and is nothing wrong.
    """
    from ..ledger.check import check as checked

    wrong = 0
    with open_ledger(place, keyring) as opened:
        for finding in checked(opened):
            wrong += finding.wrong
            click.echo(dumps(asdict(finding))) if as_json else say(
                f"{'wrong' if finding.wrong else 'note ':5}  {finding.kind:14}  {finding.sentence}"
            )
        if not as_json:
            issued = sum(len(numbers) for numbers in opened.issued())
            say(f"{opened.place.name}: {issued} numbers issued, {f'{wrong} things wrong' if wrong else 'sound'}")
    return UNUSABLE if wrong else OK


@ledger.command()
@click.argument("other")
@with_options(where)
def merge(other, place, keyring) -> int:
    """Bring the rows of OTHER, a ledger of the same keyring, into the ledger, which is begun if there is none.

    A row that disagrees with the one here is reported and left out.

    Exit code: 0 if all of it is here now, 2 if something was left out.
    """
    from ..ledger import Ledger
    from ..ledger.manifests import merge_manifests
    from ..ledger.merge import merge as merged

    with open_ledger(place, keyring, create=True) as opened, Ledger(other, opened.seals) as source:
        outcome = merged(opened, source)
        merge_manifests(opened, source)
    for conflict in outcome.conflicts:
        complain(f"conflict: {conflict}")
    told = f"{outcome.added} rows added, {outcome.finished} finished, {outcome.known} known"
    say(f"{told}, {len(outcome.conflicts)} conflicts")
    return UNUSABLE if outcome.conflicts else OK


def open_ledger(place: str | None, keyring: Path | None, *, create: bool = False) -> Ledger:
    """The ledger of a place, or the one beside the keyring; without the keyring its seals are not tested.

    Raises:
        KeyringError, LedgerError: If one of them cannot be opened.
    """
    from ..ledger import Ledger, Seals
    from ..ledger.place import default_place
    from ..watermark.keyring import Keyring, default_path

    path = keyring or default_path()
    seals = None
    if keyring is not None or create or path.exists():
        seals = Seals.of(Keyring.load(path).names())
    else:
        complain("note: there is no keyring here, so whether rows were changed is not tested")
    return Ledger(place or default_place(path), seals, create=create)


def row_line(row: Row) -> str:
    """A row in a line."""
    words = [
        f"{row.number:<13} {row.state:<10}",
        row.registered or row.reserved,
        row.issuer,
        row.model or "",
        f"{row.width}x{row.height}" if row.width else "",
        f"file {row.file_hash[:12]}" if row.file_hash else "",
        "CHANGED SINCE" if row.genuine is False else "",
    ]
    return "  ".join(word for word in words if word)


def warn(row: Row) -> None:
    if row.genuine is False:
        complain(f"warning: the row of number {row.number} was changed or swapped: do not rely on it")


def candidates(opened: Ledger, query: Query, picture: Path | None, limit: int) -> Iterable[tuple[Row, float | None]]:
    """Rows that fit, with their likeness to a picture if one is given, the likest first."""
    if picture is None:
        return ((row, None) for row in opened.search(query))
    from ..images import open_image
    from ..ledger.likeness import alike

    return alike(opened.search(query), open_image(picture), limit)


def prompt_hashes(opened: Ledger, prompt: str) -> tuple[str, ...]:
    """What the hash of a prompt is with each issuer whose secret is here."""
    if opened.seals is None:
        raise LedgerError("prompts are compared by a keyed hash: name the keyring with --keyring")
    names = [issuer.name for issuer in opened.issuers() if opened.seals.secret(issuer.name)]
    return tuple(opened.seals.prompt_hash(name, prompt) for name in names)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that takes a path's place when all of it is written; for its owner alone."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise LedgerError(f"'{shown(path)}' cannot be written: {reason(error)}") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
