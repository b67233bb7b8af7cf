"""A detector of no model, for tests of what surrounds one: red pictures carry the key, blue ones break it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from wmark.audit.schema import SCHEMA
from wmark.audit.specification import Machine, Settings, digest
from wmark.audit.worker import Worker
from wmark.errors import UnfitImage

SPECIFICATION = {"schema": SCHEMA, "model": "none"}


class Detector:
    """Finds red pictures; cannot look at blue ones, nor use green ones."""

    plan = SimpleNamespace(trials=lambda keys, alignments: 10.0)
    keys = (SimpleNamespace(id="studio", pattern=None),)
    names = None

    def __init__(self):
        self.batches = []

    def pixels(self, image):
        if image.getpixel((0, 0))[1] > 200:
            raise UnfitImage("green pictures are not looked at")
        return np.asarray(image.resize((8, 8) if image.width < 100 else (16, 8)))

    def judge(self, images):
        self.batches.append([image.shape for image in images])
        return [verdict(*image.reshape(-1, 3).mean(0)) for image in images]


def verdict(red, green, blue):
    if blue > 200:
        raise RuntimeError("blue\nand more")
    return SimpleNamespace(
        found=bool(red > 200), key_id="studio", key_revoked=None, log10_p=-red / 10, cosine=red / 255, inverted=False,
        alignment=SimpleNamespace(angle=0.0, scale=1.0, mirror=False, shift=(0.0, 0.0)), canvas=(8, 8),
        placed=SimpleNamespace(to_json=lambda: {"words": "as it was marked"}), parts=(),
        look="fast/identity", keys_tested=1, alignments_tested=1, looks_allowed=5, fallbacks=(), seconds=0.01,
        basis=SimpleNamespace(keyring="0123456789abcdef"), evidence=None, names=None, decoys=(),
        mark="0123456789abcdef/key/studio" if red > 200 else None,
    )  # fmt: skip


@dataclass(frozen=True)
class Hire:
    """A worker with such a detector."""

    settings: Settings
    machine: Machine = Machine(decoders=2)  # noqa: RUF009  A frozen value.

    def __call__(self):
        return Worker(Detector(), self.settings, self.machine, digest(SPECIFICATION))


def settings(**changes) -> Settings:
    return Settings(**{"keyring": "ring.json", "key_ids": ("studio",), "decoys": 0, "batch_size": 4, **changes})


def picture(path: Path, colour: tuple[int, int, int], size=(64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def lot(folder: Path, count: int) -> Path:
    """So many pictures, of two sizes: a third red, some broken, one green, one blue."""
    for i in range(count):
        path = folder / f"{i % 3}" / f"{i:04}.png"
        colour = (255 if i % 3 == 0 else math.floor(100 * i / count), 0, 0)
        picture(path, colour, (64, 64) if i % 5 else (128, 64))
        if i % 11 == 7:
            path.write_bytes(path.read_bytes()[:60])
    picture(folder / "green.png", (0, 255, 0))
    picture(folder / "blue.png", (0, 0, 255))
    return folder
