"""Are p-values uniform, over keys and for each fixed key? And what projecting out a few directions does to it.

Over the draw of the key u, uniform on the sphere of R^d, the cosine to any reading c has an exactly known law. For one
fixed key over many pictures it has not, where readings share a direction m: the cosine is shifted by <u, m> in all of
them. Projecting an orthonormal V (k, d) out of the readings,

    c' = c - V^T V c,    cos(u, c') = (<u, c> - <V u, V c>) / |c'|,

leaves a vector that was computed without the key, so the test stays exact as long as V was too. A mean of n readings is
known to 1 / sqrt(n) of a standard deviation, as well as the mean of as many tested ones: a test of N pictures still
sees keys whose mean is off by sqrt(1 + N / n) times what it should be. It takes several times as many to learn as to
test.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..detectors.statistic import hypercone_log10_p

__all__ = [
    "Products",
    "both_signs",
    "clopper_pearson",
    "fixed_keys",
    "kolmogorov",
    "mean_direction",
    "over_keys",
    "p_values",
    "principal_directions",
    "proportion",
    "span",
    "unit",
]

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
FURTHEST = 9.0
"""Standard deviations up to which p-values are tabulated; 1e-19."""


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., d) at length 1, float32; those that vanish stay."""
    vectors = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def mean_direction(readings: np.ndarray) -> np.ndarray:
    """The direction of the mean of unit readings (N, d), with shape (1, d)."""
    return unit(readings.mean(axis=0, dtype=np.float64))[None]


def principal_directions(readings: np.ndarray, count: int) -> np.ndarray:
    """The first principal directions of readings (N, d) about zero, orthonormal, (count, d), the first first."""
    from scipy.linalg import eigh

    size = len(readings)
    _, vectors = eigh(readings.astype(np.float64) @ readings.T, subset_by_index=(max(size - count, 0), size - 1))
    return span(vectors.T[::-1] @ readings)


def span(directions: np.ndarray) -> np.ndarray:
    """An orthonormal basis (k, d) of what directions (k, d) span, in their order, float32."""
    return np.linalg.qr(np.asarray(directions, dtype=np.float64).T)[0].T.astype(np.float32)


class Products:
    """Scalar products of unit readings (N, d) and keys (K, d), computed once for all projections."""

    def __init__(self, readings: np.ndarray, keys: np.ndarray) -> None:
        self.readings, self.keys = readings, keys
        self.products = readings @ keys.T
        self.dimension = readings.shape[1]

    def p_values(self, directions: np.ndarray | None = None, of: np.ndarray | slice = slice(None)) -> np.ndarray:
        """p-values (N, K) of readings, all or some, without the span of orthonormal directions (k, d)."""
        products = self.products[of]
        if directions is None:
            return p_values(products, self.dimension)
        seen, shared = self.readings[of] @ directions.T, self.keys @ directions.T
        length = np.sqrt(np.clip(1 - np.square(seen).sum(axis=1, keepdims=True), 1e-6, None))
        return p_values((products - seen @ shared.T) / length, self.dimension)


def p_values(cosines: np.ndarray, dimension: int) -> np.ndarray:
    """p-values of the hypercone test, any shape, from a table of its logarithm: 1e-5 of their value off at most."""
    return 10 ** np.interp(cosines, *_table(dimension))


@lru_cache(maxsize=8)
def _table(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and the logarithms of their p-values."""
    at = np.clip(np.linspace(-FURTHEST, FURTHEST, 6001) / dimension**0.5, -1, 1)
    values = hypercone_log10_p(at, dimension)
    usable = np.isfinite(values)
    return at[usable], values[usable]


def both_signs(values: np.ndarray) -> np.ndarray:
    """p-values of both signs of a key, which the detector tests, from those of one."""
    return 2 * np.minimum(values, 1 - values)


def kolmogorov(values: np.ndarray) -> np.ndarray:
    """p-values of Kolmogorov and Smirnov's test of the columns of (N, K) against the uniform law, with shape (K,).

    The limiting law at Stephens' (1970) corrected statistic, which is good to a hundredth from 8 values on.
    """
    from scipy.special import kolmogorov as survival

    n = len(values)
    ordered = np.sort(values, axis=0)
    above = (np.arange(1, n + 1)[:, None] / n - ordered).max(axis=0)
    below = (ordered - np.arange(n)[:, None] / n).max(axis=0)
    return survival((n**0.5 + 0.12 + 0.11 / n**0.5) * np.maximum(above, below))


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, 1934)."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def proportion(count: int, of: int) -> dict:
    """A share with Clopper and Pearson's interval of 95%."""
    low, high = clopper_pearson(count, of)
    return {"count": count, "share": count / of, "low": low, "high": high}


def over_keys(values: np.ndarray) -> dict:
    """What N pictures show over K keys: shares below the levels, and the pictures whose keys are not uniform.

    From p-values (N, K) for one sign; the detector's, for both, are judged.
    A key's p-values of pictures that are alike go together, so beside Clopper and Pearson's interval, which takes all
    for independent, stands the standard error of the mean over keys, which does not.
    """
    values = both_signs(values)
    pictures, keys = values.shape
    shares = {}
    for level in LEVELS:
        hits = values <= level
        by_key = hits.mean(axis=0)
        low, high = clopper_pearson(int(hits.sum()), hits.size)
        error = float(by_key.std(ddof=1) / keys**0.5)
        shares[f"{level:g}"] = {"share": float(by_key.mean()), "low": low, "high": high, "standard_error": error}
    tests = kolmogorov(values.T)
    at_hundredth = (values <= 0.01).sum(axis=1)
    intervals = [clopper_pearson(int(hits), keys) for hits in at_hundredth]
    pooled = kolmogorov(values.reshape(-1, 1))[0]
    return {
        "pictures": pictures,
        "keys": keys,
        "share_below": shares,
        "ks_pooled": float(pooled),
        "pictures_rejected": float((tests < 0.05).mean()),
        "pictures_off_at_0.01": float(np.mean([not low <= 0.01 <= high for low, high in intervals])),
        "smallest": float(values.min()),
    }


def fixed_keys(values: np.ndarray, levels: Sequence[float] = (1e-2, 1e-3)) -> dict:
    """What N pictures show of each of K keys: how many are not uniform, and how far their rates spread.

    From p-values (N, K) for one sign; the detector's, for both, are judged, but for `rejected_one_sign`, where a shared
    direction shows sooner. `spread` is the standard deviation over keys of the share of pictures below .01, `binomial`
    what independent pictures would give; `ratio` is their quotient, 1 where a fixed key does what it should.
    """
    one_sign, values = values, both_signs(values)
    below = {level: (values <= level).mean(axis=0) for level in levels}
    spread, binomial = float(below[1e-2].std(ddof=1)), (0.01 * 0.99 / len(values)) ** 0.5
    return {
        "pictures": len(values),
        "rejected": float((kolmogorov(values) < 0.05).mean()),
        "rejected_one_sign": float((kolmogorov(one_sign) < 0.05).mean()),
        "spread": spread,
        "binomial": binomial,
        "ratio": spread / binomial,
        "worst": {f"{level:g}": float(shares.max()) for level, shares in below.items()},
        "share": float(below[1e-2].mean()),
    }
