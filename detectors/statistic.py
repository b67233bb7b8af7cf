"""From coordinates and keys to p-values: the hypercone test.

Let the key `u` be uniform on the unit sphere of R^d and let `c` be any vector computed without it. If the image does
not carry the key, `t = cos(u, c)` obeys

    P(cos >= t) = 1/2 I_{1 - t^2}((d - 1)/2, 1/2)        for t >= 0,

with `I` the regularised incomplete beta function, whatever the image, the model or the attack (Furon et al., 2008: the
hypercone detector). Searching K keys and G alignments costs a factor K G, the union bound. A direction that was pushed
away past zero stands out as well: testing |t|, both signs, costs a factor of 2. All in log10, because the evidence of a
clean image underflows a double.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import betainc, betaln, hyp2f1

from ..errors import ArgumentError

__all__ = ["corrected", "cosine", "hypercone_log10_p"]


def cosine(coordinates: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Cosines between coordinates and unit directions; 0 where the coordinates vanish.

    Arguments:
        coordinates: Any number of vectors, with shape (..., d).
        directions: One direction (d,) or several (K, d).

    Returns:
        Cosines with shape (...) or (..., K).
    """
    # By torch, as all around it: where two libraries take turns, the threads of each wait for those of the other.
    c, u = (torch.from_numpy(np.require(part, requirements="CW")) for part in (coordinates, directions))
    norm = torch.linalg.vector_norm(c, dim=-1, keepdim=u.ndim == 2).numpy()
    product = (c @ u.T if u.ndim == 2 else c @ u).numpy()
    return np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)


def hypercone_log10_p(cosine: np.ndarray | float, dimension: np.ndarray | int) -> np.ndarray:
    """log10 of the probability that a random direction of R^d stands at least this close.

    Arguments:
        cosine: Cosines in [-1, 1], any shape.
        dimension: d, at least 2; one for all, or of a shape that goes with the cosines'.

    Returns:
        log10 p with the same shape, float64; -inf only where the cosine is 1.

    Raises:
        ArgumentError: If the dimension is smaller.
    """
    dimension = np.asarray(dimension)
    if (dimension < 2).any():
        raise ArgumentError(f"the hypercone test is not possible in {dimension.min()} dimensions: it needs 2 at least")
    t = np.clip(np.asarray(cosine, dtype=np.float64), -1.0, 1.0)
    a, x = (dimension - 1) / 2, (1 - np.abs(t)) * (1 + np.abs(t))
    tail = 0.5 * betainc(a, 0.5, x)
    with np.errstate(divide="ignore"):
        direct = np.log10(np.where(t >= 0, tail, 1 - tail))
    deep = (t > 0) & (tail < 1e-250)
    if not deep.any():
        return direct
    # I_x(a, b) = x^a (1-x)^b / (a B(a, b)) 2F1(a + b, 1; a + 1; x), DLMF 8.17.8
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_tail = a * np.log(x) + np.log(np.abs(t)) - np.log(a) - betaln(a, 0.5)
        further = (log_tail + np.log(hyp2f1(a + 0.5, 1.0, a + 1.0, x))) / math.log(10) + math.log10(0.5)
    return np.where(deep, np.where(x > 0, further, -np.inf), direct)


def corrected(log10_p: np.ndarray | float, trials: float) -> np.ndarray:
    """log10 of p-values, any shape, after a union bound over `trials` tests; never above 0."""
    return np.minimum(0.0, log10_p + np.log10(trials))
