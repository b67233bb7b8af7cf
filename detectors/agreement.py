"""How recovered noise agrees with a key, frequency by frequency.

With key and noise both scaled to a mean square of 1, the mean of their products over some coordinates,

    r(S) = sum_{i in S} u_i c_i / |S|,

is near 0 where nothing of the key is left, +- 1 / sqrt(|S|) by chance, and their cosine over all coordinates.

A plot draws it ring by ring to the last digit, and is as secret as the key: whoever reads the noise himself solves for
the few coordinates of a ring from as many pictures. :func:`spectrum` is for a page of many pictures. Its means are over
`LEAST` coordinates or more, and rounded to `STEP`, further than chance moves most of them. Who averages the noise of
pictures that carry one key comes close to it without any score; what the spectra of 24 such pictures add to that is
worth three or four pictures more (`tests/test_agreement.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ..watermark.keys import Key
    from ..watermark.patterns import Pattern
    from .verdict import Verdict

__all__ = ["Agreement", "Cells", "spectrum"]

BANDS = 5
"""Of frequencies, with as many coordinates each."""

SECTORS = 4, 2, 1
"""Of half a turn; over the other half all is the same."""

LEAST = 128
"""Coordinates that a cell has at least."""

STEP = 0.1


@dataclass(frozen=True, eq=False)
class Agreement:
    """A key and what was recovered, beside each other.

    Attributes:
        pattern: Their pattern, as far as the canvas holds it.
        ours, seen: Masked coordinates of the key and of the noise, everything undone, scaled to a mean square of 1,
            with shape (channels, n, 2).
    """

    pattern: Pattern
    ours: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, verdict: Verdict, key: Key) -> Agreement:
        """That of a verdict whose evidence was kept with the key that it names, or the pilot of the name."""
        pattern, seen = key.pattern.fitted(verdict.canvas), verdict.evidence.coordinates
        ours = pattern.lift(pattern.restrict(key.direction)).numpy() * pattern.size**0.5
        return cls(pattern, ours, seen * (seen.size / (seen**2).sum()) ** 0.5)

    def means(self, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """r over sets of frequencies, and how many coordinates each has.

        Arguments:
            sets: A number from 0 for the set of each frequency, with shape (n,); none is left out.
        """
        counts = np.bincount(sets) * 2 * len(self.ours)
        return np.bincount(sets, (self.ours * self.seen).sum(axis=(0, 2))) / counts, counts


class Cells(NamedTuple):
    """Sets of frequencies, by how high they are and by their direction.

    Attributes:
        edges: The largest frequency of each band, cycles per side.
        sectors: How many each band has, from the direction of k_x on towards k_y, over half a turn.
        index: That of each frequency's cell, band after band, with shape (n,).
    """

    edges: np.ndarray
    sectors: int
    index: np.ndarray

    @classmethod
    def of(cls, pattern: Pattern) -> Cells | None:
        """As many sectors as leave enough coordinates to each cell; None where even bands have too few."""
        y, x = pattern.lattice.T
        radius, turn = np.hypot(y, x), np.arctan2(y, x) / np.pi % 1
        edges = np.quantile(radius, np.arange(1, BANDS + 1) / BANDS)
        band = np.searchsorted(edges[:-1], radius)
        for sectors in SECTORS:
            index = band * sectors + np.minimum((turn * sectors).astype(int), sectors - 1)
            if np.bincount(index, minlength=BANDS * sectors).min() * 2 * len(pattern.channels) >= LEAST:
                return cls(edges, sectors, index)
        return None


def spectrum(agreement: Agreement) -> dict[str, Any] | None:
    """Where in the spectrum a key is seen, as coarse as it may be shown.

    Returns:
        `edges` of the bands, `cells`, band by band r in each sector (:class:`Cells`), and `chance`, the standard
        deviation that it gives a band; None where a key is so few numbers that it would tell of each.
    """
    cells = Cells.of(agreement.pattern) if agreement.pattern.searchable else None
    if cells is None:
        return None
    r = np.rint(agreement.means(cells.index)[0] / STEP).astype(int) * STEP
    return {
        "edges": cells.edges.round(1).tolist(),
        "cells": r.reshape(-1, cells.sectors).round(1).tolist(),
        "chance": round((BANDS / agreement.pattern.size) ** 0.5, 3),
    }
