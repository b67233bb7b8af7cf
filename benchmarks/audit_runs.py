"""`wmark audit` as a process of its own: its seconds, its memory, and what is left when it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from ..errors import WmarkError

__all__ = ["Audited", "audited", "killed", "resumed", "rows"]

VOLATILE = ("read_seconds", "decode_seconds", "seconds")


@dataclass(frozen=True)
class Audited:
    """A run that came to an end.

    Attributes:
        seconds: From start to end of the process, loading included.
        images: Images of the run.
        rate: Images a second between the first and the last shard.
        summary: Its summary.
        memory: Megabytes of the process, first and last quarter of the samples, largest of each.
    """

    seconds: float
    images: int
    rate: float
    summary: dict[str, Any]
    memory: tuple[float, float]


def audited(arguments: Sequence[str | Path], folder: Path) -> Audited:
    """Run an audit to its end.

    Arguments:
        arguments: Of `wmark audit`, without its folder.
        folder: That of the run.

    Raises:
        WmarkError: If it cannot.
    """
    begin = time.perf_counter()
    process = start([*arguments, "-o", folder])
    samples: list[float] = []
    watch = threading.Thread(target=watched, args=(process, samples), daemon=True)
    watch.start()
    said: list[str] = []
    times = [*shards_written(process, said)]
    process.wait()
    if not ended(process, folder):
        raise WmarkError(f"wmark audit ended with {process.returncode}: {(said or ['no reason given'])[-1].strip()}")
    summary = json.loads((folder / "summary.json").read_bytes())
    quarter = max(1, len(samples) // 4)
    memory = (max(samples[quarter : 2 * quarter], default=0.0), max(samples[-quarter:], default=0.0))
    counted = sum(count for _, count in times[1:])
    spent = times[-1][0] - times[0][0] if len(times) > 1 else float("nan")
    rate = counted / spent if spent else float("nan")
    return Audited(time.perf_counter() - begin, summary["totals"]["images"], rate, summary, memory)


def start(arguments: Sequence[str | Path]) -> subprocess.Popen:
    command = [sys.executable, "-m", "wmark", "audit", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def shards_written(process: subprocess.Popen, said: list[str]) -> Iterator[tuple[float, int]]:
    """When each shard was written, and its images, as an audit says so; all that it says is added to a list."""
    for line in process.stderr:
        said.append(line)
        if line.startswith("shard "):
            yield time.perf_counter(), int(line.partition(": ")[2].split()[0])


def ended(process: subprocess.Popen, folder: Path) -> bool:
    """Whether an audit came to its end, be it with images that cannot be read; 2 alone may mean that it never began."""
    return process.returncode in (0, 2) and (folder / "summary.json").exists()


def watched(process: subprocess.Popen, samples: list[float]) -> None:
    """Megabytes of a process and its children, five times a second, where Linux tells."""
    while process.poll() is None:
        samples.append(sum(resident(number) for number in family(process.pid)))
        time.sleep(0.2)


def family(number: int) -> list[int]:
    try:
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return [number]
    return [number, *(each for child in children for each in family(int(child)))]


def resident(number: int) -> float:
    try:
        return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return 0.0


def killed(arguments: Sequence[str | Path], folder: Path, kills: int, chance: random.Random) -> dict[str, int]:
    """Begin an audit and kill it, again and again, until it was killed so often and came to its end.

    Arguments:
        arguments: Of `wmark audit`, without its folder.
        folder: That of the run; begun anew whenever it came to an end before.
        kills: How often.
        chance: When.

    Returns:
        How often it was killed, how many runs came to an end, and how many shards were written twice.
    """
    counts = {"kills": 0, "finished": 0, "rewritten": 0}
    written: dict[str, int] = {}
    wait = 1.0
    run = 0
    while counts["kills"] < kills or not (folder / f"{run}" / "summary.json").exists():
        here = folder / f"{run}"
        if (here / "summary.json").exists():
            run, written = run + 1, {}
            continue
        process = start([*arguments, "-o", here])
        last = counts["kills"] >= kills
        try:
            process.communicate(timeout=None if last else chance.uniform(0, 2 * wait))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            counts["kills"] += 1
            now = stamps(here)
            wait = wait * 1.5 if now == written else max(1.0, wait * 0.95)  # It has to get somewhere.
            counts["rewritten"] += sum(written[name] != stamp for name, stamp in now.items() if name in written)
            written = now
        else:
            if not ended(process, here):
                raise WmarkError(f"wmark audit ended with {process.returncode} after {counts['kills']} kills")
            counts["finished"] += 1
            wait *= 0.7  # Too late to kill it.
    return {**counts, "runs": run + 1}


def resumed(
    arguments: Sequence[str | Path], folder: Path, shards: int, kills: int, chance: random.Random
) -> dict[str, float]:
    """Kill an audit so often on its way to the end, and measure what that costs.

    Arguments:
        arguments: Of `wmark audit`, without its folder.
        folder: That of the run, which must not exist.
        shards: Of the run. Each process writes two or more before it is killed.
        kills: How often.
        chance: When.

    Returns:
        How often it was killed; the seconds of judging that were lost, since no shard had been written after them; the
        seconds in which processes began again, up to their first shard's images; and those of one shard (median).
    """
    lost: list[float] = []
    beginnings: list[float] = []
    shard_seconds: list[float] = []
    for _ in range(kills):
        begin = time.perf_counter()
        process = start([*arguments, "-o", folder])
        written = shards_written(process, [])
        wanted = chance.randint(2, max(2, shards // kills))
        moments = [moment for moment, _ in islice(written, wanted)]
        if len(moments) < wanted or len(stamps(folder)) == shards:  # There is not enough left to do.
            process.communicate()
            break
        shard_seconds += [after - before for before, after in pairwise(moments)]
        time.sleep(chance.uniform(0, median(shard_seconds)))
        os.killpg(process.pid, signal.SIGKILL)
        lost.append(time.time() - max(stamps(folder).values()) / 1e9)
        beginnings.append(moments[0] - begin)
        process.communicate()
    audited(arguments, folder)
    one = median(shard_seconds or [0.0])
    return {
        "kills": len(lost),
        "lost_seconds": sum(lost),
        "beginning_seconds": sum(beginnings) - one * len(beginnings),
        "shard_seconds": one,
    }


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "shards").glob("*.parquet")}


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run in order, less what clocks put into them."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path).drop_columns([*VOLATILE]) for path in (folder / "shards").glob("*.parquet")]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["row"])
