"""Writers killed at random, and racing for one path: `python tests/kills.py pairs --kills 200 --races 60`.

Nothing that was said to be written may be lost, nothing may stand there by halves, an image and its record agree, and
no secret may stay behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def started(work: Callable[[], None]) -> int:
    """Some work in a process of its own: its id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def killed(work: Callable[[], None], seconds: float) -> None:
    child = started(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def keyring(folder: Path, kills: int, races: int, chance: random.Random) -> dict:
    """Edits of one keyring, killed: no key that was added is lost, and nothing is left behind."""
    from wmark.watermark.keyring import Keyring
    from wmark.watermark.patterns import Pattern

    path, said = folder / "keyring.json", folder / "said"
    said.touch()

    def edit():
        with said.open("a") as written:
            while True:
                with Keyring.edit(path, create=Pattern.of()) as ring:
                    key = ring.add()
                print(key.id, file=written, flush=True)

    counts = {"kills": kills, "left behind": 0, "lost": 0, "unreadable": 0}
    for _ in range(kills):
        killed(edit, chance.uniform(0.002, 0.05))
        left = {file.name for file in folder.iterdir()} - {"said", "keyring.json", "keyring.json.lock"}
        counts["left behind"] += bool(left)
        if path.exists():
            try:
                known = {entry.id for entry in Keyring.load(path).entries}
            except Exception as error:
                print(error, file=sys.stderr)
                counts["unreadable"] += 1
                continue
            counts["lost"] += len(set(said.read_text().split()) - known)
            if len(known) > 300:
                path.unlink()
                said.write_text("")
    with Keyring.edit(path, create=Pattern.of()) as ring:
        ring.add()
    counts["left in the end"] = len({file.name for file in folder.iterdir()} - {"said", "keyring.json"})
    counts["wrong"] = counts["lost"] + counts["unreadable"] + counts["left in the end"]
    return counts


def pairs(folder: Path, kills: int, races: int, chance: random.Random) -> dict:
    """Images with records, overwritten and killed, then raced for: image and record agree, and of two one wins."""
    from PIL import Image

    from wmark.errors import ImageError
    from wmark.watermark.record import MarkedImage, check_writable, finished, read_record, record_path

    def marked(number: int) -> MarkedImage:
        image = Image.frombytes("RGB", (64, 64), random.Random(number).randbytes(3 * 64 * 64))
        return MarkedImage(image, {"schema": "wmark-record/1", "seed": number})

    path = folder / "out.png"
    counts = {"kills": kills, "races": races, "old or new": 0, "unfinished": 0, "disagree": 0, "stuck": 0}
    for kill in range(kills):

        def overwrite(first=1000 * kill):
            for number in range(first, first + 1000):
                marked(number).save(path, overwrite=True)

        killed(overwrite, chance.uniform(0.002, 0.05))
        if finished(path):
            counts["old or new"] += 1
        elif not path.exists() and (read_record(path) or not record_path(path).exists()):
            counts["unfinished"] += 1
            try:  # Whoever comes next, with no right to overwrite, finishes it.
                check_writable([path])
                marked(-1).save(path)
            except ImageError as error:
                print(error, file=sys.stderr)
                counts["stuck"] += 1
        else:
            counts["disagree"] += 1
    marked(-1).save(path, overwrite=True)
    counts["left in the end"] = len({file.name for file in folder.iterdir()} - {"out.png", "out.png.json"})

    counts["none or both won"] = counts["not the winner's"] = 0
    for race in range(races):
        path = folder / f"race-{race}.png"
        if race % 2:
            marked(-1).save(path)
            path.unlink()  # As a killed writer leaves it.
        start = time.monotonic() + 0.05

        def save(number, path=path, start=start):
            image = marked(number)
            time.sleep(max(0, start - time.monotonic() + chance.uniform(0, 0.002) * number))
            image.save(path)

        writers = {started(lambda n=number: save(n)): number for number in (1, 2)}
        sys.stderr.flush()
        won = [number for child, number in writers.items() if os.waitpid(child, 0)[1] == 0]
        counts["none or both won"] += len(won) != 1
        counts["not the winner's"] += not finished(path) or [read_record(path)["seed"]] != won
    wrong = ("disagree", "stuck", "left in the end", "none or both won", "not the winner's")
    counts["wrong"] = sum(counts[name] for name in wrong)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["keyring", "pairs"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--races", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    check = {"keyring": keyring, "pairs": pairs}[options.what]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        counts = check(folder, options.kills, options.races, random.Random(options.seed))
    print(json.dumps(counts))
    sys.exit(bool(counts["wrong"]))


if __name__ == "__main__":
    main()
