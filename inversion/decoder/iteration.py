"""The loop that every decoder inversion runs in, and its safeguards.

A solver is an update of the iterates. The loop evaluates a residual for each image, keeps the best iterate, takes
images that have converged out of the batch, and turns back those that diverge: to their best iterate, with half the
step and an empty memory, a few times, and then out of the batch. What is returned never has a larger residual than the
starting point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.base import Coders

__all__ = ["Callback", "DecoderInversion", "Evaluation", "State", "Update", "equation", "iterate"]

DIVERGED = 5.0
"""An image diverges once its loss is this many times the best it has had."""

SECANT = 0.05
"""Root mean square, in an image in [-1, 1], over which the encoder's answer to a mismatch is evaluated."""


@dataclass(frozen=True)
class DecoderInversion:
    """What a solver found.

    Attributes:
        latent: Best clean latents, with shape (B, C, h, w), float32.
        residual: Residual of each, with shape (B,): `||T(z)|| / ||E(x)||`, or for the gradient-based solver, which
            never calls `E` again, the root mean square of `D(z) - x`.
        initial_residual: The same at `E(x)`, with shape (B,).
        iterations: Index of the best iterate of each image, with shape (B,); 0 is the encoder's answer.
        calls: Evaluations that each image took, with shape (B,): one call of `D` and one of `E`, or for the
            gradient-based solver one of `D`, forward and backward. The call of `E` that starts it is not counted.
        converged: Whether the residual fell below the tolerance, with shape (B,).
        restarts: How often each image was turned back to its best iterate, with shape (B,).
        diverged: Whether an image left the batch because it went on diverging, with shape (B,). Its latent is the best
            iterate before that, at worst the encoder's answer.
        history: Residuals by iteration, with shape (K + 1, B); nan once an image has left the batch.
    """

    latent: Tensor
    residual: Tensor
    initial_residual: Tensor
    iterations: Tensor
    calls: Tensor
    converged: Tensor
    restarts: Tensor
    diverged: Tensor
    history: Tensor


@dataclass(frozen=True)
class Evaluation:
    """What is known at iterates `z`.

    Attributes:
        slope: What the solver moves along, with shape (B, C, h, w): `T(z)`, or a gradient.
        residual: What must vanish, with shape (B,).
        loss: What decides which iterate is the best, with shape (B,).
        mismatch: `D(z) - x`, with shape (B, 3, H, W), where a solver asks for it.
    """

    slope: Tensor
    residual: Tensor
    loss: Tensor
    mismatch: Tensor | None = None

    def __getitem__(self, images: Tensor) -> Evaluation:
        return Evaluation(*(None if value is None else value[images] for value in self._values()))

    def __setitem__(self, images: Tensor, other: Evaluation) -> None:
        for value, new in zip(self._values(), other._values(), strict=True):
            if value is not None:
                value[images] = new

    def _values(self) -> tuple[Tensor | None, ...]:
        return self.slope, self.residual, self.loss, self.mismatch


Callback = Callable[[DecoderInversion], None]
State = dict[str, Tensor]
Update = Callable[[Tensor, Evaluation, State], Tensor]
"""From iterates, with shape (B, C, h, w), and what is known there to the next iterates.

The state is the solver's memory: tensors whose first axis is the batch and for which all zeros means that nothing is
remembered. The loop keeps two entries of it, both with shape (B, 1, 1, 1): `age`, the number of updates since the start
or the last restart, and `damping`, the factor of the step.
"""


