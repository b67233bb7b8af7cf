"""What p-values of many images mean together.

An image's p-value holds for that image. Over m images, some p are small by chance:

    family-wise (Holm)       log10 p_(i) + log10(m - i + 1), made monotone: the chance of any false name in the run
    Benjamini-Hochberg       log10 p_(i) + log10(m / i), made monotone: the share of false names among those found
    Benjamini-Yekutieli      log10(sum of 1/i) more, which holds whatever the dependence

The p-values of one key over many images are *not* independent: each is exact over the draw of the key, but a key drawn
once stands close to what images have in common, or far from it, and then does so for all of them. What that leaves
untouched: each p-value; the expected number of false names, m times the false-positive rate; Holm's correction, which
assumes nothing. What it touches: how far the number of false names strays from its expectation, so the spread over
*keys* is what an interval must rest on; and Benjamini-Hochberg, whose proof wants independence or positive dependence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv, stdtrit

__all__ = ["Decoys", "clopper_pearson", "false_discovery", "family_wise", "yekutieli"]

BINS = 1000
TAIL = 12


def family_wise(log10_p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, log10, in the order given.

    Arguments:
        log10_p: log10 of the p-values, with shape (m,).
    """
    order = np.argsort(log10_p, kind="stable")
    steps = np.log10(np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(0.0, np.maximum.accumulate(log10_p[order] + steps))
    return adjusted


def false_discovery(log10_p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p-values, log10, in the order given.

    Arguments:
        log10_p: log10 of the p-values, with shape (m,).
    """
    m = len(log10_p)
    order = np.argsort(log10_p, kind="stable")
    steps = math.log10(max(m, 1)) - np.log10(np.arange(1, m + 1))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(0.0, np.minimum.accumulate((log10_p[order] + steps)[::-1])[::-1])
    return adjusted


def yekutieli(m: int) -> float:
    """log10 of what dependence of any kind costs Benjamini and Hochberg's p-values at most."""
    harmonic = np.log(m) + np.euler_gamma + 1 / (2 * m) if m > 1000 else (1 / np.arange(1, m + 1)).sum() if m else 1.0
    return float(np.log10(harmonic))


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share, for `count` of `total` independent trials."""
    if not total:
        return 0.0, 1.0
    half = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, half)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - half)) if count < total else 1.0
    return low, high


class Decoys:
    """Adds up the p-values of decoys, image by image, in a memory that does not grow.

    Attributes:
        images: Images so far.
        uniform: How often p of each decoy fell into each of 1,000 equal bins of [0, 1], with shape (decoys, 1000).
        tail: How often log10 p of each was at most 0, -1, -2, ..., with shape (decoys, 13).
    """

    def __init__(self, count: int) -> None:
        self.images = 0
        self.uniform = np.zeros((count, BINS), dtype=np.int64)
        self.tail = np.zeros((count, TAIL + 1), dtype=np.int64)

    def add(self, log10_p: np.ndarray) -> None:
        """Some images more, with shape (images, decoys)."""
        self.images += len(log10_p)
        places = np.minimum((10.0**log10_p * BINS).astype(np.int64), BINS - 1)
        for decoy, column in enumerate(places.T):
            self.uniform[decoy] += np.bincount(column, minlength=BINS)
        self.tail += (log10_p[:, :, None] <= -np.arange(TAIL + 1)).sum(0)

    def rate(self, decade: int, confidence: float = 0.95) -> dict[str, float]:
        """The share of p-values of at most 10^-decade, which should be just that, with its interval over the decoys.

        Images of one decoy are not independent trials, decoys are: so the interval is Student's over their shares, and
        `overdispersion` says by what factor their variance exceeds that of independent images.
        """
        shares = self.tail[:, decade] / max(self.images, 1)
        mean, decoys = float(shares.mean()), len(shares)
        expected = 10.0**-decade
        if decoys > 1:
            spread = float(shares.std(ddof=1))
            reach = float(stdtrit(decoys - 1, (1 + confidence) / 2)) * spread / math.sqrt(decoys)
        else:
            spread, reach = math.nan, math.inf
        binomial = expected * (1 - expected) / max(self.images, 1)
        return {
            "p": expected,
            "share": mean,
            "low": max(0.0, mean - reach),
            "high": min(1.0, mean + reach),
            "count": int(self.tail[:, decade].sum()),
            "overdispersion": spread**2 / binomial if binomial else math.nan,
        }

    def distances(self) -> Sequence[float]:
        """Each decoy's largest distance between the distribution of its p-values and the uniform one (Kolmogorov)."""
        steps = np.cumsum(self.uniform, axis=1) / max(self.images, 1)
        return np.abs(steps - np.arange(1, BINS + 1) / BINS).max(1).tolist()
