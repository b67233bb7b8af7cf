"""Pattern kinds: where in the Fourier domain of the initial noise a key may live, and what it may choose there.

The integer frequencies `k = (k_y, k_x)` with `0 < |k| <= radius` cycles per latent side carry `m` independent real
coordinates, `c_re` and `c_im` of each (:mod:`wmark.watermark.spectrum` reads and writes them). A key is a unit vector
`u` in a space of dimension `d <= m`, and a kind says how that space lies among the coordinates:

    lift      R^d -> R^m, an isometry: the masked coordinates of a key
    project   R^m -> R^d, its adjoint: what of an image's coordinates can speak for a key

    disc      every coordinate is free, d = m; three quarters of the disc's energy stay random (strength 0.5)
    square    the same with `max(|k_y|, |k_x|) <= radius`: at radius 31 all of a latent of 64x64 below its Nyquist
    rand      every coordinate is free and replaced outright (the paper's Tree-Ring_Rand)
    ring      one real constant a ring and channel, d = rings x channels, replaced outright (Wen et al., 2023)
    const     one real constant a channel (the paper's variant of a constant patch), d = channels
    zeros     the disc is emptied (Tree-Ring_Zeros), d = 0: it marks, but names no key

A canvas of h x w latent pixels has no frequencies from its Nyquist on, `2 |k_y| >= h` or `2 |k_x| >= w`. There a
pattern is cut down to those it has, and a direction to its coordinates there, scaled back to length 1:

    restrict  S^(d-1) -> S^(d'-1), which takes uniform directions to uniform ones, so that the test stays exact in R^d'
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import KeyringError
from .lattice import Size, below_nyquist, half_plane

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PATTERNS", "Const", "Disc", "Pattern", "Rand", "Ring", "Square", "Zeros"]


@dataclass(frozen=True)
class Pattern(ABC):
    """Where a key lives in the Fourier domain of the initial noise. :meth:`of` makes one by the name of its kind.

    Arguments:
        radius: Largest frequency used, in cycles per latent side, from 1 to 512.
        channels: Indices of the latent channels used.
        strength: Cosine between the planted coordinates and the key, in (0, 1].

    Attributes:
        kind: The name of the kind.
        searchable: Whether a key is free in every coordinate: then noise may be evened out before it is read, and
            shifting a picture keeps its key in the key space, so that a search for its place makes sense.
        corners: Whether the radius bounds each of |k_y| and |k_x|, not |k|.
        canvas: Height and width in latent pixels that the pattern was cut down to by :meth:`fitted`; None if it is
            whole.

    Raises:
        KeyringError: If a value is out of its range.
    """

    radius: int
    channels: tuple[int, ...]
    strength: float
    canvas: Size | None = field(default=None, init=False, repr=False)

    kind: ClassVar[str]
    searchable: ClassVar[bool] = False
    corners: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (isinstance(self.radius, int) and 1 <= self.radius <= 512):
            raise KeyringError(f"pattern radius {self.radius!r} is not a whole number from 1 to 512")
        channels = self.channels
        if (
            not channels
            or len(set(channels)) != len(channels)
            or not all(isinstance(c, int) and 0 <= c < 64 for c in channels)
        ):
            raise KeyringError(f"pattern channels {channels!r} are not distinct indices from 0 to 63")
        if not (isinstance(self.strength, (int, float)) and 0 < self.strength <= 1):
            raise KeyringError(f"pattern strength {self.strength!r} is not in (0, 1]")

    @staticmethod
    def of(
        kind: str = "disc",
        radius: int | None = None,
        channels: Sequence[int] | None = None,
        strength: float | None = None,
    ) -> Pattern:
        """The pattern of a kind, `None` standing for the kind's default.

        Raises:
            KeyringError: If there is no such kind, or a value is out of its range.
        """
        if kind not in PATTERNS:
            raise KeyringError(f"unknown pattern {kind!r}: choose one of {', '.join(PATTERNS)}")
        chosen = {"radius": radius, "channels": channels and tuple(channels), "strength": strength}
        return PATTERNS[kind](**{name: value for name, value in chosen.items() if value is not None})

    @staticmethod
    def from_json(entry: dict) -> Pattern:
        values = {**entry, "channels": tuple(entry["channels"])}
        return PATTERNS[values.pop("kind")](**values)

    def to_json(self) -> dict:
        return {
            "kind": self.kind, "radius": self.radius, "channels": list(self.channels), "strength": self.strength
        }  # fmt: skip

    def fitted(self, canvas: Size) -> Pattern:
        """What of the whole pattern a canvas of (height, width) latent pixels holds: all of it, if there is room.

        Raises:
            KeyringError: If that is not enough to tell keys apart.
        """
        height, width = canvas
        part = self._on(None if 2 * self.radius < min(canvas) else (height, width))
        if not part._suffices:
            raise KeyringError(
                f"a latent of {width}x{height} pixels holds too few frequencies for a key: use larger images"
            )
        return part

    def fits(self, canvas: Size) -> bool:
        """Whether :meth:`fitted` has an answer."""
        return self._on(tuple(canvas))._suffices

    @property
    def whole(self) -> Pattern:
        """The pattern before it was cut down."""
        return self._on(None)

    def _on(self, canvas: Size | None) -> Pattern:
        if canvas == self.canvas:
            return self
        part = copy(self)
        object.__setattr__(part, "canvas", canvas)
        return part

    @property
    def _suffices(self) -> bool:
        return len(self.lattice) > 0 and self.dimension >= min(2, self.whole.dimension)

    @property
    def lattice(self) -> np.ndarray:
        """Independent frequencies (k_y, k_x), one of each pair (k, -k), with shape (n, 2), ordered; read-only."""
        return half_plane(self.radius, self.corners, self.canvas)

    @property
    def held(self) -> np.ndarray:
        """Which frequencies of the whole pattern the canvas holds, with its length, boolean."""
        return below_nyquist(self.whole.lattice, self.canvas)

    @property
    def size(self) -> int:
        """Number m of real coordinates inside the mask."""
        return 2 * len(self.lattice) * len(self.channels)

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Dimension d of the space that keys are drawn from."""

    def restrict(self, direction: np.ndarray) -> np.ndarray:
        """The direction that a direction of the whole pattern has in this one, with length 1.

        Arguments:
            direction: One of the whole pattern, or several, with shape (..., whole.dimension).

        Returns:
            With shape (..., d); the same numbers if nothing was cut off.
        """
        if self.canvas is None:
            return direction
        left = direction[..., self.left]
        return left / np.linalg.norm(left, axis=-1, keepdims=True)

    @property
    @abstractmethod
    def left(self) -> np.ndarray:
        """Which dimensions of the whole key space are left, boolean, with its length."""

    @abstractmethod
    def lift(self, direction: np.ndarray) -> Tensor:
        """Masked coordinates of a key with direction (d,), with shape (channels, n, 2), float64, on the CPU.

        Raises:
            KeyringError: If the direction is of another dimension.
        """

    @abstractmethod
    def project(self, coordinates: Tensor) -> Tensor:
        """The adjoint of :meth:`lift`, from shape (B, channels, n, 2) to (B, d)."""

    def _vector(self, direction: np.ndarray) -> Tensor:
        import torch

        u = torch.from_numpy(np.array(direction, dtype=np.float64))
        if u.shape != (self.dimension,):
            raise KeyringError(
                f"a direction of shape {tuple(u.shape)} does not fit a pattern of dimension {self.dimension}"
            )
        return u


