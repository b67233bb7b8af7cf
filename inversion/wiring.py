"""Reversible wiring: back-propagation that keeps no activations.

    y1 = (1 - v) F(x1) + v x2,   y2 = x1;        x1 = y2,   x2 = (y1 - (1 - v) F(y2)) / v

On the way back each block's input is computed from its output, and the block run once more with a graph of its own: of
any number of blocks, one graph and two states are in memory at a time (IDM, TPAMI 2025, arXiv 2403.17006).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..models.wired import Block, unwire, wire

__all__ = ["Wired", "reversible"]


class Wired(nn.Module):
    """Shape-preserving modules, wired reversibly: memory for the gradient does not grow with their number.

    Arguments:
        modules: The blocks.
        v: Where the weights of the second state begin; they are learned, one a block.
    """

    def __init__(self, modules: Iterable[nn.Module], v: float = 0.5) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(modules)
        self.v = nn.Parameter(torch.full((len(self.blocks),), float(v)))

    def forward(self, x1: Tensor, x2: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`(y1, y2)` after all blocks, each with the shape of `x1`; `x2` is `x1` if not given."""
        return reversible(list(self.blocks), x1, x1 if x2 is None else x2, self.v, list(self.blocks.parameters()))

    @torch.no_grad()
    def inverse(self, y1: Tensor, y2: Tensor) -> tuple[Tensor, Tensor]:
        """`(x1, x2)` of what :meth:`forward` returned."""
        for block, v in zip(reversed(self.blocks), self.v.flip(0), strict=True):
            y1, y2 = unwire(block, y1, y2, v)
        return y1, y2


def reversible(
    steps: Sequence[Block], x1: Tensor, x2: Tensor, v: Tensor, parameters: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor]:
    """`(y1, y2)` after all blocks, differentiable without their activations.

    Arguments:
        steps: Blocks, which must not draw random numbers: each runs twice.
        x1, x2: States with shape (B, ...).
        v: Weights of the second state, with shape (len(steps),).
        parameters: What else the blocks depend on and a gradient may be wanted of.
    """
    return _Reversible.apply(steps, v, x1, x2, *parameters)


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx, steps: Sequence[Block], v: Tensor, x1: Tensor, x2: Tensor, *parameters: Tensor):
        y1, y2 = x1, x2
        for block, weight in zip(steps, v, strict=True):
            y1, y2 = wire(block, y1, y2, weight)
        y2 = y2.clone() if y2 is x1 else y2
        ctx.steps, ctx.parameters = steps, parameters
        ctx.save_for_backward(v, y1, y2)
        return y1, y2

    @staticmethod
    def backward(ctx, g1: Tensor, g2: Tensor):
        v, y1, y2 = ctx.saved_tensors
        wanted = [p for p in ctx.parameters if p.requires_grad]
        total, of_v = [torch.zeros_like(p) for p in wanted], torch.zeros_like(v)
        for i in reversed(range(len(ctx.steps))):
            x1 = y2.detach().requires_grad_()
            with torch.enable_grad():
                output = ctx.steps[i](x1)
            x2 = (y1 - (1 - v[i]) * output.detach()) / v[i]
            of_v[i] = (g1 * (x2 - output.detach())).sum()
            of_x1, *of_parameters = torch.autograd.grad(output, (x1, *wanted), (1 - v[i]) * g1, allow_unused=True)
            for sum_, part in zip(total, of_parameters, strict=True):
                if part is not None:
                    sum_ += part
            g1, g2 = g2 + (0 if of_x1 is None else of_x1), v[i] * g1
            y1, y2 = x1.detach(), x2
        gradients = iter(total)
        return None, of_v, g1, g2, *(next(gradients) if p.requires_grad else None for p in ctx.parameters)
