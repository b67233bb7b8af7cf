"""One look at recovered noise: what stands there of all that is sought, keys and names.

Keys, and the names of a keyring, are families of tests; where both are sought the bound on any of them being false pays
for two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ..inversion.chain import together
from ..inversion.recovery import Recovery
from ..watermark.keys import Key
from ..watermark.names import Names
from ..watermark.patterns import Pattern
from .candidate import Candidate, closest_key, each_once, guided
from .following import Seen, recover_back, recover_levels
from .geometry import Canvas, Size
from .identity.identification import identify
from .identity.places import as_planted, followed
from .identity.statements import Statements
from .leading import Led, lead, lead_to_parts, read_again, worth_another
from .plan import FOLLOWING, Look, Plan
from .reading import KeyGroup, group_by_pattern, prepare, read_as_planted, search
from .registration.parts import PARTS
from .verdict import Part

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Finding", "Looker", "Sought"]


@dataclass(frozen=True)
class Sought:
    """What is looked for.

    Arguments:
        keys: Keys.
        names: Names of a keyring.
    """

    keys: tuple[Key, ...]
    names: Names | None = None

    @cached_property
    def groups(self) -> list[KeyGroup]:
        """The keys by their patterns and pilots."""
        return group_by_pattern(self.keys)

    @property
    def patterns(self) -> set[Pattern]:
        """Where all this lives."""
        return {key.pattern for key in self.keys} | ({self.names.layout.pattern} if self.names else set())

    @property
    def piloted(self) -> bool:
        """Whether a pilot leads to any of it."""
        return self.names is not None or any(key.pilot for key in self.keys)

    @property
    def families(self) -> int:
        """Families of tests."""
        return bool(self.keys) + bool(self.names)

    def decoy(self, index: int) -> Sought:
        """As many keys and names that exist nowhere."""
        return Sought(tuple(key.decoy(index) for key in self.keys), self.names and self.names.decoy(index))


class Finding(NamedTuple):
    """What one look at one image finds: the closest key, what is said of names, log10 p of all of it, and its parts."""

    candidate: Candidate | None
    statements: Statements | None
    log10_p: float
    parts: tuple[Part, ...] = ()

    @property
    def of_key(self) -> bool:
        """Whether the key says more than the names."""
        return not self.statements or (self.candidate is not None and self.candidate.log10_p < self.statements.log10_p)


class Said(NamedTuple):
    """What is said of names in one image, and of each of its parts."""

    statements: Statements
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Looker:
    """How noise is looked at.

    Arguments:
        model: The model that recovers it.
        plan: The looks that an image is allowed.
        canvases: From the size of noise and a pattern to the canvases that may have been planted, the likeliest first.
        expected: Height and width in pixels of the pictures that are expected.
    """

    model: LatentDiffusion
    plan: Plan
    canvases: Callable[[Size, Pattern], Sequence[Canvas]]
    expected: Size

    def look(self, seen: Sequence[Seen], sought: Sought, look: Look) -> list[Finding | None]:
        """What one look finds, image by image; None where it leads nowhere."""
        keys = self._closest(seen, sought, look) if sought.keys else [None] * len(seen)
        names = self._named(seen, sought.names, look) if sought.names else [None] * len(seen)
        return [self._finding(key, said, sought) for key, said in zip(keys, names, strict=True)]

    def _finding(self, key: Candidate | None, said: Said | None, sought: Sought) -> Finding | None:
        p = [*([key.log10_p] if key else []), *([said.statements.log10_p] if said else [])]
        if not p:
            return None
        parts = max((one.parts for one in (key, said) if one), key=len)
        return Finding(key, said and said.statements, min(0.0, min(p) + math.log10(sought.families)), parts)

    def _closest(self, seen: Sequence[Seen], sought: Sought, look: Look) -> list[Candidate | None]:
        every = zip(*(self._test(seen, group, len(sought.keys), look) for group in sought.groups), strict=True)
        tested = ([one for one in row if one] for row in every)
        return [min(row, key=lambda c: (c.log10_p, -abs(c.standing.cosine)), default=None) for row in tested]

    def _test(self, seen: Sequence[Seen], group: KeyGroup, keys: int, look: Look) -> Iterator[Candidate | None]:
        """The closest key of one pattern and pilot, image by image."""
        pattern, pilot = group.pattern, group.keys[0].pilot
        if look.reading != "identity" and pilot:
            canvas = tuple(side // self.model.downsampling for side in self.expected)
            for led in (self._led(one, pilot, look) for one in seen):
                trials = led and self.plan.trials(keys, led.paid)
                yield led and guided(group, led, canvas, trials, self.plan.found)
        elif look.reading in FOLLOWING:
            yield from [None] * len(seen)
        else:
            read_from = prepare(together([one.recovered for one in seen]), pattern)
            places = self.canvases(tuple(read_from.shape[-2:]), pattern)
            if look.reading == "search" and pattern.searchable:
                standings, alignments = search(read_from, group, places)
            else:
                common = self.common(look.recovery) if pattern.searchable else None
                standings, alignments = read_as_planted(read_from, group, places[0].size, common), 1
            trials = self.plan.trials(keys, alignments)
            yield from (closest_key(group, row, alignments, trials) for row in standings)

    def _named(self, seen: Sequence[Seen], names: Names, look: Look) -> list[Said | None]:
        """What is said of names, image by image."""
        looks, fpr = len(self.plan.looks), self.plan.fpr
        pattern = names.layout.pattern
        if look.reading == "identity":
            read_from = prepare(together([one.recovered for one in seen]), pattern)
            canvas = self.canvases(tuple(read_from.shape[-2:]), pattern)[0].size
            places = as_planted(read_from, names.pilot, canvas, self.common(look.recovery))
            return [Said(identify(one, names, looks, fpr)) for one in places]
        every = [led if led and led.places else None for led in (self._led(one, names.pilot, look) for one in seen)]
        if look.reading == "parts":
            return [led and self._named_parts(led, names) for led in every]
        return [led and self._named_once(identify(followed(led, pattern), names, looks, fpr)) for led in every]

    def _named_once(self, said: Statements) -> Said:
        part = Part(said.log10_p, said.cosine, said.placement, names=said)
        return Said(said, each_once([part], self.plan.found))

    def _named_parts(self, led: Led, names: Names) -> Said | None:
        """What is said of each part, which pays for as many as are read at most."""
        looks, pattern = len(self.plan.looks) * PARTS, names.layout.pattern
        each = [
            replace(led, places=[place], presence=found.log10_p)
            for place, found in zip(led.places, led.found, strict=True)
        ]
        every = [identify(followed(one, pattern), names, looks, self.plan.fpr) for one in each]
        if not every:
            return None
        parts = [Part(said.log10_p, said.cosine, said.placement, names=said) for said in every]
        return Said(min(every, key=lambda said: said.log10_p), each_once(parts, self.plan.found))

    def _led(self, seen: Seen, pilot: Key, look: Look) -> Led | None:
        """Where a pilot leads in one image, found once for all that follow it; None where it leads nowhere."""
        at = (pilot, look.reading)
        if at not in seen.led:
            seen.led[at] = self._follow(seen, pilot, look)
        return seen.led[at]

    def _follow(self, seen: Seen, pilot: Key, look: Look) -> Led | None:
        pattern, common = pilot.pattern, self.common(look.recovery)
        if look.reading == "search":
            noise = prepare(seen.recovered, pattern)[0]
            return lead(noise, pilot, self.canvases(tuple(noise.shape[1:]), pattern), common)
        if look.reading == "parts":
            canvas = tuple(side // self.model.downsampling for side in self.expected)
            return lead_to_parts([prepare(one, pattern)[0] for one in recover_levels(self.model, seen)], pilot, canvas)
        places = worth_another(seen.led.get((pilot, "search")))
        if not places:
            return None
        back = [prepare(one, pattern)[0] for one in recover_back(self.model, seen, pilot, places)]
        return read_again(back, pilot, places, common)

    def common(self, recovery: Recovery) -> Tensor | None:
        """What unmarked readings have in common, as far as the model's reader knows it."""
        return self.model.reader.common.get(recovery.name) if self.model.reader else None
