"""One look at recovered noise: what stands there of all that is sought, keys and names.

Keys, and the names of a keyring, are families of tests; where both are sought the bound on any of them being false pays
for two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..inversion.chain import Recovered
from ..watermark.keys import Key
from ..watermark.names import Names
from ..watermark.patterns import Pattern
from .geometry import Canvas, Size
from .identity.identification import identify
from .identity.places import as_planted, led
from .identity.statements import Statements
from .leading import lead
from .plan import Look, Plan
from .reading import KeyGroup, Standing, group_by_pattern, log10_p, prepare, read_as_planted, search
from .statistic import corrected

__all__ = ["Candidate", "Finding", "Looker", "Sought"]


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
    def families(self) -> int:
        """Families of tests."""
        return bool(self.keys) + bool(self.names)

    def decoy(self, index: int) -> Sought:
        """As many keys and names that exist nowhere."""
        return Sought(tuple(key.decoy(index) for key in self.keys), self.names and self.names.decoy(index))


class Candidate(NamedTuple):
    """The closest key of one look at one image."""

    log10_p: float
    key: Key
    standing: Standing
    alignments_tested: int


class Finding(NamedTuple):
    """What one look at one image finds: the closest key, what is said of names, and log10 p of all of it."""

    candidate: Candidate | None
    statements: Statements | None
    log10_p: float

    @property
    def of_key(self) -> bool:
        """Whether the key says more than the names."""
        return not self.statements or (self.candidate is not None and self.candidate.log10_p < self.statements.log10_p)


@dataclass(frozen=True)
class Looker:
    """How noise is looked at.

    Arguments:
        plan: The looks that an image is allowed.
        canvases: From the size of noise and a pattern to the canvases that may have been planted, the likeliest first.
        common: What unmarked readings have in common, by recovery.
    """

    plan: Plan
    canvases: Callable[[Size, Pattern], Sequence[Canvas]]
    common: Mapping[str, Tensor]

    def look(self, recovered: Recovered, sought: Sought, look: Look) -> list[Finding]:
        """What one look finds, image by image."""
        keys = self._closest(recovered, sought, look) if sought.keys else [None] * len(recovered.noise)
        names = self._named(recovered, sought.names, look) if sought.names else [None] * len(recovered.noise)
        return [
            Finding(key, said, min(0.0, min(p.log10_p for p in (key, said) if p) + math.log10(sought.families)))
            for key, said in zip(keys, names, strict=True)
        ]

    def _closest(self, recovered: Recovered, sought: Sought, look: Look) -> list[Candidate]:
        tested = zip(*(self._test(recovered, group, len(sought.keys), look) for group in sought.groups), strict=True)
        return [min(row, key=lambda c: (c.log10_p, -abs(c.standing.cosine))) for row in tested]

    def _test(self, recovered: Recovered, group: KeyGroup, keys: int, look: Look) -> Iterator[Candidate]:
        """The closest key of one pattern and pilot, image by image."""
        pattern = group.pattern
        read_from = prepare(recovered, pattern)
        places = self.canvases(tuple(read_from.shape[-2:]), pattern)
        if look.reading == "search" and pattern.searchable:
            standings, alignments = (lead if group.keys[0].pilot else search)(read_from, group, places)
        else:
            common = self.common.get(look.recovery.name) if pattern.searchable else None
            standings, alignments = read_as_planted(read_from, group, places[0].size, common), 1
        trials = self.plan.trials(keys, alignments)
        for row in standings:
            p = corrected(log10_p(row), trials)
            # The first of equal p-values, which are many at 1, is the one that stands closest.
            i = np.lexsort((-np.abs([standing.cosine for standing in row]), p))[0]
            yield Candidate(float(p[i]), group.keys[i], row[i], alignments)

    def _named(self, recovered: Recovered, names: Names, look: Look) -> list[Statements]:
        """What is said of names, image by image."""
        read_from = prepare(recovered, names.layout.pattern)
        canvases = self.canvases(tuple(read_from.shape[-2:]), names.layout.pattern)
        if look.reading == "search":
            places = led(read_from, names.pilot, canvases)
        else:
            places = as_planted(read_from, names.pilot, canvases[0].size, self.common.get(look.recovery.name))
        return [identify(one, names, len(self.plan.looks), self.plan.fpr) for one in places]
