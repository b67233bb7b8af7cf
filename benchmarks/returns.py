"""How much of the initial noise comes back from a picture, by channel and frequency ring.

With `a` the recovered and `b` the true coefficients of a channel and ring, `w = mean of Re <a, b> / (|a| |b|)` over
pictures that carry no key. A reading weighted by `w`, or a mark whose energy `s_j^2` goes with the share `w_j^2` that
returns, does not depend on the key, so the test stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..watermark.patterns import Pattern
from ..watermark.spectrum import mask_coordinates

__all__ = ["Returns", "measure_returns"]

LEAST = 0.01


@dataclass(frozen=True, eq=False)
class Returns:
    """Mean correlation of recovered with true noise.

    Attributes:
        by_ring: By latent channel and ring, with shape (C, rings); the first ring is number 0, and is empty.
    """

    by_ring: Tensor

    def weights(self, pattern: Pattern) -> Tensor:
        """Those of a pattern's coordinates, with shape (channels, n, 1), at least a hundredth."""
        rings = torch.from_numpy(rings_of(pattern)).clamp_max(self.by_ring.shape[1] - 1)
        return self.by_ring[list(pattern.channels)][:, rings, None].clamp_min(LEAST)

    def profile(self, pattern: Pattern) -> Tensor:
        """Strengths `s_j`, with shape (channels, n, 1), whose energy goes with what returns, but for those at 1.

        The mean of `s_j^2` is the square of the pattern's strength.
        """
        energy, low, high = self.weights(pattern).square(), 0.0, LEAST**-2
        for _ in range(60):
            middle = (low + high) / 2
            enough = float((energy * middle).clamp_max(1).mean()) >= pattern.strength**2
            low, high = (low, middle) if enough else (middle, high)
        return (energy * high).clamp_max(1).sqrt()


def measure_returns(recovered: Tensor, noise: Tensor) -> Returns:
    """What returned of noise, both with shape (B, C, h, w)."""
    channels, canvas = noise.shape[1], noise.shape[-2:]
    everything = Pattern.of("square", (max(canvas) - 1) // 2, range(channels)).fitted(canvas)
    a, b = (mask_coordinates(n, everything) for n in (recovered, noise))
    rings = torch.from_numpy(rings_of(everything))

    def by_ring(values: Tensor) -> Tensor:
        sums = values.new_zeros(*values.shape[:2], int(rings.max()) + 1)
        return sums.index_add_(2, rings, values.sum(-1))

    likeness = by_ring(a * b) / (by_ring(a * a) * by_ring(b * b)).sqrt().clamp_min(1e-12)
    return Returns(likeness.mean(0))


def rings_of(pattern: Pattern) -> np.ndarray:
    """The ring of each frequency, its length rounded, with shape (n,)."""
    return np.rint(np.hypot(*pattern.lattice.T)).astype(np.int64)