class _Free(Pattern):
    """Every coordinate is the key's to choose. A shift turns phases and leaves the key in its space."""

    searchable = True

    @property
    def dimension(self) -> int:
        return self.size

    @property
    def left(self) -> np.ndarray:
        return np.tile(np.repeat(self.held, 2), len(self.channels))

    def lift(self, direction: np.ndarray) -> Tensor:
        return self._vector(direction).reshape(len(self.channels), len(self.lattice), 2)

    def project(self, coordinates: Tensor) -> Tensor:
        return coordinates.flatten(1)


class _Constant(Pattern):
    """One real number for each channel and set of frequencies. Whitening would flatten it: it is read without."""

    @staticmethod
    @abstractmethod
    def _sets(lattice: np.ndarray) -> np.ndarray:
        """A number for the set that each frequency belongs to, with shape (n,)."""

    @property
    def sets(self) -> np.ndarray:
        """Index of the set that each frequency belongs to, with shape (n,)."""
        return np.unique(self._sets(self.lattice), return_inverse=True)[1]

    @property
    def dimension(self) -> int:
        return len(np.unique(self._sets(self.lattice))) * len(self.channels)

    @property
    def left(self) -> np.ndarray:
        whole = np.unique(self._sets(self.whole.lattice))
        return np.tile(np.isin(whole, self._sets(self.lattice)), len(self.channels))

    def lift(self, direction: np.ndarray) -> Tensor:
        u = self._vector(direction).reshape(len(self.channels), -1)
        sets, share = self._shares(u)
        coordinates = u.new_zeros(len(self.channels), len(sets), 2)
        coordinates[..., 0] = u[:, sets] * share
        return coordinates

    def project(self, coordinates: Tensor) -> Tensor:
        sets, share = self._shares(coordinates)
        sums = coordinates.new_zeros(*coordinates.shape[:2], int(self.sets.max()) + 1)
        return sums.index_add_(2, sets, coordinates[..., 0] * share).flatten(1)

    def _shares(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Set of each frequency, and the weight that gives each set the length 1, both with shape (n,)."""
        import torch

        sets = self.sets
        share = torch.from_numpy(np.bincount(sets)[sets] ** -0.5)
        return torch.from_numpy(sets).to(like.device), share.to(like)


@dataclass(frozen=True)
class Disc(_Free):
    radius: int = 31
    channels: tuple[int, ...] = (0, 1, 2, 3)
    strength: float = 0.5

    kind = "disc"


@dataclass(frozen=True)
class Square(_Free):
    radius: int = 31
    channels: tuple[int, ...] = (0, 1, 2, 3)
    strength: float = 0.5

    kind = "square"
    corners = True


@dataclass(frozen=True)
class Rand(_Free):
    radius: int = 10
    channels: tuple[int, ...] = (3,)
    strength: float = 1.0

    kind = "rand"


@dataclass(frozen=True)
class Ring(_Constant):
    radius: int = 10
    channels: tuple[int, ...] = (3,)
    strength: float = 1.0

    kind = "ring"

    @staticmethod
    def _sets(lattice: np.ndarray) -> np.ndarray:
        return np.rint(np.hypot(*lattice.T)).astype(int)


@dataclass(frozen=True)
class Const(_Constant):
    radius: int = 10
    channels: tuple[int, ...] = (3,)
    strength: float = 1.0

    kind = "const"

    @staticmethod
    def _sets(lattice: np.ndarray) -> np.ndarray:
        return np.zeros(len(lattice), dtype=int)


@dataclass(frozen=True)
class Zeros(Pattern):
    radius: int = 10
    channels: tuple[int, ...] = (3,)
    strength: float = 1.0

    kind = "zeros"
    dimension = 0
    left = np.zeros(0, dtype=bool)

    def lift(self, direction: np.ndarray) -> Tensor:
        return self._vector(direction).new_zeros(len(self.channels), len(self.lattice), 2)

    def project(self, coordinates: Tensor) -> Tensor:
        return coordinates.new_zeros(len(coordinates), 0)


PATTERNS: dict[str, type[Pattern]] = {kind.kind: kind for kind in (Disc, Square, Ring, Rand, Const, Zeros)}
