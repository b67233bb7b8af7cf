"""A short name of a model's weights, by which images, readers and verdicts are told apart."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from torch import nn

from ..files import write_atomically
from .index import ModelFolder

__all__ = ["folder_fingerprint", "weights_fingerprint"]

PARTS = ("text_encoder", "unet", "vae")
SAMPLE = 4096
"""Values of each tensor that a fingerprint of weights in memory looks at."""


def folder_fingerprint(folder: ModelFolder) -> str:
    """SHA-256 over the weights that a model folder's parts are loaded from, shortened to 16 hexadecimal digits.

    Gigabytes take seconds, so it is kept in the user's cache by the files' paths, sizes and times.
    """
    from platformdirs import user_cache_path

    files = [file for part in PARTS for file in _weights(folder.part(part))]
    stats = [(file.resolve(), file.stat()) for file in files]
    state = json.dumps([(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats])
    kept = user_cache_path("wmark") / "fingerprints" / hashlib.sha256(state.encode()).hexdigest()[:32]
    with contextlib.suppress(OSError):
        if len(found := kept.read_text()) == 16:
            return found
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.parent.name}/{file.name}".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    found = digest.hexdigest()[:16]
    with contextlib.suppress(OSError):
        write_atomically(kept, found.encode())
    return found


def weights_fingerprint(*modules: nn.Module) -> str:
    """A name of weights in memory, from the first few thousand values of every tensor: another LoRA, another name.

    It is not the one that :func:`folder_fingerprint` gives to the files of the same weights.
    """
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.flatten()[:SAMPLE].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _weights(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.glob("*.safetensors") if file.name.count(".") == 1)
    return files or sorted(folder.glob("*.bin"))
