"""Addresses that coordinates may spell: the best combinations of digits, the likeliest first.

Every digit of every section is compared with the coordinates (one matrix product), and an address is as likely as the
sum of its digits' inner products says. Of all M^S sums the largest are found section after section, the best `width`
kept each time. How many numbers were issued plays no part.
"""

from __future__ import annotations

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
    sections, digits = scores.shape
    found, sums = np.zeros((1, 0), dtype=np.int64), np.zeros(1, dtype=scores.dtype)
    for section in range(sections):
        every = (sums[:, None] + scores[section]).ravel()
        kept = np.argpartition(every, max(0, len(every) - width))[-width:]
        found = np.column_stack([found[kept // digits], kept % digits])
        sums = every[kept]
    return found[np.argsort(-sums, kind="stable")]
