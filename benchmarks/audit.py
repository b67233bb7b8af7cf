"""`wmark bench audit`: images a second, cores, memory and kills of `wmark audit` on a mixed lot of files.

Everything is measured on the same files in the same run. Audits are processes of their own, as a user starts them;
rates are taken between the first shard and the last, so that loading a model doesn't count; seconds include it. Beside
them:

    plain loop    `Detector.verify` file by file, in one process with as many threads as the machine has cores
    cascade       the detector alone on unmarked pixels that are decoded already, in batches, one thread
    two cores     the same in two processes at once: what a second core gives to plain inference
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..models.latent_diffusion import LatentDiffusion
from ..models.registry import EMBEDDED
from ..models.sampling import Sampling
from ..watermark.keyring import Keyring
from ..watermark.patterns import Pattern
from .audit_lot import write_lot
from .audit_place import Place
from .audit_runs import Audited, audited, killed, resumed, rows
from .corpus import Corpus
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["Extent", "run"]

COLUMNS: Columns = {
    "what": "{what}",
    "images": "{images}",
    "images/s": "{rate:.2f}",
    "seconds": "{seconds:.0f}",
    "read": "{read:.1%}",
    "decode": "{decode:.1%}",
    "verdict": "{verdict:.1%}",
    "MB": "{memory:.0f}",
}

SHARD = 16
"""Images of a shard where going on is measured: what an audit of 2,000 files takes unless told otherwise."""


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Arguments:
        images: Files of the lot.
        killed_images: Files of the runs that are killed.
        kills: How often.
        repeated: Images over which memory is watched, the lot's files again and again.
        align: As of `wmark audit`; memory is watched, and runs are killed, with `off`.
        resumed: How often an audit of all files is killed and gone on with, to see what that costs.
    """

    images: int = 2000
    killed_images: int = 200
    kills: int = 100
    repeated: int = 10_000
    align: str = "off"
    resumed: int = 10


