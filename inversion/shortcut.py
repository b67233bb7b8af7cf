"""Gradients through a sampling chain that keep the graph of one step (SDO, arXiv 2505.07477).

Every sampling step adds something to its input: summed up as by a Picard iteration, the end of the chain is its start
plus all that. Differentiated at one step k, with the rest held fixed,

    d z_n / d z_0  ~  d z_{k+1} / d z_k,

so that one network call of n is run with a graph. Which one is drawn anew each time, or is the last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..models.wired import Block

__all__ = ["KEPT", "Optimised", "optimise", "shortcut", "through"]

KEPT = ("random", "last", "all")
"""Which steps' graphs are kept."""


@dataclass(frozen=True)
class Optimised:
    """What a descent found.

    Attributes:
        value: Of each image the input with the least loss, with shape (B, ...).
        loss: That loss, with shape (B,).
        history: Losses by iteration, with shape (K + 1, B); the first is that of the start.
    """

    value: Tensor
    loss: Tensor
    history: Tensor


def shortcut(chain: Sequence[Block], start: Tensor, kept: int) -> Tensor:
    """The end of a chain of steps, which knows its gradient by the start as that of one step.

    Arguments:
        chain: Shape-preserving steps, as of :func:`..models.wired.blocks` with v = 0. What else the kept one depends
            on, weights or prompts, gets its gradient there, too.
        start: Input with shape (B, ...).
        kept: Index of the step whose graph is kept.
    """
    with torch.no_grad():
        z = start
        for step in chain[:kept]:
            z = step(z)
    inside = chain[kept](_in_place_of(z, start))
    with torch.no_grad():
        z = inside
        for step in chain[kept + 1 :]:
            z = step(z)
    return _in_place_of(z, inside)


def through(chain: Sequence[Block], kept: str = "random", seed: int = 0) -> Callable[[Tensor], Tensor]:
    """The function that runs a chain, with a gradient of one kind.

    Arguments:
        chain: Shape-preserving steps.
        kept: `random`, another step each time, `last`, or `all`, plain back-propagation. With the wired chain, take
            :func:`.wiring.reversible` in its place.
        seed: Of the steps that are drawn.

    Raises:
        ArgumentError: If there is no such kind.
    """
    if kept not in KEPT:
        raise ArgumentError(f"the graph of {kept!r} cannot be kept: choose one of {', '.join(KEPT)}")
    draw = random.Random(seed)

    def run(z: Tensor) -> Tensor:
        if kept == "all":
            for step in chain:
                z = step(z)
            return z
        return shortcut(chain, z, draw.randrange(len(chain)) if kept == "random" else len(chain) - 1)

    return run


@torch.enable_grad()
def optimise(
    run: Callable[[Tensor], Tensor],
    start: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    iterations: int = 50,
    learning_rate: float = 0.05,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Optimised:
    """Adam on what goes into a chain; of each image the best is kept, at worst the start.

    Arguments:
        run: From the input to what is judged, such as :func:`through` a sampling chain.
        start: First input, with shape (B, ...).
        loss: From what `run` returns to losses of each image, with shape (B,).
        iterations: Updates.
        learning_rate: Of Adam.
        callback: Called after each evaluation with the number of updates so far and the losses.
    """
    value = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([value], lr=learning_rate)
    best, least, history = value.detach().clone(), torch.full((len(start),), torch.inf, device=start.device), []
    for k in range(iterations + 1):
        losses = loss(run(value))
        now = losses.detach().to(least.dtype)
        better = (now < least).reshape(-1, *[1] * (start.ndim - 1))
        best, least = torch.where(better, value.detach(), best), torch.minimum(now, least)
        history.append(now.cpu())
        if callback:
            callback(k, now)
        if k < iterations:
            (value.grad,) = torch.autograd.grad(losses.sum(), value)
            adam.step()
    return Optimised(best, least.cpu(), torch.stack(history))


def _in_place_of(value: Tensor, source: Tensor) -> Tensor:
    """`value`, with the gradient of `source`."""
    return value.detach() + (source - source.detach())
