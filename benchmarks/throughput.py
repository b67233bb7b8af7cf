"""`wmark bench throughput`: images a second of `wmark verify` on a mixed lot, against other releases.

Half of the images are marked. Each release verifies the same files, with the same key and weights, in a process of its
own that loads and warms up first; the processes take turns, so that a drifting machine hits all alike, and the ratio is
of the medians. The marks are discs of radius 16 at strength 0.5, which every release reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..errors import WmarkError
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.registry import EMBEDDED
from ..models.sampling import Sampling
from ..watermark.keyring import Keyring
from ..watermark.patterns import Disc
from .corpus import Corpus, Origin, pictures
from .output import Columns, provenance, tabulate, write_results

__all__ = ["Extent", "run"]

COLUMNS: Columns = {
    "release": "{release}",
    "align": "{align}",
    "images": "{images}",
    "found": "{found:.1%}",
    "images/s": "{images_per_second:.2f}",
    "seconds, marked": "{marked:.3f}",
    "unmarked": "{unmarked:.3f}",
    "times": "{ratio:.1f}",
}

WORKER = """
import json, sys, time
import torch, wmark
torch.set_num_threads(int(sys.argv[5]))
model, align, ring, files = sys.argv[1], sys.argv[2], wmark.Keyring.load(sys.argv[3]), json.loads(sys.argv[4])
detector = wmark.Detector(wmark.load_model(model, device="cpu"), ring.active(), align=align)
detector.verify(files[:2])
begin = time.perf_counter()
verdicts = detector.verify(files)
spent = time.perf_counter() - begin
rows = [[verdict.found, verdict.seconds] for verdict in verdicts]
print(json.dumps({"release": wmark.__version__, "seconds": spent, "verdicts": rows}))
"""


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Arguments:
        images: Images verified, half of them marked.
        repeats: Turns of each release; the median counts.
        threads: Threads of each process.
    """

    images: int = 64
    repeats: int = 3
    threads: int = 2


def run(
    model: LatentDiffusion,
    extent: Extent,
    *,
    align: str,
    against: Sequence[Path],
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `throughput.{csv,json}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and verify with.
        extent: How much is measured.
        align: As of `wmark verify`.
        against: Python interpreters that have other releases of wmark.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.

    Raises:
        WmarkError: If a release cannot verify.
    """
    images = extent.images
    about = provenance(
        model, **asdict(extent), align=align, seed=seed, sampling_steps=sampling.steps, size=list(model.native_size)
    )
    ring = Keyring(b"wmark bench throughput".ljust(32, b"\0"), Disc())
    key = ring.add("key-1")
    corpus, prompts = Corpus(model, sampling, out), draw_prompts(images, seed)
    keys = [key if i % 2 == 0 else None for i in range(images)]
    origins = [Origin.draw(model, p, 1000 * seed + i, k) for i, (p, k) in enumerate(zip(prompts, keys, strict=True))]
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.png" for i in range(images)]
        for picture, file in zip(pictures(model, corpus.latents(origins)), files, strict=True):
            picture.save(file)
        ring.save(Path(folder) / "keyring.json")
        releases = [Path(sys.executable), *against]
        weights = str(EMBEDDED.get(model.name, model.name))
        arguments = [
            weights,
            align,
            str(Path(folder) / "keyring.json"),
            json.dumps([*map(str, files)]),
            str(extent.threads),
        ]
        turns = [[verify(python, arguments, folder) for python in releases] for _ in range(extent.repeats)]
    results = [summarise([turn[i] for turn in turns], align) for i in range(len(releases))]
    for row in results:
        row["ratio"] = results[0]["images_per_second"] / row["images_per_second"]
    result = {**about, "results": results}
    write_results(out / "throughput", COLUMNS, results, result)
    print(tabulate(COLUMNS, results))
    return result


def verify(python: Path, arguments: Sequence[str], folder: str) -> dict:
    """What one release says of the files, and the seconds that it takes."""
    environment = {**os.environ, "XDG_DATA_HOME": folder, "PYTHONPATH": ""}
    done = subprocess.run(
        [python, "-c", WORKER, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    if done.returncode:
        raise WmarkError(f"{python} cannot verify: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(turns: Sequence[dict], align: str) -> dict:
    """One release: medians over its turns."""
    found = np.array([found for found, _ in turns[0]["verdicts"]])
    seconds = np.median([[seconds for _, seconds in turn["verdicts"]] for turn in turns], axis=0)
    return {
        "release": turns[0]["release"],
        "align": align,
        "images": len(found),
        "found": float(found[::2].mean()),
        "false": int(found[1::2].sum()),
        "images_per_second": len(found) / float(np.median([turn["seconds"] for turn in turns])),
        "marked": float(np.mean(seconds[::2])),
        "unmarked": float(np.mean(seconds[1::2])),
    }
