"""`wmark bench ledger`: processes that issue numbers and write rows at once, and are killed at random.

Each keeps a protocol of what the ledger told it. In the end the protocols are held against the ledger: no number may
have been issued twice, nothing that was said to be written may be missing, and the ledger must be sound.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import ArgumentError
from ..files import sha256
from ..ledger import Ledger, Row, Seals
from ..ledger.check import check
from ..ledger.numbers import IssuerState
from ..ledger.place import Place
from ..watermark.secret import Secret
from .output import Columns, provenance, tabulate, write_results

__all__ = ["Extent", "run"]

COLUMNS: Columns = {
    "database": "{database}",
    "processes": "{processes}",
    "kills": "{kills}",
    "numbers": "{numbers}",
    "registered": "{registered}",
    "issued twice": "{twice}",
    "lost": "{lost}",
    "unsound": "{unsound}",
    "gave up": "{gave_up}",
    "seconds": "{seconds:.0f}",
}
WRONG = ("twice", "lost", "unsound", "gave_up")
EACH = 1 << 20


@dataclass(frozen=True)
class Extent:
    """How much is done.

    Attributes:
        processes: At once. Every second one has an issuer of its own, the others share one.
        kills: How often one of them is killed and another takes its place.
        pause: Seconds between two kills at most.
    """

    processes: int = 8
    kills: int = 200
    pause: float = 0.2


def run(*, extent: Extent, place: str | None, seed: int, out: Path) -> dict:
    """Kill, compare, print the table and write `ledger.{csv,json}`; returns what the JSON holds.

    Arguments:
        extent: How much.
        place: URL of an empty database of PostgreSQL; None takes a file of SQLite in a temporary folder.
        seed: Seed of the pauses and of who is killed.
        out: Folder of the results.

    Raises:
        ArgumentError: If this system cannot fork processes.
    """
    if not hasattr(os, "fork"):
        raise ArgumentError("this system has no `fork`: run it on Linux or macOS")
    folder = Path(tempfile.mkdtemp(prefix="wmark-ledger-"))
    try:
        counts = trial(extent, place or str(folder / "x.ledger.sqlite"), folder, random.Random(seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    row = {"database": "PostgreSQL" if place else "SQLite", **asdict(extent), **counts}
    result = {**provenance(seed=seed, **asdict(extent)), "results": [row], "wrong": sum(row[name] for name in WRONG)}
    if place:  # The command line may hold a password.
        result["command"] = result["command"].replace(place, Place.of(place).name)
    write_results(out / "ledger", COLUMNS, [row], result)
    print(tabulate(COLUMNS, [row]))
    return result


def trial(extent: Extent, place: str, folder: Path, chance: random.Random) -> dict:
    """The kills, and what came of them."""
    secret = Secret(os.urandom(32))
    seals = Seals("benchmark", lambda issuer: secret.derive(issuer.encode()))
    Ledger(place, seals, create=True).close()
    begin = time.monotonic()
    workers: dict[int, int] = {}
    gave_up = started = 0
    try:
        while len(workers) < extent.processes:
            workers[begun(place, seals, folder, slot=len(workers), start=started)] = len(workers)
            started += 1
        for _ in range(extent.kills):
            time.sleep(chance.uniform(0, extent.pause))
            child = chance.choice(list(workers))
            slot = workers.pop(child)
            gave_up += not killed(child)
            workers[begun(place, seals, folder, slot=slot, start=started)] = slot
            started += 1
        time.sleep(extent.pause)
    finally:
        gave_up += sum([not killed(child) for child in workers])
    with Ledger(place, seals) as ledger:
        return {**compared(ledger, folder), "gave_up": gave_up, "seconds": time.monotonic() - begin}


def begun(place: str, seals: Seals, folder: Path, slot: int, start: int) -> int:
    """A process that issues and writes until it is killed: its id."""
    parent = os.getpid()
    if child := os.fork():
        return child
    try:
        issuer = slot if slot % 2 else 0
        numbers = range(issuer * EACH, (issuer + 1) * EACH)
        work(place, seals, IssuerState(f"issuer-{issuer}", numbers, numbers[:0]), folder / f"{start}.log", parent)
    finally:
        os._exit(1)


def work(place: str, seals: Seals, issuer: IssuerState, protocol: Path, parent: int) -> None:
    chance = random.Random(protocol.stem)
    with Ledger(place, seals, create=True) as ledger, protocol.open("a") as told:
        while os.getppid() == parent:  # Whose end is the end of all.
            numbers = ledger.reserve(chance.randint(1, 4), issuer)
            print("reserved", *numbers, file=told, flush=True)
            done = numbers[: chance.randint(0, len(numbers))]
            ledger.register(*(Row(number, issuer.name, "", file_hash=file_hash(number)) for number in done))
            print("registered", *done, file=told, flush=True)


def file_hash(number: int) -> str:
    return sha256(str(number).encode())


def killed(child: int) -> bool:
    """Kill a process; whether it was still at work."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def compared(ledger: Ledger, folder: Path) -> dict:
    """What the ledger holds, against what its writers were told."""
    said: dict[str, Counter] = {"reserved": Counter(), "registered": Counter()}
    for protocol in folder.glob("*.log"):
        for line in protocol.read_text().splitlines():
            verb, *numbers = line.split()
            said[verb].update(map(int, numbers))
    rows = {row.number: row for row in ledger.search()}
    kept = {number for number, row in rows.items() if row.state == "registered"}
    lost = {number for number in said["reserved"] if number not in rows}
    lost |= {number for number in said["registered"] if number not in kept}
    lost |= {number for number in kept if rows[number].file_hash != file_hash(number)}
    return {
        "numbers": len(rows),
        "registered": len(kept),
        "twice": sum(count > 1 for count in said["reserved"].values()),
        "lost": len(lost),
        "unsound": sum(finding.wrong for finding in check(ledger)),
    }
