"""Where `wmark bench audit` measures: the files, and the audits, detectors and loops that are run on them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .audit_lot import Lot
from .audit_runs import Audited, audited

__all__ = ["Place"]

DETECTOR = """
import json, sys, time
import torch
import wmark
from wmark.images import open_image
model, ring, device, align = sys.argv[1], wmark.Keyring.load(sys.argv[2]), sys.argv[4], sys.argv[5]
detector = wmark.Detector(wmark.load_model(model, device=device), names=ring.names(), align=align)
"""
ALONE = """
torch.set_num_threads(1)
pixels = [detector.pixels(open_image(path)) for path in json.loads(sys.argv[3])]
detector.judge(pixels[:2])
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
for start in range(0, len(pixels), 8):
    detector.judge(pixels[start : start + 8])
print(json.dumps([len(pixels), time.perf_counter() - begin]))
"""
LOOP = """
files = json.load(open(sys.argv[3]))
begin, found = time.perf_counter(), 0
for path in files:
    try:
        found += detector.verify(path)[0].found
    except wmark.ImageError:
        pass
print(json.dumps([len(files), time.perf_counter() - begin, found]))
"""


@dataclass(frozen=True)
class Place:
    """What every measurement needs.

    Attributes:
        model: Name or folder of the model.
        device: Where it is.
        ring: The keyring's file.
        lot: The files.
        folder: Where runs are kept.
        align: How images are looked at.
    """

    model: str
    device: str
    ring: Path
    lot: Lot
    folder: Path
    align: str

    def audit(self, sources: Sequence[str | Path], name: str, *options: str | Path) -> Audited:
        """An audit from its beginning to its end."""
        run = self.folder / name
        shutil.rmtree(run, ignore_errors=True)
        return audited([*sources, *self.options, *options], run)

    @property
    def options(self) -> list[str | Path]:
        return ["--keyring", self.ring, "--model", self.model, "--device", self.device, "--align", self.align]

    def alone(self, files: Sequence[Path], processes: int) -> list[tuple[int, float]]:
        """The detector alone in so many processes at once: images and seconds of each."""
        command = self._run(ALONE, json.dumps([*map(str, files)]))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        begun = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(processes)
        ]
        for process in begun:
            process.stdout.readline()
        for process in begun:
            process.stdin.write("\n")
            process.stdin.flush()
        return [tuple(json.loads(process.communicate()[0])) for process in begun]

    def loop(self) -> tuple[int, float, int]:
        """A plain loop over all files: images, seconds, found."""
        listed = self.folder / "files.json"
        listed.write_text(json.dumps([*map(str, self.lot.files)]))
        command = self._run(LOOP, listed)
        return tuple(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))

    def _run(self, what: str, files: str | Path) -> list[str | Path]:
        return [sys.executable, "-c", DETECTOR + what, self.model, self.ring, files, self.device, self.align]
