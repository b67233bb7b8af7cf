"""For fixed keys over pictures: what is projected out of readings, what it is learned from, and what that mends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..images.synthetic import SYNTHETIC
from .null_readings import Subject
from .null_sources import KINDS
from .null_statistics import Products, fixed_keys, mean_direction, principal_directions, span

__all__ = ["each_key", "kinds_of"]

COMPONENTS = (1, 2, 5, 10)
TESTED = 5
"""One picture in so many is tested, the others are learned from."""

FEWEST = 20
"""Pictures that a kind needs for a row of its own."""

DRAWN = ("nothing", "shipped", "mean of real", "mean of model", "1 principal of real", "1 principal of synthetic")
"""What the figure shows projected out."""


def kinds_of(subjects: Sequence[Subject]) -> dict[str, np.ndarray]:
    """Whether each subject is of a kind, by the name of the kind, for kinds of enough pictures."""
    kinds = np.array([subject.kind for subject in subjects])
    named = {"real": np.isin(kinds, KINDS), **{kind: kinds == kind for kind in (*KINDS, "model", *SYNTHETIC)}}
    return {name: chosen for name, chosen in named.items() if chosen.sum() >= FEWEST}


@dataclass(frozen=True)
class Removed:
    """What is projected out of readings.

    Attributes:
        name: What it is.
        directions: Orthonormal, with shape (k, d); None for nothing.
        learned: Number of pictures that they were computed from; None where that is not known.
        of_real: Whether real pictures are among them.
    """

    name: str
    directions: np.ndarray | None = None
    learned: int | None = 0
    of_real: bool = False


def each_key(
    products: Products, subjects: Sequence[Subject], shipped: np.ndarray | None, unlike: Mapping[int, Collection[str]]
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Rows of fixed keys by the kind of pictures and by what is projected out, and p-values (N, K) for the figure.

    One real picture in five is tested, the others are learned from; `all real` tests all, with what was learned from
    none of them, and each half of them with what was learned from the other. Near copies count as one picture that was
    seen twice, whatever is projected out: so all are tested once more, the fewer the less alike two of them may be.

    Arguments:
        products: Readings and keys.
        subjects: What was read.
        shipped: Directions (K, d) that the model's reader holds, if it holds any.
        unlike: Hashes of real pictures no two of which look alike, by the bits that their likenesses differ in.
    """
    learning = np.array([int(subject.hash[:8], 16) % TESTED > 0 for subject in subjects])
    kinds = kinds_of(subjects)
    as_read = [Removed("nothing")]
    if shipped is not None:
        as_read.append(Removed("shipped", shipped, None))
    everywhere = [*as_read, *estimates({name: products.readings[of & learning] for name, of in kinds.items()})]
    rows, curves = [], {}
    for name, of in {**kinds, "all real": kinds.get("real", np.zeros(len(subjects), bool))}.items():
        whole = name == "all real"
        tested = np.flatnonzero(of if whole else of & ~learning)
        if len(tested) < FEWEST // 2:
            continue
        known = name in (*KINDS, "model", *SYNTHETIC)
        same = components(name, products.readings[of & learning], "same kind") if known else []
        for removed in [*everywhere, *same]:
            if whole and removed.of_real:
                continue
            values = products.p_values(removed.directions, tested)
            rows.append(row_of(name, removed, values))
            if name == "real" and removed.name in DRAWN:
                curves[removed.name] = values
        if whole:
            rows += [row_of(name, removed, values) for removed, values in by_halves(products, tested)]
    for bits, hashes in unlike.items():
        tested = np.flatnonzero([subject.hash in hashes for subject in subjects])
        name = f"real, {bits} bits apart"
        rows += [row_of(name, removed, products.p_values(removed.directions, tested)) for removed in as_read]
    return rows, curves


def row_of(tested: str, removed: Removed, values: np.ndarray) -> dict:
    """What p-values (N, K) of fixed keys show."""
    count = 0 if removed.directions is None else len(removed.directions)
    about = {"tested": tested, "removed": removed.name, "learned": removed.learned, "directions": count}
    return {**about, **fixed_keys(values)}


def by_halves(products: Products, tested: np.ndarray) -> Iterator[tuple[Removed, np.ndarray]]:
    """What is learned from each half of some readings, and the p-values (N, K) of the other without it."""
    halves = tested[::2], tested[1::2]
    learned = [components("real", products.readings[half], "the other half") for half in halves]
    for first, second in zip(*learned, strict=True):
        parts = products.p_values(second.directions, halves[0]), products.p_values(first.directions, halves[1])
        yield first, np.concatenate(parts)


def estimates(learning: Mapping[str, np.ndarray]) -> list[Removed]:
    """Directions that are projected out of all kinds of pictures.

    Arguments:
        learning: Unit readings (N, d) by the kind of pictures; they are tested on others.
    """
    found = [row for name in ("real", "model") if name in learning for row in components(name, learning[name])]
    drawn = {name: learning[name] for name in SYNTHETIC if name in learning}
    if drawn:
        found += components("synthetic", np.concatenate(list(drawn.values())))
    found += means("means of model and synthetic kinds", learning, ("model", *SYNTHETIC))
    found += means("means of the real kinds", learning, KINDS)
    return found


def means(name: str, learning: Mapping[str, np.ndarray], kinds: Sequence[str]) -> list[Removed]:
    """The span of the mean directions of several kinds."""
    chosen = {kind: learning[kind] for kind in kinds if kind in learning}
    if not chosen:
        return []
    directions = span(np.concatenate([mean_direction(readings) for readings in chosen.values()]))
    return [Removed(name, directions, sum(map(len, chosen.values())), any(kind in KINDS for kind in chosen))]


def components(kind: str, readings: np.ndarray, called: str | None = None) -> list[Removed]:
    """The mean direction of readings (N, d) of a kind, and the spans of their first principal directions."""
    count, of_real, called = len(readings), kind in (*KINDS, "real"), called or kind
    most = principal_directions(readings, min(COMPONENTS[-1], count))
    found = [Removed(f"mean of {called}", mean_direction(readings), count, of_real)]
    spans = [k for k in COMPONENTS if k <= len(most)]
    return [*found, *(Removed(f"{k} principal of {called}", most[:k], count, of_real) for k in spans)]
