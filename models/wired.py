"""A sampler whose inverse is algebra: DDIM's steps wired reversibly.

Invertible networks run two states through blocks `F_i` (IDM, arXiv 2403.17006):

    y1 = (1 - v) F_i(x1) + v x2,   y2 = x1;        x1 = y2,   x2 = (y1 - (1 - v) F_i(y2)) / v.

Were a block DDIM's step from t_i down to t_{i+1} alone, a state two noise levels back would be mixed in. The network's
answer at `x1` also says where `x1` came from, by the step up to t_{i-1}; so the block here is

    (1 - v) F_i(x1) = down_i(x1) - v up_i(x1),     down_i = alpha_{i+1} x0 + sigma_{i+1} eps,  up_i with i - 1,

and only `x2 - up_i(x1)`, the curvature of the path, is mixed in. v = 0 is DDIM, v = 1 the leapfrog method. One network
call a step, either way; errors grow by 1 / v a step on the way up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from .multistep import Predictor
from .schedule import Grid

__all__ = ["MIX", "Block", "blocks", "sample_wired", "unwire", "wire"]

MIX = 0.95
"""v of the sampler."""

Block = Callable[[Tensor], Tensor]


def wire(block: Block, x1: Tensor, x2: Tensor, v: float | Tensor) -> tuple[Tensor, Tensor]:
    """`(y1, y2)` of one block, each with the shape of `x1`."""
    return (1 - v) * block(x1) + v * x2, x1


def unwire(block: Block, y1: Tensor, y2: Tensor, v: float | Tensor) -> tuple[Tensor, Tensor]:
    """`(x1, x2)` of one block."""
    return y2, (y1 - (1 - v) * block(y2)) / v


def blocks(predict: Predictor, grid: Grid, v: float = MIX) -> list[Block]:
    """`F_i` of each step on a grid, for latents of any shape; v is below 1."""

    def block(i: int) -> Block:
        up = max(i - 1, 0)  # Above the first step there is nothing: x2 is x1 there, and nothing is mixed in.
        signal, noise = (level[i + 1] - v * level[up] for level in (grid.alpha, grid.sigma))

        def step(z: Tensor) -> Tensor:
            x0, eps = predict(z, grid.times[i])
            return (signal * x0 + noise * eps) / (1 - v)

        return step

    return [block(i) for i in range(grid.steps)]


def sample_wired(
    steps: Sequence[Block], noise: Tensor, v: float = MIX, callback: Callable[[int], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Clean latents from initial noise (B, C, ...), and the state before them, which the exact inverse needs too."""
    x1 = x2 = noise
    for done, block in enumerate(steps, start=1):
        x1, x2 = wire(block, x1, x2, v)
        if callback:
            callback(done)
    return x1, x2
