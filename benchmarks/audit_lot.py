"""Files for audits: marked and unmarked pictures, whole and damaged, and some that nobody can read."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..attacks import damaged
from ..models.prompts import draw_prompts
from ..watermark.names import Names
from ..watermark.noise import named_noise
from .corpus import Corpus, Origin, pictures

__all__ = ["Lot", "write_lot"]

DAMAGES = ("none", "none", "jpeg:25", "blur:4", "noise:0.1", "brightness:2", "crop:80", "mirror", "rotation:7")
BROKEN = 0.15
GENERATED = 128


@dataclass(frozen=True)
class Lot:
    """Some files.

    Attributes:
        folder: Where they are.
        files: All of them, in order.
        marked, unmarked: Those of them that can be read.
    """

    folder: Path
    files: tuple[Path, ...]
    marked: tuple[Path, ...]
    unmarked: tuple[Path, ...]


def write_lot(corpus: Corpus, names: Names, folder: Path, count: int, seed: int) -> Lot:
    """So many files, half of them marked, every seventh broken; what a seed draws stays the same.

    Up to 128 pictures are generated, and each is damaged anew for every file that shows it.

    Arguments:
        corpus: What generates pictures, and keeps them.
        names: Those that the marked ones are given, one each.
        folder: Where files are written.
        count: How many.
        seed: Seed of prompts, noise and damages.
    """
    originals = generate(corpus, names, min(count, GENERATED), seed)
    draw = np.random.default_rng(seed)
    files, marked, unmarked = [], [], []
    for number in range(count):
        image, carries = originals[number % len(originals)], number % 2 == 0
        name, broken = DAMAGES[draw.integers(len(DAMAGES))], draw.random() < BROKEN
        suffix = ".png" if draw.random() < 0.5 else ".jpg"
        path = folder / f"{number // 500:03}" / f"{number:06}{suffix}"
        content = encoded(damaged(name, image, seed=int(draw.integers(2**31))), suffix)
        if broken:
            content = (b"", b"words\n" * 50, content[: len(content) // 3])[draw.integers(3)]
        else:
            (marked if carries else unmarked).append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        files.append(path)
    return Lot(folder, tuple(files), tuple(marked), tuple(unmarked))


def generate(corpus: Corpus, names: Names, count: int, seed: int) -> list[Image.Image]:
    """Pictures, named and unmarked in turn."""
    prompts = draw_prompts(count, seed)
    origins = [Origin.draw(corpus.model, prompt, 1000 * seed + i) for i, prompt in enumerate(prompts)]
    for i in range(0, count, 2):
        noise = named_noise(names, i, 1000 * seed + i, origins[i].noise.shape)
        origins[i] = replace(origins[i], noise=noise.float())
    return pictures(corpus.model, corpus.latents(origins))


def encoded(image: Image.Image, suffix: str) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG") if suffix == ".png" else image.save(file, "JPEG", quality=90)
    return file.getvalue()
