"""Writers killed at random, and racing for one path: `python tests/kills.py keyring --kills 200`.

Nothing that was said to be written may be lost, nothing may stand there by halves, and no secret may stay behind.
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


def killed(work: Callable[[], None], seconds: float) -> None:
    """Do some work in a process of its own and kill that after a while."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def keyring(folder: Path, kills: int, chance: random.Random) -> dict:
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
                print(error)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["keyring"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        counts = keyring(options.folder or Path(temporary), options.kills, random.Random(options.seed))
    print(json.dumps(counts))
    sys.exit(bool(counts["wrong"]))


if __name__ == "__main__":
    main()
