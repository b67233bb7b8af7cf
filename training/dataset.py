"""The prepared dataset: shards of re-encoded pictures and a manifest, all that the later stages need.

manifest.json        one entry a picture: source, licence, authors, subject, hash, split, shard
pictures-000.zip     WebP files, named by their hashes
"""

from __future__ import annotations

import io
import itertools
import json
import math
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import ModelError, WmarkError
from ..files import write_atomically
from ..images import to_pixels, to_unit
from ..progress import progress
from .captions import ANY_COLOUR
from .sources import THREADS, Picture, decode

__all__ = ["Pictures", "prepare", "read_manifest"]

SHORT_SIDE = 768
SHARD = 15 << 20
QUALITIES = (92, 88, 84, 80, 75, 70)
CHANNELS = [list(order) for order in itertools.permutations(range(3))]
HELD_OUT = 10
"""One picture in so many is held out, by its hash."""


def prepare(pictures: Sequence[Picture], folder: Path, cap: int) -> dict:
    """Write the prepared dataset.

    Arguments:
        pictures: From :func:`~.sources.find_pictures`.
        folder: Where it is written.
        cap: Largest size in bytes; the quality of the re-encoded pictures is chosen for it.

    Returns:
        The manifest.

    Raises:
        WmarkError: If there are no pictures.
    """
    if not pictures:
        raise WmarkError("there are no usable pictures: at least 512 pixels on the short side, and not empty")
    sample = [
        _encode(image, quality=QUALITIES) for p in pictures[:: max(1, len(pictures) // 24)] if (image := decode(p))
    ]
    totals = [sum(len(versions[i]) for versions in sample) / len(sample) * len(pictures) for i in range(len(QUALITIES))]
    quality = next((q for q, total in zip(QUALITIES, totals, strict=True) if total < 0.95 * cap), QUALITIES[-1])

    entries, files = [], {}
    with progress(len(pictures), "picture") as bar, ThreadPoolExecutor(THREADS) as pool:
        encoded = pool.map(lambda picture: (image := decode(picture)) and _encode(image, quality=[quality]), pictures)
        for picture, versions in zip(pictures, encoded, strict=True):
            bar.update(1)
            if versions is None:
                continue
            (files[picture.hash],) = versions
            held_out = int(picture.hash[:8], 16) % HELD_OUT == 0
            about = ("package", "version", "path", "licence", "authors", "subject", "hash")
            entries.append({**{name: getattr(picture, name) for name in about}, "held_out": held_out})
    shard, size, shards = 0, 0, {}
    for entry in entries:
        size += len(files[entry["hash"]])
        if size > SHARD:
            shard, size = shard + 1, len(files[entry["hash"]])
        entry["shard"] = f"pictures-{shard:03d}.zip"
        shards.setdefault(entry["shard"], []).append(entry["hash"])
    for name, hashes in shards.items():
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for digest in hashes:
                archive.writestr(zipfile.ZipInfo(f"{digest}.webp"), files[digest])
        write_atomically(folder / name, content.getvalue())
    manifest = {"quality": quality, "short_side": SHORT_SIDE, "pictures": entries}
    write_atomically(folder / "manifest.json", (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    return manifest


def read_manifest(folder: Path) -> list[dict]:
    """One entry for each picture of a prepared dataset.

    Raises:
        ModelError: If the folder holds none.
    """
    try:
        return json.loads((folder / "manifest.json").read_text())["pictures"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} is not a prepared dataset: run the stage `data` first") from error


def _encode(image: Image.Image, quality: Sequence[int]) -> list[bytes]:
    scale = SHORT_SIDE / min(image.size)
    if scale < 1:
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
    versions = []
    for q in quality:
        content = io.BytesIO()
        image.save(content, "WEBP", quality=q, method=4)
        versions.append(content.getvalue())
    return versions


class Pictures:
    """One split of a prepared dataset, decoded, on the device.

    Arguments:
        folder: The prepared dataset.
        held_out: Whether to read the held-out pictures in place of those for training.
        device: Where the pictures, 8-bit and of shape (3, H, W), are kept.

    Raises:
        ModelError: If the folder holds no prepared dataset.
    """

    def __init__(self, folder: Path, *, held_out: bool = False, device: str | torch.device = "cpu") -> None:
        entries = read_manifest(folder)
        try:
            self.entries = [entry for entry in entries if entry["held_out"] == held_out]
            self.images = [self._read(folder, entry).to(device) for entry in self.entries]
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{folder} is damaged: run the stage `data` again") from error
        if not self.images:
            raise ModelError(f"{folder} has no {'held-out' if held_out else 'training'} pictures")

    @staticmethod
    def _read(folder: Path, entry: dict) -> Tensor:
        with zipfile.ZipFile(folder / entry["shard"]) as archive:
            return to_pixels(Image.open(io.BytesIO(archive.read(f"{entry['hash']}.webp"))))

    def crops(
        self, count: int, size: int, generator: torch.Generator, largest: float = math.inf
    ) -> tuple[Tensor, list]:
        """Random square crops, half of them mirrored; those that may have any colour with their channels shuffled.

        Arguments:
            count: Number B of crops.
            size: Their side after scaling.
            generator: On the CPU.
            largest: Sides before scaling reach from `size` to this many times `size`, as far as the picture goes.

        Returns:
            Crops with shape (B, 3, size, size) in [-1, 1], and the subject of each.
        """
        chosen = torch.randint(len(self.images), (count,), generator=generator).tolist()
        numbers = torch.rand(count, 5, generator=generator).tolist()
        result = []
        for i, (zoom, down, right, mirror, shuffle) in zip(chosen, numbers, strict=True):
            image = self.images[i]
            height, width = image.shape[1:]
            longest = min(height, width, size * largest)
            side = round(min(size, longest) + zoom * (longest - min(size, longest)))
            top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
            crop = _scale(image[:, top : top + side, left : left + side], size)
            if self.entries[i]["subject"] in ANY_COLOUR:
                crop = crop[CHANNELS[int(shuffle * len(CHANNELS))]]
            result.append(crop.flip(-1) if mirror < 0.5 else crop)
        return torch.stack(result), [self.entries[i]["subject"] for i in chosen]

    def centres(self, size: int) -> Tensor:
        """The central square of every picture, scaled: (N, 3, size, size) in [-1, 1]."""
        squares = []
        for image in self.images:
            height, width = image.shape[1:]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            squares.append(_scale(image[:, top : top + side, left : left + side], size))
        return torch.stack(squares)


def _scale(crop: Tensor, size: int) -> Tensor:
    crop = to_unit(crop)
    if crop.shape[-1] == size:
        return crop
    return F.interpolate(crop[None], size=(size, size), mode="bicubic", antialias=True)[0].clamp(-1, 1)
