"""A recovered noise, refined until what is sampled from it is the picture again.

    n* = argmin ||S(n) - z||^2 / ||z||^2,   begun at the noise that an inversion found

with S the sampler as it runs, guidance and all, and z the picture's latent. Where inversion at w = 1 left the path of a
sampler at w > 1, embeddings lead it back (:mod:`.guidance`); here the noise itself does, and is all that need be kept.
The gradient is that of one step at a time (SDO, arXiv 2505.07477; :mod:`.shortcut`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..models.multistep import Predictor
from ..models.schedule import Grid
from ..models.wired import blocks
from .shortcut import Optimised, optimise, through

__all__ = ["Refinement", "refine"]


@dataclass(frozen=True)
class Refinement:
    """How a noise is refined.

    Arguments:
        iterations: Updates; each costs the sampling, and one step's gradient.
        learning_rate: Of Adam.
        kept: Whose graphs are kept; see :func:`.shortcut.through`.
        seed: Of the steps that are drawn.
    """

    iterations: int = 60
    learning_rate: float = 0.01
    kept: str = "random"
    seed: int = 0


def refine(
    predict: Predictor,
    grid: Grid,
    noise: Tensor,
    latent: Tensor,
    how: Refinement = Refinement(),
    callback: Callable[[int, Tensor], None] | None = None,
) -> Optimised:
    """The noise near a recovered one from which DDIM samples a latent best.

    Arguments:
        predict: What the sampler asks, such as :func:`~..models.guidance.guided` at the picture's guidance scale.
        grid: Times of the sampler, as of :meth:`~..models.schedule.Grid.of`.
        noise: What an inversion found, with shape (B, C, ...).
        latent: Clean latents that are to come out, of the same shape.
        how: Settings.
        callback: Called after each evaluation with the number of updates so far and the losses, with shape (B,).

    Returns:
        Of each image the best noise, at worst the one given, and as losses its relative squared errors (NMSE, not in
        dB) of the sampled latent.

    Raises:
        ArgumentError: If there is no such kind of graph to keep.
    """
    power = latent.flatten(1).square().mean(dim=1)
    return optimise(
        through(blocks(predict, grid, 0.0), how.kept, how.seed),
        noise,
        lambda z: (z - latent).flatten(1).square().mean(dim=1) / power,
        iterations=how.iterations,
        learning_rate=how.learning_rate,
        callback=callback,
    )