def equation(
    coders: Coders, image: Tensor, *, in_image: bool = False
) -> tuple[Tensor, Callable[[Tensor, Tensor], Evaluation]]:
    """`E(x)`, and the function that evaluates `T(z) = E(D(z)) - E(x)` for the images with the given indices.

    Arguments:
        coders: `E` and `D`.
        image: Images x with shape (B, 3, H, W) in [-1, 1].
        in_image: Judge iterates by the root mean square of the mismatch `e = D(z) - x`, keep that, and evaluate T over
            a longer secant, `(E(x + s e) - E(x)) / s` with the s that brings `e` up to :data:`SECANT`. For s = 1 that
            is `T(z)`; near the solution, where `T` is a small difference of large numbers, it loses less to rounding
            and points better.
    """
    encoded = coders.encode(image)
    target = encoded.float()
    scale = target.flatten(1).norm(dim=1).clamp_min(1e-12)

    def evaluate(z: Tensor, active: Tensor) -> Evaluation:
        x, decoded = image[active].float(), coders.decode(z).float().clamp(-1, 1)
        mismatch = decoded - x
        error = mismatch.flatten(1).square().mean(dim=1).sqrt()
        stretch = (SECANT / error).clamp(1, 64)[:, None, None, None] if in_image else 1.0
        slope = (coders.encode(x + stretch * mismatch).float() - target[active]) / stretch
        residual = slope.flatten(1).norm(dim=1) / scale[active]
        return Evaluation(slope, residual, error, mismatch) if in_image else Evaluation(slope, residual, residual)

    return encoded, evaluate


def iterate(
    start: Tensor,
    evaluate: Callable[[Tensor, Tensor], Evaluation],
    update: Update,
    *,
    iterations: int,
    tolerance: float,
    restarts: int,
    callback: Callback | None,
) -> DecoderInversion:
    """Run an update from `start`, each image as far as it converges, and keep the best iterates.

    Arguments:
        start: Starting latents, with shape (B, C, h, w).
        evaluate: From latents and the indices of their images to an :class:`Evaluation`.
        update: The solver.
        iterations: Largest number of updates; one more evaluation measures the last iterate.
        tolerance: Residual below which an image has converged.
        restarts: How often an image that diverges is turned back before it leaves the batch.
        callback: Called after each evaluation with what would be returned if it were the last.
    """
    count, device = len(start), start.device
    active = torch.arange(count, device=device)
    z = start.float()
    best, at_best = z.clone(), None
    found_at, calls, turned = (torch.zeros(count, dtype=torch.long, device=device) for _ in range(3))
    diverged = torch.zeros(count, dtype=torch.bool, device=device)
    state: State = {"age": z.new_zeros(count, 1, 1, 1), "damping": z.new_ones(count, 1, 1, 1)}
    history: list[Tensor] = []

    def result() -> DecoderInversion:
        residual = at_best.residual
        tensors = (residual, history[0], found_at, calls, residual <= tolerance, turned, diverged, torch.stack(history))
        return DecoderInversion(best, *(tensor.cpu() for tensor in tensors))

    for k in range(iterations + 1):
        here = evaluate(z, active)
        calls[active] += 1
        row = torch.full((count,), math.nan, device=device)
        row[active] = here.residual
        history.append(row)

        if at_best is None:
            at_best = here
        # A lower loss at a larger residual than the start's is not progress that anybody can rely on.
        better = (here.loss < at_best.loss[active]) & (here.residual <= history[0][active])
        improved = active[better]
        best[improved], at_best[improved], found_at[improved] = z[better], here[better], k

        lost = ~(here.loss <= DIVERGED * at_best.loss[active])  # nan is lost, too
        gone = lost & (turned[active] >= restarts)
        diverged[active[gone]] = True
        if callback:
            callback(result())
        keep = ~gone & ((here.residual > tolerance) | lost)
        if k == iterations or not keep.any():
            break

        active, z, here, lost = active[keep], z[keep], here[keep], lost[keep]
        state = {name: value[keep] for name, value in state.items()}
        if lost.any():
            back = active[lost]
            turned[back] += 1
            z[lost], here[lost] = best[back], at_best[back]
            damping = state["damping"][lost] / 2
            for value in state.values():
                value[lost] = 0
            state["damping"][lost] = damping
        z = update(z, here, state)
        state["age"] = state["age"] + 1

    return result()
