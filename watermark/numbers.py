"""Numbers of images, and the addresses that they are found by.

Images are numbered from 0 to 2^40 - 1. A secret permutation mixes a number,

    x <- a x + b mod 2^40,      x <- x xor (x >> 20),      three rounds, a odd,

and the result is read as digits, lowest bits first: the *address*. Every number has an address and every address is a
number's, so the few numbers under some addresses are computed, not looked up. The permutation spreads numbers that were
issued one after the other; nothing rests on its being strong (:mod:`.sections` holds what is secret of an address).
"""

from __future__ import annotations

import numpy as np

from .secret import Secret

__all__ = ["BITS", "NUMBERS", "Mixing"]

BITS = 40
NUMBERS = 1 << BITS
ROUNDS = 3
HALF = np.uint64(BITS // 2)
MASK = np.uint64(NUMBERS - 1)


class Mixing:
    """The permutation of a secret, and its inverse.

    Arguments:
        secret: What it is drawn from.
    """

    __slots__ = ("_rounds",)

    def __init__(self, secret: Secret) -> None:
        size = BITS // 8
        drawn = [secret.derive(b"wmark/numbers/v1/" + bytes([i])).reveal() for i in range(ROUNDS)]
        self._rounds = [
            (int.from_bytes(one[:size], "little") | 1, int.from_bytes(one[size : 2 * size], "little")) for one in drawn
        ]

    def mixed(self, numbers: np.ndarray) -> np.ndarray:
        """Addresses of numbers, any shape, uint64."""
        x = np.atleast_1d(np.asarray(numbers, dtype=np.uint64))
        for a, b in self._rounds:
            x = (x * np.uint64(a) + np.uint64(b)) & MASK
            x = x ^ (x >> HALF)
        return x.reshape(np.shape(numbers))

    def unmixed(self, addresses: np.ndarray) -> np.ndarray:
        """Numbers of addresses, any shape, uint64."""
        x = np.atleast_1d(np.asarray(addresses, dtype=np.uint64))
        for a, b in reversed(self._rounds):
            x = x ^ (x >> HALF)
            x = ((x - np.uint64(b)) * np.uint64(pow(a, -1, NUMBERS))) & MASK
        return x.reshape(np.shape(addresses))
