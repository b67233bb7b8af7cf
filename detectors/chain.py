"""The detector: the stages put together.

    image --decoder inversion--> clean latent --diffusion inversion--> initial noise
          --whiten, align, read--> coordinates --test--> verdict

A :class:`Stage` fixes how the noise is recovered. A *look* is one stage read in one way, where the key was planted
(`identity`) or over the whole grid of alignments (`search`). An effort is a sequence of looks: the detector stops at
the first that is decisive, and every p-value is paid for all looks it was allowed, all keys and all alignments, by the
union bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError, KeyringError
from ..images import open_image, to_tensor
from ..inversion.recovery import Stage, stages
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from ..watermark.spectrum import mask_coordinates
from .alignment import IDENTITY, Alignment, AlignmentSearch
from .statistic import corrected, cosine, hypercone_log10_p
from .verdict import Verdict
from .whitening import whiten

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["ALIGN", "Detector"]

ALIGN: dict[str, tuple[str, ...]] = {"off": ("identity",), "auto": ("identity", "search"), "full": ("search",)}


Size = tuple[int, int]


class Found(NamedTuple):
    """Where a key stands best in one reading."""

    cosine: float
    alignment: Alignment
    canvas: Size


@dataclass(frozen=True)
class Detector:
    """Find which of some keys an image carries.

    Arguments:
        model: The model that is suspected to have made the images.
        keys: The keys to test.
        stages: How the noise is recovered, a sequence from :func:`stages` or the name of an effort.
        align: `off` (as planted), `full` (search rotation, scale, mirror and shift), or `auto`: off first, then full.
        fpr: False-positive rate of a verdict, in (0, 1).
        size: Height and width in pixels that the images were generated at; None takes the model's own.
        keep_noise: Keep the recovered noise in the verdicts, for plots.

    Raises:
        KeyringError: If there are no keys, or a key cannot be tested or does not fit the model.
    """

    model: LatentDiffusion
    keys: Sequence[Key]
    stages: str | Sequence[Stage] = "auto"
    align: str = "auto"
    fpr: float = 1e-6
    size: tuple[int, int] | None = None
    keep_noise: bool = False

    def __post_init__(self) -> None:
        if not self.keys:
            raise KeyringError("there is no active key to test: create one, or name a key")
        if isinstance(self.stages, str):
            object.__setattr__(self, "stages", stages(self.stages))
        if self.align not in ALIGN:
            raise ValueError(f"align {self.align!r} is not one of {', '.join(ALIGN)}")
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr {self.fpr!r} is not between 0 and 1")
        if self.size:
            self.model.latent_shape(*self.size)
        for key in self.keys:
            if key.pattern.dimension < 2:
                raise KeyringError(
                    f"key {key.id!r} has the pattern {key.pattern.kind!r} of dimension {key.pattern.dimension}, "
                    "which cannot tell keys apart: test it with a distance (`wmark bench confusion`), or use a disc"
                )
            if max(key.pattern.channels) >= self.model.channels:
                raise KeyringError(
                    f"key {key.id!r} uses latent channel {max(key.pattern.channels)}, "
                    f"but the model {self.model.name} has {self.model.channels} channels"
                )

    @property
    def looks(self) -> list[tuple[Stage, str]]:
        """Every stage and reading that an image may be looked at with, in order."""
        searchable = any(key.pattern.searchable for key in self.keys)
        readings = ALIGN[self.align] if searchable else ("identity",)
        return [(stage, reading) for stage in self.stages for reading in readings]

    def verify(self, images: Sequence[Image.Image | str | Path], *, batch_size: int = 8) -> list[Verdict]:
        """Verdicts on images, given as paths or Pillow images, in order.

        Raises:
            ImageError: If an image cannot be read or used.
        """
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        return [verdict for batch in batches for verdict in self.verify_batch([open_image(image) for image in batch])]

    def verify_batch(self, images: Sequence[Image.Image]) -> list[Verdict]:
        """Verdicts on upright RGB images, all looked at together as far as their sizes agree."""
        sizes = [self.working_size(image) for image in images]
        verdicts: dict[int, Verdict] = {}
        for size in dict.fromkeys(sizes):
            members = [i for i, s in enumerate(sizes) if s == size]
            tensors = torch.stack([to_tensor(fit(images[i], size)) for i in members])
            verdicts |= dict(zip(members, self._judge(tensors), strict=True))
        return [verdicts[i] for i in range(len(images))]

    def working_size(self, image: Image.Image) -> tuple[int, int]:
        """Height and width in pixels at which an image is inverted.

        The size it was generated at, if that is given. Else its own, if a model of this size could have made it
        (sides that are multiples of the downsampling factor, area from 1/2 to 2 times the native one). Else the
        native size, or for another aspect ratio the largest that fits into it.

        Raises:
            ImageError: If the image is longer than 4:1.
        """
        if self.size:
            return self.size
        width, height = image.size
        if max(width, height) > 4 * min(width, height):
            raise ImageError(f"an image of {width}x{height} pixels is too narrow: crop it to less than 4:1")
        f, (native_height, native_width) = self.model.downsampling, self.model.native_size
        share = width * height / (native_width * native_height)
        if width % f == 0 and height % f == 0 and 0.5 <= share <= 2:
            return height, width
        ratio = min(native_width / width, native_height / height)
        return max(f, round(height * ratio / f) * f), max(f, round(width * ratio / f) * f)

    def _judge(self, images: Tensor) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(images)
        seconds = [0.0] * len(images)
        looks = self.looks
        noise: dict[int, Tensor] = {}
        stage_of_noise: Stage | None = None
        for stage, reading in looks:
            open_cases = [i for i, verdict in enumerate(verdicts) if verdict is None or not verdict.found]
            if not open_cases:
                break
            if stage != stage_of_noise:
                begin = time.perf_counter()
                recovered = stage.recover(self.model, images[open_cases])
                noise, stage_of_noise = dict(zip(open_cases, recovered, strict=True)), stage
                for i in open_cases:
                    seconds[i] += (time.perf_counter() - begin) / len(open_cases)
            for i in open_cases:
                begin = time.perf_counter()
                verdict = self._look(noise[i], f"{stage.name}/{reading}", reading, len(looks))
                seconds[i] += time.perf_counter() - begin
                best = verdicts[i]
                if best is None or verdict.log10_p < best.log10_p:
                    verdicts[i] = verdict
        return [replace(verdict, seconds=s) for verdict, s in zip(verdicts, seconds, strict=True)]

    def _look(self, noise: Tensor, name: str, reading: str, looks: int) -> Verdict:
        """The best of all keys in one reading of one image's noise (C, h, w)."""
        tested = []
        for pattern, keys in _by_pattern(self.keys).items():
            search = reading == "search" and pattern.searchable
            canvases = self.canvases(noise, pattern)
            read = pattern.prepare(noise[None], whiten)[0]
            best, alignments = self._search(read, keys, canvases) if search else self._read(read, keys, canvases[0])
            for key, found in zip(keys, best, strict=True):
                trials = float(len(self.keys)) * alignments * looks
                log10_p = corrected(hypercone_log10_p(found.cosine, pattern.dimension), trials)
                tested.append((log10_p, -found.cosine, key.id, found, alignments))
        log10_p, _, key_id, found, alignments = min(tested, key=lambda row: row[:2])
        pattern_of = {key.id: key.pattern for key in self.keys}
        return Verdict(
            found=log10_p <= math.log10(self.fpr),
            key_id=key_id,
            log10_p=log10_p,
            cosine=found.cosine,
            alignment=found.alignment,
            look=name,
            keys=len(self.keys),
            alignments=alignments,
            looks=looks,
            fpr=self.fpr,
            seconds=0.0,
            canvas=found.canvas,
            noise=pattern_of[key_id].prepare(noise[None], whiten)[0] if self.keep_noise else None,
        )

    def _read(self, noise: Tensor, keys: Sequence[Key], canvas: Size) -> tuple[list[Found], int]:
        """Each key where it was planted, the one place that was tried."""
        coordinates = self.coordinates(noise, keys[0].pattern, canvas)
        return [Found(float(cosine(coordinates, key.direction)), IDENTITY, canvas) for key in keys], 1

    def _search(self, noise: Tensor, keys: Sequence[Key], canvases: Sequence[Size]) -> tuple[list[Found], int]:
        """The best alignment of each key over all canvases, and how many alignments were tried."""
        searches = [alignment_search(canvas) for canvas in canvases]
        best = [[Found(*found, search.canvas) for found in search.best(noise, keys)] for search in searches]
        return [max(found, key=lambda f: f.cosine) for found in zip(*best, strict=True)], sum(s.count for s in searches)

    def canvases(self, noise: Tensor, pattern: Pattern) -> list[Size]:
        """Heights and widths of the noise that a key may have been planted in, for one image's noise (C, h, w).

        The noise's own size, if the pattern fits into it, and the model's; only the stated one if a size was stated.
        """
        own = tuple(noise.shape[-2:])
        native = self.model.latent_shape(*(self.size or self.model.native_size))[1:]
        return list(dict.fromkeys([own, native] if 2 * pattern.radius < min(own) else [native]))

    def coordinates(self, noise: Tensor, pattern: Pattern, canvas: Size, alignment: Alignment = IDENTITY) -> np.ndarray:
        """Coordinates (d,) of one image's noise (C, h, w) on a canvas, an alignment undone."""
        return pattern.project(self.masked_coordinates(noise, pattern, canvas, alignment)[None])[0].numpy()

    def masked_coordinates(
        self, noise: Tensor, pattern: Pattern, canvas: Size, alignment: Alignment = IDENTITY
    ) -> Tensor:
        """Masked coordinates (channels, n, 2), float64, of one image's noise (C, h, w) on a canvas."""
        if alignment == IDENTITY and canvas == tuple(noise.shape[-2:]):
            return mask_coordinates(noise[None], pattern)[0]
        return alignment_search(canvas).coordinates(noise, pattern, alignment).double()


@lru_cache(maxsize=8)
def alignment_search(canvas: Size) -> AlignmentSearch:
    """The search over a canvas, its grid kept from image to image."""
    return AlignmentSearch(canvas)


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image resized to (height, width) pixels, if it is not of that size."""
    height, width = size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _by_pattern(keys: Sequence[Key]) -> dict[Pattern, list[Key]]:
    groups: dict[Pattern, list[Key]] = {}
    for key in keys:
        groups.setdefault(key.pattern, []).append(key)
    return groups
