"""Addresses that coordinates may spell: the best combinations of digits, the likeliest first.

Every digit of every section is compared with the coordinates (one matrix product), and an address is as likely as the
sum of its digits' inner products says. Of all M^S sums the largest are found section after section, the best `width`
kept each time: the sum of the i-th best so far and the j-th best digit is at most that of i j others, so only those
with i j <= width are looked at. How many numbers were issued plays no part.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["likeliest"]


def likeliest(scores: np.ndarray, width: int) -> np.ndarray:
    """The addresses with the largest sums.

    Arguments:
        scores: Inner products with every digit of every section, with shape (S, M).
        width: How many.

    Returns:
        Digits with shape (n, S), n at most `width`, by falling sum.
    """
    first, *others = np.argsort(-scores, axis=-1)
    found, sums = first[:width, None], scores[0][first[:width]]
    for section, digits in enumerate(others, 1):
        i, j = pairs(len(sums), len(digits), width)
        every = sums[i] + scores[section][digits[j]]
        kept = np.argpartition(every, max(0, len(every) - width))[-width:]
        kept = kept[np.argsort(-every[kept])]
        found, sums = np.column_stack([found[i[kept]], digits[j[kept]]]), every[kept]
    return found


@lru_cache(maxsize=4)
def pairs(sums: int, digits: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which sums (n,) and which digits (n,), both counted from the best, can be among the `width` best together."""
    beside = np.minimum(sums, width // np.arange(1, digits + 1))
    return np.concatenate([np.arange(n) for n in beside]), np.repeat(np.arange(digits), beside)
