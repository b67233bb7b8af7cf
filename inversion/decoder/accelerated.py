"""Fewer calls of `E` and `D` for the same latent.

The forward step method knows nothing but the last residual. Anderson's method remembers the last few steps and what
they changed, and goes as far along each as explains what is left.

Where iterations fail, they fail in places: a spot of the latent runs away while everything else converges. Autoencoders
are nearly local, so each region of the latent is safeguarded for itself, as the loop safeguards images.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.base import Coders
from .iteration import Callback, DecoderInversion, Evaluation, State, equation, iterate

__all__ = ["anderson"]

REGION = 9
"""Width of the regions that are judged, in pixels of the latent."""

RIDGE = 1e-6
"""`mu` of the fit, in units of the largest of the columns' squared norms."""

WORSE = 1.5
"""A region is turned back once its mismatch is this many times the least that it has had."""


def anderson(
    coders: Coders,
    image: Tensor,
    *,
    iterations: int = 5,
    memory: int = 5,
    in_image: bool = True,
    tolerance: float = 1e-3,
    restarts: int = 2,
    callback: Callback | None = None,
) -> DecoderInversion:
    """Anderson acceleration of the forward step method, its combination fitted in the image.

    With the last changes of the iterates and of the residuals as columns of `dZ` and `dR` (type II of Walker and Ni,
    SIAM J. Numer. Anal. 2011),

        z <- z - dZ gamma - (T(z) - dR gamma),    gamma = argmin ||e - dM gamma||^2 + mu ||gamma||^2.

    The textbook takes `e = T(z)` and `dM = dR`. Here the encoder only proposes: what is fitted is the image,
    `e = D(z) - x`, and `dM` its last changes. It has dozens of numbers for each of the latent's, no direction of the
    latent vanishes in it as some do in `E`, and it costs no further call. Regions whose mismatch grew are turned back
    to their best, where they go on with half the mixing.

    Arguments are those of :func:`forward_step`, and

        memory: Number of changes that are remembered.
        in_image: Fit the image, and judge iterates and regions by it; else iterates by the residual, and no regions.
        restarts: How often an image that diverges is turned back to its best iterate, with half the step and nothing
            remembered, before it is given up.
    """

    def update(z: Tensor, here: Evaluation, state: State) -> Tensor:
        if in_image:
            z, here = _turn_back(z, here, state)
        error = here.mismatch if in_image else here.slope
        steps, slopes, errors = (
            _changes(state, name, value, memory)
            for name, value in (("latent", z), ("slope", here.slope), ("error", error))
        )
        gamma = _least_squares(errors, error, RIDGE)
        rest = here.slope - _combine(slopes, gamma)
        damping = state["damping"] * 0.5 ** state["setbacks"] if in_image else state["damping"]
        return z - _combine(steps, gamma) - damping * rest

    encoded, evaluate = equation(coders, image, in_image=in_image)
    start = encoded if coders.start is None else coders.begin(image)
    return iterate(start, evaluate, update,
                   iterations=iterations, tolerance=tolerance, restarts=restarts, callback=callback)  # fmt: skip


def _turn_back(z: Tensor, here: Evaluation, state: State) -> tuple[Tensor, Evaluation]:
    """The iterates and what is known there, with every region that got worse as it was at its best."""
    loss = F.adaptive_avg_pool2d(here.mismatch.square().sum(dim=1, keepdim=True), z.shape[-2:])
    for _ in range(2):
        loss = F.avg_pool2d(loss, REGION, stride=1, padding=REGION // 2, count_include_pad=False)
    now = {"least loss": loss, "best latent": z, "best slope": here.slope, "best mismatch": here.mismatch}
    best = {name: state.get(name, value) for name, value in now.items()}

    better = (loss < best["least loss"]) | (state["age"] == 0)
    worse = (loss > WORSE**2 * best["least loss"]) & ~better
    for name, value in now.items():
        state[name] = torch.where(_resized(better, value), value, best[name])
    state["setbacks"] = state.get("setbacks", torch.zeros_like(loss)) + worse
    z, slope, mismatch = (
        torch.where(_resized(worse, now[name]), state[name], now[name])
        for name in ("best latent", "best slope", "best mismatch")
    )
    return z, replace(here, slope=slope, mismatch=mismatch)


def _resized(regions: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(regions.float(), like.shape[-2:]) > 0.5


def _changes(state: State, name: str, value: Tensor, memory: int) -> Tensor:
    """The last changes of a value, newest first, with shape (B, memory, *value.shape[1:]), zero where there is none."""
    changes = state.get(f"changes of {name}")
    if changes is None:
        changes = value.new_zeros(len(value), memory, *value.shape[1:])
    change = torch.where(state["age"] > 0, value - state.get(f"last {name}", value), 0.0)
    changes = torch.cat([change[:, None], changes[:, :-1]], dim=1)
    state[f"changes of {name}"], state[f"last {name}"] = changes, value
    return changes


def _least_squares(columns: Tensor, target: Tensor, regularization: float) -> Tensor:
    """`argmin ||target - columns gamma||^2 + mu ||gamma||^2` for each image, with shape (B, memory)."""
    columns, target = columns.flatten(2), target.flatten(1)
    gram = (columns @ columns.mT).double()
    ridge = regularization * gram.diagonal(dim1=1, dim2=2).amax(dim=1).clamp_min(1e-30)
    gram = gram + ridge[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram, (columns @ target[..., None])[..., 0].double()).float()


def _combine(columns: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("bm...,bm->b...", columns, weights)
