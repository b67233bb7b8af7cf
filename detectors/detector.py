"""The detector: the rooms put together.

    image --decoder inversion--> clean latent --diffusion inversion--> initial noise
          --whiten, align, read--> coordinates --test--> verdict

How noise is recovered is :mod:`..inversion`, which looks are tried is :mod:`.plan`, at which sizes :mod:`.geometry`,
what one look finds :mod:`.looking`, where a key stands :mod:`.reading`, whose name :mod:`.identity`, what that is worth
:mod:`.statistic`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import ArgumentError, KeyringError
from ..images import open_image, to_pixels
from ..inversion.chain import Recovered
from ..inversion.recovery import Recovery
from ..models.clock import clock
from ..version import __version__
from ..watermark.keys import Key, check_key
from ..watermark.names import Names
from ..watermark.patterns import Pattern
from .alignment import IDENTITY
from .following import Seen, recover_whole
from .geometry import Canvas, Size, canvases, fit, working_size
from .looking import Finding, Looker, Sought
from .plan import Look, Plan, plan
from .pyramid import AREAS, EVERY_AREA, Levels, bounded, sizes
from .reading import Standing, evidence, prepare
from .verdict import Basis, Evidence, Verdict, together_with

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Detector"]

Picture = Image.Image | str | bytes | os.PathLike


MOSTLY = 0.8
"""Share of a picture that a marked part of it fills, below which others are looked for."""


ENOUGH = -90.0
"""log10 p from which a picture that was found where a pilot led is not brought back and read once more."""


@dataclass(frozen=True)
class Detector:
    """Find which of some keys an image carries, and whose name.

    Arguments:
        model: The model that is suspected to have made the images.
        keys: The keys to test; one, several, or none if there are names.
        effort: `fast` (one call of the encoder where the model has a learned reader), `auto` (that first, then what
            pays on this model, as far as there is hope) or `exact` (the paper's chain); or how the noise is recovered,
            each tried in turn.
        align: `off` (as planted), `full` (search rotation, scale, mirror and shift), or `auto`: off first, then full.
        fpr: False-positive rate of a verdict, in (0, 1).
        size: Height and width in pixels that the images were generated at; None tries the likely ones.
        keep_evidence: Keep in the verdicts what was seen, for plots.
        names: The names to test, of a keyring that has some: `keyring.names()`.
        decoys: Keyrings that exist nowhere to test in the same way beside all this, for a rate of false positives.

    Raises:
        KeyringError: If there is nothing to test, or a key cannot be tested or does not fit the model.
        WmarkError: If an option is not possible.
    """

    model: LatentDiffusion
    keys: Key | Sequence[Key] = ()
    effort: str | Sequence[Recovery] = "auto"
    align: str = "auto"
    fpr: float = 1e-6
    size: Size | None = None
    keep_evidence: bool = False
    names: Names | None = None
    decoys: int = 0

    def __post_init__(self) -> None:
        several = isinstance(self.keys, Iterable) and not isinstance(self.keys, str)
        keys = tuple(self.keys) if several else (self.keys,)
        object.__setattr__(self, "keys", keys)
        if not (keys or self.names):
            raise KeyringError("there is no active key to test: create one, or name a key")
        if self.size is not None:
            object.__setattr__(self, "size", self.model.meant_size(self.size))
        for key in keys:
            check_key(key)
            check(key, self.model, self.size)
        if self.names:
            check(self.names.pilot, self.model, self.size)
        self.plan  # noqa: B018  Refuses what is not possible.

    @cached_property
    def sought(self) -> list[Sought]:
        """What is looked for, and after it the decoys."""
        real = Sought(self.keys, self.names)
        return [real, *(real.decoy(i) for i in range(self.decoys))]

    @cached_property
    def plan(self) -> Plan:
        """The looks that every image is allowed."""
        real = self.sought[0]
        return plan(
            self.effort, self.align, self.fpr, patterns=real.patterns, reader=self.model.reader, pilots=real.piloted
        )

    @cached_property
    def looker(self) -> Looker:
        """How noise is looked at."""
        return Looker(self.model, self.plan, self.canvases, self.expected)

    @cached_property
    def basis(self) -> Basis:
        """What every verdict rests on, the key's keyring aside."""
        model = self.model
        return Basis(
            model=model.name,
            model_fingerprint=model.fingerprint,
            left_inverse_fingerprint=model.left_inverse_fingerprint,
            reader_fingerprint=model.reader.fingerprint if model.reader else None,
            dtype=str(model.dtype).removeprefix("torch."),
            keyring=None,
            version=__version__,
            effort=tuple(dict.fromkeys(look.recovery.name for look in self.plan.looks)),
            align=self.align,
        )

    def verify(self, images: Picture | Iterable[Picture], *, batch_size: int = 8) -> list[Verdict]:
        """Verdicts on images, given as paths or Pillow images, in order.

        Arguments:
            images: One image or several.
            batch_size: Images looked at together.

        Raises:
            ArgumentError: If something is no image, or a batch holds none.
            ImageError: If an image cannot be read or used.
            ModelError: If the model recovers something that is not finite.
        """
        several = isinstance(images, Iterable) and not isinstance(images, Picture)
        images = list(images) if several else [images]
        for image in images:
            if not isinstance(image, Picture):
                raise ArgumentError(f"a {type(image).__name__} is no image: pass paths, or images of Pillow")
        if batch_size < 1:
            raise ArgumentError(f"batches of {batch_size!r} images verify none: choose 1 or more")
        batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
        return [verdict for batch in batches for verdict in self.judge([self.pixels(open_image(i)) for i in batch])]

    def pixels(self, image: Image.Image) -> Tensor:
        """An upright RGB image as it is judged: uint8, with shape (3, H, W), no larger than is looked at.

        Raises:
            ImageError: If the image is longer than 4:1.
        """
        size = image.size[::-1]
        whole, own = self._whole(size), bounded(size, self.expected, EVERY_AREA if self.align == "full" else AREAS)
        return to_pixels(fit(image, own if self._further(own) else whole))

    def as_whole(self, image: Image.Image) -> Tensor:
        """An upright RGB image at the size at which it is looked at as a whole: uint8, with shape (3, H, W).

        Raises:
            ImageError: If the image is longer than 4:1.
        """
        return to_pixels(fit(image, self._whole(image.size[::-1])))

    @property
    def expected(self) -> Size:
        """Height and width in pixels of the pictures that are expected: as stated, or the model's own."""
        return self.size or self.model.native_size

    def _whole(self, size: Size) -> Size:
        """Height and width in pixels at which a picture of a size is looked at as a whole."""
        return working_size(size, self.expected, self.model.downsampling)

    def _further(self, size: Size) -> tuple[Size, ...]:
        """Sizes at which marked parts of it are looked for."""
        by_parts = any(look.reading == "parts" for look in self.plan.looks)
        enlarged = tuple(2 * side for side in size)
        if self.align == "full" and math.prod(enlarged) <= EVERY_AREA * math.prod(self.expected):
            size = enlarged
        return sizes(size, self.expected, self.model.downsampling) if by_parts else ()

    def judge(self, images: Sequence[Tensor]) -> list[Verdict]:
        """Verdicts on images from :meth:`pixels`, all looked at together as far as their sizes agree."""
        shapes = [tuple(image.shape[1:]) for image in images]
        pictures = [
            Levels.of(image, self._whole(size), self._further(size)) for image, size in zip(images, shapes, strict=True)
        ]
        verdicts: dict[int, Verdict] = {}
        for shape in dict.fromkeys(picture.whole.shape for picture in pictures):
            members = [i for i, picture in enumerate(pictures) if picture.whole.shape == shape]
            verdicts |= dict(zip(members, self._judge([pictures[i] for i in members]), strict=True))
        return [verdicts[i] for i in range(len(images))]

    def _judge(self, pictures: Sequence[Levels]) -> list[Verdict]:
        """Look after look at pictures of one size as a whole, until each is decided."""
        best: list[Verdict | None] = [None] * len(pictures)
        decoys = np.zeros((len(pictures), self.decoys))
        seconds = np.zeros(len(pictures))
        every = [Seen(picture) for picture in pictures]
        for look in self.plan.looks:
            cases = [
                i for i, verdict in enumerate(best) if verdict is None or self._goes_on(verdict, look, pictures[i])
            ]
            if not cases:
                continue
            begin = clock(self.model.device)
            seen = [every[case] for case in cases]
            recover_whole(self.model, seen, look.recovery)
            real, *others = (self.looker.look(seen, sought, look) for sought in self.sought)
            for row, (case, finding) in enumerate(zip(cases, real, strict=True)):
                if finding:
                    best[case] = together_with(self._verdict(finding, look, seen[row]), best[case])
                decoys[case] = np.minimum(decoys[case], [one[row].log10_p if one[row] else 0.0 for one in others])
            seconds[cases] += (clock(self.model.device) - begin) / len(cases)
        return [
            replace(verdict, seconds=float(spent), decoys=tuple(ps.tolist()))
            for verdict, spent, ps in zip(best, seconds, decoys, strict=True)
        ]

    def _goes_on(self, verdict: Verdict, look: Look, picture: Levels) -> bool:
        """Whether an image with this verdict so far is looked at once more: if it is not decided and there is hope, or
        other parts of it may be marked."""
        if look.reading == "again":
            return not verdict.decided or (verdict.placement is not None and verdict.log10_p > ENOUGH)
        if look.reading == "parts":
            partly = any(part.placement.share < MOSTLY for part in verdict.parts)
            return bool(picture.sizes) and (partly or not verdict.decided)
        return not verdict.decided and look.taken(verdict.log10_p)

    def canvases(self, noise: Size, pattern: Pattern) -> list[Canvas]:
        """The canvases that keys of a pattern may have been planted in, for noise of a size, the likeliest first."""
        f, stated = self.model.downsampling, self.size
        native = tuple(side // f for side in self.model.native_size)
        stated = tuple(side // f for side in stated) if stated else None
        found = canvases(noise, native, stated)
        return [canvas for canvas in found if pattern.fits(canvas.size)] or found

    def _verdict(self, finding: Finding, look: Look, seen: Seen) -> Verdict:
        """What one look says of one image."""
        if finding.of_key:
            key, standing, tested = finding.candidate[1:4]
        else:
            said = finding.statements
            key, tested = self.names.pilot, said.places_tested
            standing = Standing(said.cosine, said.alignment, said.canvas, key.pattern.dimension, said.placement)
        recovered = seen.read_in(look.reading, key.pilot or key, standing.placement)
        return Verdict(
            found=self.plan.found(finding.log10_p),
            key_id=key.id if finding.of_key else None,
            key_revoked=key.revoked,
            log10_p=finding.log10_p,
            cosine=standing.cosine,
            alignment=standing.alignment,
            canvas=standing.canvas,
            size=tuple(seen.recovered.noise.shape[-2:]),
            placement=standing.placement,
            look=look.name,
            keys_tested=len(self.keys),
            alignments_tested=tested,
            looks_allowed=len(self.plan.looks),
            fpr=self.fpr,
            seconds=0.0,
            basis=replace(self.basis, keyring=key.keyring),
            fallbacks=recovered.fallbacks,
            names=finding.statements,
            parts=finding.parts,
            evidence=self._evidence(key, standing, look, recovered) if self.keep_evidence else None,
        )

    def _evidence(self, key: Key, standing: Standing, look: Look, recovered: Recovered) -> Evidence:
        noise = prepare(recovered, key.pattern)[0]
        if look.reading == "again":  # The picture lies as it was marked.
            noise = noise * standing.placement.shown.to(noise)
            standing = standing._replace(alignment=IDENTITY, placement=None)
        return evidence(noise, key, standing)


def check(key: Key, model: LatentDiffusion, size: Size | None) -> None:
    """Whether a key can be tested with a model, on the canvas of a stated size in pixels.

    Raises:
        KeyringError: If its pattern tells no keys apart, at all or on the canvas, or the model lacks its channels.
    """
    pattern = key.pattern
    if pattern.dimension < 2:
        raise KeyringError(
            f"key {key.id!r} has the pattern {pattern.kind!r} of dimension {pattern.dimension}, which cannot tell keys "
            "apart: test it with a distance (`wmark bench confusion`), or use a disc"
        )
    if max(pattern.channels) >= model.channels:
        raise KeyringError(
            f"key {key.id!r} uses latent channel {max(pattern.channels)}, but the model {model.name} has "
            f"{model.channels} channels"
        )
    if size:
        pattern.fitted(tuple(side // model.downsampling for side in size))
