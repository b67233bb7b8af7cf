"""`wmark bench throughput`: images a second of `wmark verify` on a mixed lot, against other releases.

Half of the images are marked. Each release verifies the same files, with the same keyring and weights, in a process of
its own that loads and warms up first; the processes take turns, so that a drifting machine hits all alike, and the
ratio is of the medians. `keys` are three discs of radius 16 at strength 0.5, planted in turn, which every release
reads; `names` are what `wmark embed` plants now, in the same prompts, which this release alone reads.
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
from ..watermark.noise import named_noise
from ..watermark.patterns import Pattern
from .corpus import Corpus, Origin, pictures
from .output import Columns, provenance, tabulate, write_results

__all__ = ["Extent", "run"]

COLUMNS: Columns = {
    "release": "{release}",
    "mark": "{mark}",
    "align": "{align}",
    "images": "{images}",
    "found": "{found:.1%}",
    "images/s": "{images_per_second:.2f}",
    "seconds, marked": "{marked:.3f}",
    "unmarked": "{unmarked:.3f}",
    "times": "{ratio:.1f}",
}

KEYS = 3
"""Of a keyring without names."""

WORKER = """
import json, sys, time
import torch, wmark
torch.set_num_threads(int(sys.argv[5]))
model, align, ring, files = sys.argv[1], sys.argv[2], wmark.Keyring.load(sys.argv[3]), json.loads(sys.argv[4])
names = {"names": ring.names()} if getattr(ring, "named", None) else {}
detector = wmark.Detector(wmark.load_model(model, device="cpu"), ring.active(), align=align, **names)
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
        align: As of `wmark verify`, each in turn.
        threads: Threads of each process.
    """

    images: int = 64
    repeats: int = 3
    align: tuple[str, ...] = ("off", "auto")
    threads: int = 2


def run(
    model: LatentDiffusion,
    extent: Extent,
    *,
    against: Sequence[Path],
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `throughput.{csv,json}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and verify with.
        extent: How much is measured.
        against: Python interpreters that have other releases of wmark.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.

    Raises:
        WmarkError: If a release cannot verify.
    """
    about = provenance(model, **asdict(extent), seed=seed, sampling_steps=sampling.steps, size=list(model.native_size))
    results = []
    with TemporaryDirectory() as folder:
        corpus = Corpus(model, sampling, out)
        lots = {ring: Lot.of(ring, corpus, extent.images, seed, Path(folder) / ring) for ring in ("names", "keys")}
        weights, threads, this = str(EMBEDDED.get(model.name, model.name)), str(extent.threads), Path(sys.executable)
        others = [(python.absolute().parents[2].name, "keys", python) for python in against]
        runs = [("this", "names", this), ("this", "keys", this), *others]
        for align in extent.align:
            turns = [
                [verify(python, [weights, align, *lots[mark].arguments, threads], folder) for _, mark, python in runs]
                for _ in range(extent.repeats)
            ]
            each = zip(runs, zip(*turns, strict=True), strict=True)
            rows = [summarise(of, name, mark, align) for (name, mark, _), of in each]
            results += [{**row, "ratio": rows[0]["images_per_second"] / row["images_per_second"]} for row in rows]
    result = {**about, "results": results}
    write_results(out / "throughput", COLUMNS, results, result)
    print(tabulate(COLUMNS, results))
    return result


@dataclass(frozen=True)
class Lot:
    """Files that are verified, every second one marked, and the keyring that they are verified with."""

    ring: Path
    files: tuple[str, ...]

    @classmethod
    def of(cls, mark: str, corpus: Corpus, images: int, seed: int, folder: Path) -> Lot:
        """Generate them with a new keyring's keys or its names, and write them and the keyring to a new folder."""
        ring = Keyring(f"wmark bench throughput {mark}".encode().ljust(32, b"\0"), Pattern.of("disc", 16))
        if mark == "names":
            ring.add_names()
        else:
            for i in range(KEYS):
                ring.add(f"key-{i}")
        model, prompts = corpus.model, draw_prompts(images, seed)

        def origin(i: int) -> Origin:
            if i % 2 or mark == "keys":
                key = None if i % 2 else ring.key(f"key-{i // 2 % KEYS}")
                return Origin.draw(model, prompts[i], 1000 * seed + i, key)
            shape = model.latent_shape(*model.native_size)
            return Origin(prompts[i], named_noise(ring.names(), i, 1000 * seed + i, shape).float())

        files = [folder / f"{i}.png" for i in range(images)]
        folder.mkdir()
        for picture, file in zip(pictures(model, corpus.latents([*map(origin, range(images))])), files, strict=True):
            picture.save(file)
        ring.save(folder / "keyring.json")
        return cls(folder / "keyring.json", tuple(map(str, files)))

    @property
    def arguments(self) -> tuple[str, str]:
        """Of the worker."""
        return str(self.ring), json.dumps(self.files)


def verify(python: Path, arguments: Sequence[str], folder: str) -> dict:
    """What one release says of the files, and the seconds that it takes."""
    environment = {**os.environ, "XDG_DATA_HOME": folder, "PYTHONPATH": ""}
    done = subprocess.run(
        [python, "-c", WORKER, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    if done.returncode:
        raise WmarkError(f"{python} cannot verify: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(turns: Sequence[dict], name: str, mark: str, align: str) -> dict:
    """One release on one lot: medians over its turns."""
    found = np.array([found for found, _ in turns[0]["verdicts"]])
    seconds = np.median([[seconds for _, seconds in turn["verdicts"]] for turn in turns], axis=0)
    return {
        "release": f"{turns[0]['release']}, {name}",
        "mark": mark,
        "align": align,
        "images": len(found),
        "found": float(found[::2].mean()),
        "false": int(found[1::2].sum()),
        "images_per_second": len(found) / float(np.median([turn["seconds"] for turn in turns])),
        "marked": float(np.mean(seconds[::2])),
        "unmarked": float(np.mean(seconds[1::2])),
    }
