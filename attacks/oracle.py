"""Attacks on a detector that answers, and shows nothing else: yes or no, or a number.

    boundary   yes or no: from a picture on the wanted side towards the one that is to be kept, first straight, then
               along the border (Brendel, Rauber and Bethge, 2018, arXiv 1712.04248)
    walk       a number: a step in a random direction is kept if the answer is no worse, at a distance that is allowed

Neither knows a model. Directions are drawn by whoever calls, who may know one. Pictures are tensors (3, H, W) in
[-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

__all__ = ["boundary", "walk"]

STRAIGHT = 8
"""Halvings of the way at most, and a third of the queries."""

FASTER, SLOWER = 1.3, 0.9
"""By what a step grows that was right, and shrinks that was not."""


def boundary(
    wanted: Callable[[Tensor], bool],
    near: Tensor,
    starts: Sequence[Tensor],
    draw: Callable[[], Tensor],
    queries: int,
) -> Tensor:
    """The picture closest to one that the detector answers about as wanted.

    Arguments:
        wanted: Asks the detector; called so many times at most.
        near: The picture that is to be kept.
        starts: Pictures to start from, the first that is answered about as wanted is taken.
        draw: Draws a direction, with shape (3, H, W).
        queries: Times that are allowed.

    Returns:
        The picture; the one that is to be kept if none of the starts is any good.
    """
    asked, best = 0, None
    for start in starts[:queries]:
        asked += 1
        if wanted(start):
            best = start
            break
    if best is None:
        return near
    low, high, far = 0.0, 1.0, best
    for _ in range(min(STRAIGHT, (queries - asked) // 3)):
        asked += 1
        middle = (low + high) / 2
        if wanted(near + middle * (far - near)):
            high = middle
        else:
            low = middle
    best = near + high * (far - near)
    aside = 0.3
    while asked < queries:
        asked += 1
        offset = best - near
        length, direction = offset.norm(), draw()
        direction = direction - (direction * offset).sum() / length.square().clamp_min(1e-12) * offset
        tried = offset + aside * length * direction / direction.norm().clamp_min(1e-12)
        tried = (near + (1 - aside**2 / 2) * length * tried / tried.norm().clamp_min(1e-12)).clamp(-1, 1)
        if wanted(tried):
            best = tried
            aside = min(1.0, FASTER * aside)
        else:
            aside *= SLOWER
    return best


def walk(
    answer: Callable[[Tensor], float], start: Tensor, draw: Callable[[], Tensor], length: float, queries: int
) -> Tensor:
    """The picture with the least answer, no farther from one than is allowed.

    Arguments:
        answer: Asks the detector; called so many times.
        start: The picture.
        draw: Draws a direction, with shape (3, H, W).
        length: Euclidean distance that is allowed.
        queries: Times that are allowed.
    """
    change, least, stride = start - start, answer(start), 1.0
    for _ in range(queries - 1):
        direction = draw()
        tried = change + stride * length * direction / direction.norm().clamp_min(1e-12)
        tried = tried * (length / tried.norm()).clamp_max(1.0)
        said = answer((start + tried).clamp(-1, 1))
        if said < least:
            stride = min(1.0, FASTER * stride)
        elif said > least:
            stride = max(0.1, SLOWER * stride)
        if said <= least:
            change, least = tried, said
    return (start + change).clamp(-1, 1)
