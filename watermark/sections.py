"""Sections: how the coordinates of a keyring are shared out, and the secret directions that spell an address.

The frequencies are put in a secret order. The first half of them are the address': each of S sections has as many, and
a vector of independent standard normal numbers for each of its M digits. The rest are the name's. No two sections share
a coordinate, and no vector says anything of another, so nothing but copies of one digit can be averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .layout import Layout
from .numbers import BITS, Mixing
from .secret import Secret

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sections"]


class Sections:
    """The sections of a secret. What is computed is as secret: neither `repr` nor `vars` shows it.

    Arguments:
        secret: What they are drawn from; all issuers of a keyring share it.
        layout: How the coordinates are shared out.
    """

    __slots__ = ("_blocks", "_matrices", "_mixing", "_secret", "layout")

    def __init__(self, secret: Secret, layout: Layout) -> None:
        self._secret, self.layout = secret, layout
        self._mixing = Mixing(secret)
        frequencies = layout.pattern.dimension // 2
        order = np.argsort(secret.deviates(b"wmark/order/v1/", frequencies), kind="stable")
        size = int(frequencies * layout.share) // layout.sections
        parts = np.split(order, [size * (i + 1) for i in range(layout.sections)])
        self._blocks = [(2 * np.sort(part)[:, None] + [0, 1]).ravel() for part in parts]
        self._matrices: list[Tensor] = []

    def __repr__(self) -> str:
        return f"Sections({self.layout})"

    @property
    def addressed(self) -> list[np.ndarray]:
        """Coordinates of each section, as indices into all of the pattern's."""
        return self._blocks[:-1]

    @property
    def named(self) -> np.ndarray:
        """Coordinates of the name, as indices into all of the pattern's."""
        return self._blocks[-1]

    def vector(self, section: int, digit: int) -> np.ndarray:
        """Standard normal numbers of a digit, with the length of its section, float64."""
        return self._secret.deviates(f"wmark/section/v1/{section}/{digit}/".encode(), len(self.addressed[section]))

    def address(self, number: int) -> np.ndarray:
        """The planted coordinates of a number's address, all of the pattern's, zeros where it has none, float64."""
        planted = np.zeros(self.layout.pattern.dimension)
        for section, digit in enumerate(self.digits_of(number)):
            planted[self.addressed[section]] = self.vector(section, int(digit))
        return planted

    def scores(self, coordinates: np.ndarray) -> np.ndarray:
        """Inner products of coordinates (..., d) with every digit of every section, with shape (..., S, M), float32."""
        import torch

        if not self._matrices:
            digits, sections = range(self.layout.digits), range(self.layout.sections)
            vectors = ([self.vector(section, digit).astype(np.float32) for digit in digits] for section in sections)
            self._matrices = [torch.from_numpy(np.stack(every)) for every in vectors]
        read = torch.from_numpy(coordinates.astype(np.float32))
        parts = zip(self.addressed, self._matrices, strict=True)
        return torch.stack([read[..., block] @ matrix.T for block, matrix in parts], dim=-2).numpy()

    def digits_of(self, numbers: np.ndarray | int) -> np.ndarray:
        """Digits of numbers (...), with shape (..., S)."""
        shifts = self._shifts
        return ((self._mixing.mixed(numbers)[..., None] >> shifts) & np.uint64(self.layout.digits - 1)).astype(np.int64)

    def numbers_of(self, digits: np.ndarray) -> np.ndarray:
        """Numbers with these digits (..., S), with shape (...), int64."""
        return self._mixing.unmixed((digits.astype(np.uint64) << self._shifts).sum(-1, dtype=np.uint64)).astype(
            np.int64
        )

    @property
    def _shifts(self) -> np.ndarray:
        return np.arange(self.layout.sections, dtype=np.uint64) * np.uint64(BITS // self.layout.sections)