def run(
    model: LatentDiffusion,
    extent: Extent,
    *,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `audit.{csv,json}`; returns what the JSON holds.

    Arguments:
        model: The model to generate with; audits load it again.
        extent: How much is measured.
        seed: Seed of prompts, noise, damages and kills.
        out: Folder of the results.
        sampling: How images are generated.

    Raises:
        WmarkError: If an audit cannot come to its end.
    """
    about = provenance(model, **asdict(extent), seed=seed, sampling_steps=sampling.steps)
    folder = out / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    ring = Keyring(b"wmark bench audit".ljust(32, b"\0"), Pattern.of())
    ring.add_names()
    ring.save(folder / "keyring.json")
    lot = write_lot(Corpus(model, sampling, out), ring.names(), folder / "lot", extent.images, seed)
    name = str(EMBEDDED.get(model.name, model.name))
    place = Place(name, str(model.device), folder / "keyring.json", lot, folder, extent.align)
    kept = Rows(
        out / "audit.jsonl",
        {**asdict(extent), "seed": seed, "model": model.fingerprint, "layout": repr(ring.names().layout)},
        ["what"],
    )
    for what, measure in measurements(place, extent, seed).items():
        if (what,) not in kept:
            kept.add({"what": what, **measure()})
    found = {row["what"]: row for row in kept.rows.values()}
    result = {**about, "results": [*found.values()], "claims": claims(found)}
    shown = [row for row in found.values() if "rate" in row]
    write_results(out / "audit", COLUMNS, shown, result)
    print(tabulate(COLUMNS, shown))
    for claim, value in result["claims"].items():
        print(f"{claim}: {value}")
    return result


def measurements(place: Place, extent: Extent, seed: int) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """What is measured, by name and in order."""
    lot, unmarked = place.lot, place.lot.unmarked[:64]
    engines = ["local", *(["ray"] if find_spec("ray") else [])]
    found: dict[str, Callable[[], dict[str, Any]]] = {
        "plain loop": lambda: of_loop(place),
        "cascade, unmarked": lambda: of_processes(place.alone(unmarked, 1)),
        "cascade, two cores": lambda: of_processes(place.alone(unmarked, 2)),
        "audit, unmarked": lambda: of_run(place.audit([*unmarked], "unmarked", "--decoders", "1")),
    }
    for engine in engines:
        for workers in (1, 2):
            options = ("--engine", engine, "--workers", str(workers))
            name = f"{engine}, {workers} worker{'s' * (workers > 1)}"
            found[name] = lambda options=options, name=name: of_run(
                place.audit([lot.folder], name.replace(", ", "-").replace(" ", "-"), *options)
            )
    found["memory"] = lambda: of_repeated(place, extent.repeated)
    found["resume"] = lambda: of_resumed(place, extent, seed)
    found["kills"] = lambda: of_kills(place, extent, seed)
    return found


def of_run(done: Audited) -> dict[str, Any]:
    seconds = done.summary["seconds"]
    busy = sum(seconds[stage] for stage in ("read", "decode", "verdict")) or 1.0
    return {
        "images": done.images,
        "rate": done.rate,
        "seconds": done.seconds,
        **{stage: seconds[stage] / busy for stage in ("read", "decode", "verdict")},
        "verdict_seconds": seconds["verdict"] / max(1, done.summary["totals"]["looked_at"]),
        "memory": done.memory[1],
        "found": done.summary["totals"]["found"],
        "failed": done.summary["totals"]["failed"],
    }


def of_loop(place: Place) -> dict[str, Any]:
    images, seconds, found = place.loop()
    return {**bare(images, seconds), "found": found}


def of_processes(done: Sequence[tuple[int, float]]) -> dict[str, Any]:
    return bare(sum(images for images, _ in done), max(seconds for _, seconds in done))


def bare(images: int, seconds: float) -> dict[str, Any]:
    """A measurement of the detector alone, of which stages are not known."""
    rate = images / seconds
    return {"images": images, "rate": rate, "seconds": seconds, "read": 0, "decode": 0, "verdict": 1, "memory": 0}


def of_repeated(place: Place, images: int) -> dict[str, Any]:
    """Memory over many images: the same files again and again, under a list."""
    listed = place.folder / "repeated.txt"
    files = place.lot.files
    listed.write_text("".join(f"{files[number % len(files)]}\n" for number in range(images)))
    done = place.audit([], "repeated", "--list", listed, "--effort", "fast", "--align", "off")
    return {**of_run(done), "memory_early": done.memory[0], "memory_late": done.memory[1]}


def of_resumed(place: Place, extent: Extent, seed: int) -> dict[str, Any]:
    """What it costs that an audit of all files, by one worker, is killed and gone on with."""
    folder = place.folder / "resumed"
    shutil.rmtree(folder, ignore_errors=True)
    images = len(place.lot.files)
    shards = math.ceil(images / SHARD)
    options = [place.lot.folder, *place.options, "--shard-size", str(SHARD)]
    cost = resumed(options, folder, shards, extent.resumed, random.Random(seed))
    return {"images": images, "shards": shards, **cost}


def of_kills(place: Place, extent: Extent, seed: int) -> dict[str, Any]:
    """Killed at random and gone on with: every row once, none lost, none changed."""
    sources = [*place.lot.files[: extent.killed_images]]
    options = [*sources, *place.options, "--effort", "fast", "--align", "off", "--decoys", "0"]
    folder = place.folder / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    whole = place.folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    audited(options, whole)
    begin = time.perf_counter()
    counts = killed(options, folder, extent.kills, random.Random(seed))
    expected = rows(whole)
    same = all(rows(folder / str(number)) == expected for number in range(counts["runs"]))
    return {**counts, "same_rows": same, "kill_seconds": time.perf_counter() - begin}


def claims(found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures that were asked for."""
    rate = {what: row["rate"] for what, row in found.items() if "rate" in row}
    plain = rate["cascade, two cores"] / rate["cascade, unmarked"]
    kills, memory, resume = found["kills"], found["memory"], found["resume"]
    said = {
        "times a plain loop, 1 worker": round(rate["local, 1 worker"] / rate["plain loop"], 2),
        "times a plain loop, 2 workers": round(rate["local, 2 workers"] / rate["plain loop"], 2),
        "two cores give plain inference": round(plain, 2),
        "efficiency of 2 workers of that": round(rate["local, 2 workers"] / rate["local, 1 worker"] / plain, 2),
        "unmarked image, audit over cascade": round(rate["cascade, unmarked"] / rate["audit, unmarked"], 2),
        "memory in MB, early and late": [round(memory["memory_early"]), round(memory["memory_late"])],
        "kills": kills["kills"],
        "shards written twice": kills["rewritten"],
        "every row once and the same": kills["same_rows"],
    }
    if interrupted := resume["kills"]:
        work = resume["shards"] * resume["shard_seconds"]
        said["share of the work that is done twice, a kill"] = round(resume["lost_seconds"] / interrupted / work, 4)
        said["seconds to begin again, a kill"] = round(resume["beginning_seconds"] / interrupted, 1)
    if "ray, 2 workers" in rate:
        said["Ray over local, 2 workers"] = round(rate["ray, 2 workers"] / rate["local, 2 workers"], 2)
    return said
