"""Keys that nothing carries, tested where the real ones stand.

A decoy is a direction that no image can know, so its p-values show what chance does on this very corpus: they are
uniform over the decoys, whatever the images are. The coordinates that they are tested against are chosen by the real
mark, which they know nothing of either, so nothing has to be paid for the search, and they cost a scalar product each.
What the search itself is worth is seen with decoys that are searched for, :attr:`~wmark.detectors.Detector.decoys`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..detectors.reading import KeyGroup
    from ..detectors.verdict import Verdict
    from ..watermark.patterns import Pattern

__all__ = ["decoy_log10_p"]


def decoy_log10_p(verdict: Verdict, pattern: Pattern, count: int, seed: str) -> np.ndarray | None:
    """log10 p of each decoy, both signs, not corrected for anything else, with shape (count,).

    Arguments:
        verdict: A verdict with its evidence.
        pattern: Where what it names lives.
        count: How many decoys.
        seed: What they are drawn from, hexadecimal.

    Returns:
        None if the verdict holds no evidence.
    """
    import torch

    from ..detectors.plan import SIGNS
    from ..detectors.statistic import corrected, cosine, hypercone_log10_p

    if verdict.evidence is None or not count:
        return None
    group = decoys(pattern, count, seed).fitted(verdict.canvas)
    coordinates = torch.from_numpy(verdict.evidence.coordinates)[None]
    cosines = cosine(group.pattern.project(coordinates).numpy(), group.directions)[0]
    return corrected(hypercone_log10_p(np.abs(cosines), group.pattern.dimension), SIGNS)


@lru_cache(maxsize=8)
def decoys(pattern: Pattern, count: int, seed: str) -> KeyGroup:
    """Decoys of a pattern."""
    from ..detectors.reading import KeyGroup
    from ..watermark.keys import Key

    master = bytes.fromhex(seed)
    return KeyGroup(Key.derive(master, f"decoy-{number}", pattern) for number in range(count))
