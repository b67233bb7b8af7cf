"""Readings of pictures, kept on disk: what every key is compared with, so that no p-value need be stored.

A reading is kept at unit mean square in half precision, in one of 256 shards by the first digits of its picture's hash,
in a folder of all that it depends on. An interrupted run goes on with the shards that are missing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..detectors.detector import Detector
from ..detectors.geometry import Size
from ..detectors.reading import aligned, prepare
from ..errors import WmarkError
from ..files import sha256, write_atomically
from ..images import open_image
from ..images.synthetic import SYNTHETIC, synthetic
from ..inversion.chain import recover
from ..inversion.recovery import FAST, Recovery
from ..models.latent_diffusion import LatentDiffusion
from ..progress import progress
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import mask_coordinates
from .corpus import Corpus, pictures, unseen_latents
from .null_sources import Picture
from .null_statistics import span

__all__ = ["Readings", "Subject", "decoded", "null_keys", "own", "real", "synthetics"]

BATCH = 4


@dataclass(frozen=True)
class Subject:
    """A picture that carries no mark: what it is, a hash that tells it from others, and how it is opened."""

    kind: str
    hash: str
    load: Callable[[], Image.Image] = field(compare=False)


def null_keys(count: int, pattern: Pattern) -> list[Key]:
    """Keys of a fixed secret that nothing carries."""
    return [Key.derive(b"wmark bench null".ljust(32, b"\0"), f"null-{i}", pattern) for i in range(count)]


def real(found: Sequence[Picture]) -> list[Subject]:
    """Pictures of packages."""
    return [Subject(picture.kind, picture.hash, lambda file=picture.file: open_image(file)) for picture in found]


def synthetics(count: int, size: tuple[int, int]) -> list[Subject]:
    """So many synthetic pictures of each kind, of (height, width) pixels."""
    return [
        Subject(kind, sha256(f"{kind} {number} {size}".encode()), lambda k=kind, n=number: synthetic(k, n, size))
        for kind in SYNTHETIC
        for number in range(count)
    ]


def own(corpus: Corpus, count: int, seed: int) -> list[Subject]:
    """Pictures of the model that carry no key, of prompts that no tuning has seen."""
    if not count:
        return []
    return decoded("model", corpus.model, unseen_latents(corpus, count, seed))


def decoded(kind: str, model: LatentDiffusion, latents: Tensor) -> list[Subject]:
    """Pictures of a kind, each decoded from its latent when it is opened."""

    def subject(latent: Tensor) -> Subject:
        return Subject(kind, sha256(latent.numpy().tobytes()), lambda: pictures(model, latent[None])[0])

    return [subject(latent) for latent in latents]


class Readings:
    """Coordinates of pictures where a key would have been planted.

    Arguments:
        model: The model that is taken to have made the pictures.
        pattern: Where keys of this pattern are read.
        folder: They are kept in its subfolder `readings`.
    """

    def __init__(self, model: LatentDiffusion, pattern: Pattern, folder: Path) -> None:
        self.model, self.pattern, self.folder = model, pattern, folder
        # As the detector sizes a picture and chooses its canvas, whatever the key.
        self.detector = Detector(model, null_keys(1, pattern), [FAST])

    def of(self, recovery: Recovery, subjects: Sequence[Subject]) -> np.ndarray:
        """Coordinates (N, d), float16, at unit mean square, read from what was recovered unless they were kept.

        Raises:
            WmarkError: If a reading is not finite.
        """
        folder = self.folder / "readings" / f"{recovery.name.replace('/', '+')}-{self._digest(recovery)}"
        shards: dict[str, list[Subject]] = {}
        for subject in subjects:
            shards.setdefault(subject.hash[:2], []).append(subject)
        found: dict[str, np.ndarray] = {}
        with progress(len(subjects), "picture") as bar:
            for name, members in sorted(shards.items()):
                path = folder / f"{name}.npz"
                kept = _load(path)
                missing = [subject for subject in members if subject.hash not in kept]
                if missing:
                    kept |= self._read(recovery, missing)
                    content = io.BytesIO()
                    np.savez(content, hashes=np.array(list(kept)), coordinates=np.stack(list(kept.values())))
                    write_atomically(path, content.getvalue())
                found |= kept
                bar.update(len(members))
        return np.stack([found[subject.hash] for subject in subjects])

    def pixels(self, subject: Subject) -> Tensor:
        """A picture as it is inverted: uint8, with shape (3, H, W)."""
        return self.detector.pixels(subject.load())

    def shipped(self, recovery: Recovery) -> np.ndarray | None:
        """Directions (K, d) that unmarked readings have in common, as the model's reader holds them, if it does."""
        common = self.detector.looker.common(recovery)
        if common is None:
            return None
        canvas = tuple(common.shape[-2:])
        return span(self.whole(mask_coordinates(common, self.pattern.fitted(canvas)), canvas).numpy())

    def whole(self, masked: Tensor, canvas: Size) -> Tensor:
        """Coordinates (B, d) of the whole pattern from masked ones on a canvas, 0 where it holds no such frequency.

        A key's cosine with them is that of the part that the canvas holds, less by the root of the share of dimensions,
        and so as far out in standard deviations: p-values can be told without asking for the canvas.
        """
        everywhere = masked.new_zeros(len(masked), masked.shape[1], len(self.pattern.lattice), 2, dtype=torch.float64)
        everywhere[:, :, torch.from_numpy(self.pattern.fitted(canvas).held)] = masked.double()
        return self.pattern.project(everywhere.cpu())

    @torch.no_grad()
    def _read(self, recovery: Recovery, subjects: Sequence[Subject]) -> dict[str, np.ndarray]:
        images = {subject.hash: self.pixels(subject) for subject in subjects}
        result: dict[str, np.ndarray] = {}
        for shape in dict.fromkeys(image.shape for image in images.values()):
            hashes = [digest for digest, image in images.items() if image.shape == shape]
            for start in range(0, len(hashes), BATCH):
                part = hashes[start : start + BATCH]
                recovered = recover(self.model, recovery, torch.stack([images[digest] for digest in part]))
                noise = prepare(recovered, self.pattern)
                canvas = self.detector.canvases(tuple(noise.shape[-2:]), self.pattern)[0].size
                masked = torch.stack([aligned(one, self.pattern.fitted(canvas), canvas) for one in noise])
                coordinates = self.whole(masked, canvas)
                level = coordinates.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-300)
                values = (coordinates / level).numpy().astype(np.float16)
                if not np.isfinite(values).all():
                    raise WmarkError(
                        f"{recovery.name} reads something that is not finite: the model's weights are broken"
                    )
                result |= dict(zip(part, values, strict=True))
        return result

    def _digest(self, recovery: Recovery) -> str:
        model, reader = self.model, self.model.reader
        made = [model.fingerprint, model.left_inverse_fingerprint, reader.fingerprint if reader else None]
        about = [made, str(model.dtype), list(model.native_size), asdict(recovery), self.pattern.to_json()]
        return sha256(json.dumps(about, sort_keys=True, default=str).encode())[:16]


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as shard:
            return dict(zip(shard["hashes"].tolist(), shard["coordinates"], strict=True))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise WmarkError(f"{path} is damaged: delete it to read its pictures anew") from error
