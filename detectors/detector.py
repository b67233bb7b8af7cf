"""The detector: the rooms put together.

    image --decoder inversion--> clean latent --diffusion inversion--> initial noise
          --whiten, align, read--> coordinates --test--> verdict

How noise is recovered is :mod:`..inversion`, which looks are tried is :mod:`.plan`, at which sizes :mod:`.geometry`,
where a key stands :mod:`.reading`, whose name is there :mod:`.identity`, what that is worth :mod:`.statistic`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ArgumentError, KeyringError
from ..images import open_image, to_pixels
from ..inversion.chain import Recovered, recovering, together
from ..inversion.recovery import Recovery
from ..models.clock import clock
from ..version import __version__
from ..watermark.keys import Key, check_key
from ..watermark.names import Names
from ..watermark.patterns import Pattern
from .geometry import Canvas, Size, canvases, fit, working_size
from .identity.identification import identify
from .identity.place import place, presence
from .identity.statements import Statements
from .leading import lead
from .plan import Look, Plan, plan
from .reading import KeyGroup, Standing, evidence, group_by_pattern, log10_p, prepare, read_as_planted, search
from .statistic import corrected
from .verdict import Basis, Verdict

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Detector"]

Picture = Image.Image | str | bytes | os.PathLike


class Candidate(NamedTuple):
    """The closest key of one look at one image."""

    log10_p: float
    key: Key
    standing: Standing
    alignments_tested: int


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
        decoys: Keyrings that exist nowhere to test in the same way after all this, for a rate of false positives.

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
        for key in self._sought:
            check(key, self.model, self.size)
        self.plan  # noqa: B018  Refuses what is not possible.

    @cached_property
    def _sought(self) -> tuple[Key, ...]:
        """The keys, and the guide to the names."""
        return (*self.keys, self.names.guide) if self.names else self.keys

    @cached_property
    def _others(self) -> list[Detector]:
        """The decoys."""
        return [
            replace(
                self, keys=[k.decoy(i) for k in self.keys], names=self.names and self.names.decoy(i), decoys=0,
                keep_evidence=False,
            )
            for i in range(self.decoys)
        ]  # fmt: skip

    @cached_property
    def groups(self) -> list[KeyGroup]:
        """The keys by their patterns and pilots, and the guide to the names."""
        return group_by_pattern(self._sought)

    @cached_property
    def plan(self) -> Plan:
        """The looks that every image is allowed."""
        patterns = {key.pattern for key in self._sought}
        return plan(self.effort, self.align, self.fpr, patterns=patterns, reader=self.model.reader)

    @cached_property
    def common(self) -> Mapping[str, Tensor]:
        """What unmarked readings have in common by recovery, as far as the model's reader knows it."""
        return self.model.reader.common if self.model.reader else {}

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
        """An upright RGB image as it is inverted: uint8, with shape (3, H, W).

        Raises:
            ImageError: If the image is longer than 4:1.
        """
        size = working_size(image.size[::-1], self.size or self.model.native_size, self.model.downsampling)
        return to_pixels(fit(image, size))

    def judge(self, images: Sequence[Tensor]) -> list[Verdict]:
        """Verdicts on images from :meth:`pixels`, all looked at together as far as their sizes agree."""
        verdicts: dict[int, Verdict] = {}
        for shape in dict.fromkeys(image.shape for image in images):
            members = [i for i, image in enumerate(images) if image.shape == shape]
            verdicts |= dict(zip(members, self._judge(torch.stack([images[i] for i in members])), strict=True))
        chance = list(zip(*(other.judge(images) for other in self._others), strict=True)) or [()] * len(images)
        return [
            replace(verdicts[i], decoys=tuple(verdict.log10_p for verdict in others)) for i, others in enumerate(chance)
        ]

    def _judge(self, images: Tensor) -> list[Verdict]:
        """Look after look at images (B, 3, H, W), uint8, until each is decided."""
        best: list[Verdict | None] = [None] * len(images)
        seconds = np.zeros(len(images))
        recovered: dict[int, tuple[Recovery, Recovered]] = {}
        for look in self.plan.looks:
            cases = [i for i, verdict in enumerate(best) if verdict is None or self._goes_on(verdict, look)]
            if not cases:
                continue
            begin = clock(self.model.device)
            missing = [i for i in cases if i not in recovered or recovered[i][0] != look.recovery]
            if missing:
                found = recovering(self.model, look.recovery)(images[missing])
                recovered |= {case: (look.recovery, found.of([row])) for row, case in enumerate(missing)}
            seen = together([recovered[case][1] for case in cases])
            for row, (case, candidates) in enumerate(zip(cases, self._look(seen, look), strict=True)):
                verdict = self._verdict(candidates, look, seen.of([row]))
                best[case] = min([one for one in (best[case], verdict) if one], key=lambda one: one.rank)
            seconds[cases] += (clock(self.model.device) - begin) / len(cases)
        return [replace(verdict, seconds=float(spent)) for verdict, spent in zip(best, seconds, strict=True)]

    def _goes_on(self, verdict: Verdict, look: Look) -> bool:
        """Whether an image with this verdict so far is looked at once more."""
        return not verdict.decided and look.taken(verdict.log10_p)

    def _look(self, recovered: Recovered, look: Look) -> list[list[Candidate]]:
        """The closest keys in one look, image by image, the closest of all first."""
        tested = zip(*(self._test(recovered, group, look) for group in self.groups), strict=True)
        return [sorted(row, key=lambda c: (c.log10_p, -abs(c.standing.cosine))) for row in tested]

    def _test(self, recovered: Recovered, group: KeyGroup, look: Look) -> Iterator[Candidate]:
        """The closest key of one pattern and pilot, image by image."""
        pattern = group.pattern
        read_from = prepare(recovered, pattern)
        places = self.canvases(tuple(read_from.shape[-2:]), pattern)
        if look.reading == "search" and pattern.searchable:
            standings, alignments = (lead if group.keys[0].pilot else search)(read_from, group, places)
        else:
            common = self.common.get(look.recovery.name) if pattern.searchable else None
            standings, alignments = read_as_planted(read_from, group, places[0].size, common), 1
        trials = self.plan.trials(max(1, len(self.keys)), alignments)
        for row in standings:
            p = corrected(log10_p(row), trials)
            # The first of equal p-values, which are many at 1, is the one that stands closest.
            i = np.lexsort((-np.abs([standing.cosine for standing in row]), p))[0]
            yield Candidate(float(p[i]), group.keys[i], row[i], alignments)

    def canvases(self, noise: Size, pattern: Pattern) -> list[Canvas]:
        """The canvases that keys of a pattern may have been planted in, for noise of a size, the likeliest first."""
        f, stated = self.model.downsampling, self.size
        native = tuple(side // f for side in self.model.native_size)
        stated = tuple(side // f for side in stated) if stated else None
        found = canvases(noise, native, stated)
        return [canvas for canvas in found if pattern.fits(canvas.size)] or found

    def _verdict(self, candidates: Sequence[Candidate], look: Look, recovered: Recovered) -> Verdict:
        """What one look says of one image."""
        said = self._named(candidates, look, recovered) if self.names else None
        p = [one.log10_p if one.key in self.keys else said.log10_p for one in candidates]
        candidate = candidates[int(np.argmin(p))]
        key, standing, of_name = candidate.key, candidate.standing, candidate.key not in self.keys
        log10_p = float(corrected(min(p), bool(self.keys) + bool(self.names)))
        return Verdict(
            found=self.plan.found(log10_p),
            key_id=None if of_name else key.id,
            key_revoked=key.revoked,
            log10_p=log10_p,
            cosine=said.cosine if of_name else standing.cosine,
            alignment=standing.alignment,
            canvas=standing.canvas,
            placement=standing.placement,
            look=look.name,
            keys_tested=len(self.keys),
            alignments_tested=candidate.alignments_tested,
            looks_allowed=len(self.plan.looks),
            fpr=self.fpr,
            seconds=0.0,
            basis=replace(self.basis, keyring=key.keyring),
            fallbacks=recovered.fallbacks,
            names=said,
            evidence=evidence(prepare(recovered, key.pattern)[0], key, standing) if self.keep_evidence else None,
        )

    def _named(self, candidates: Sequence[Candidate], look: Look, recovered: Recovered) -> Statements:
        """What is said of names where the guide to them stands in one image."""
        (standing,) = (one.standing for one in candidates if one.key not in self.keys)
        pilot = self.names.pilot
        noise = prepare(recovered, pilot.pattern)[0]
        here = place(noise, pilot, standing, self.common.get(look.recovery.name))
        canvases = self.canvases(tuple(noise.shape[-2:]), pilot.pattern)
        present = presence(noise, pilot, standing, here, len(canvases))
        return identify(here, present, self.names, len(self.plan.looks), self.fpr)


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
