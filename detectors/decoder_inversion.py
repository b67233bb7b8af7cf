"""Image -> clean latent: inverting the decoder of a latent diffusion model.

Given `x = D(z*)`, find `z*`. Solving `D(z) = x` needs the gradient of `D`. Hong et al. (NeurIPS 2024, arXiv 2409.18442)
solve the weaker

    T(z) := E(D(z)) - E(x) = 0,        from z_0 = E(x),

by iterations that only call `E` and `D`:

    forward step    z <- z - rho T(z)
    inertial KM     y = z_k + alpha (z_k - z_{k-1}),  z_{k+1} = y - 2 lambda rho T(y)
    Adam            T(z) stands where Adam expects a gradient

They converge where `T` is cocoercive, which holds near the data for some autoencoders and fails for others. So every
solver here watches a residual for each image, keeps the best iterate, drops images that have converged or diverge, and
never returns an iterate with a larger residual than the encoder's answer.

Solvers are functions of the callables `encode` and `decode` and of the image alone. Iterates are float32 whatever the
precision of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "METHODS",
    "DecoderInversion",
    "adam",
    "encoder_only",
    "forward_step",
    "gradient_based",
    "inertial_km",
    "paper_schedule",
]

Coder = Callable[[Tensor], Tensor]
Callback = Callable[[int, Tensor], None]
Update = Callable[[int, Tensor, Tensor, dict], Tensor]

DIVERGED = 5.0
"""An image leaves the batch once its residual is this many times the best it has had."""


@dataclass(frozen=True)
class DecoderInversion:
    """What a solver found.

    Attributes:
        latent: Best clean latents, with shape (B, C, h, w), float32.
        residual: Residual of each, with shape (B,): `||T(z)|| / ||E(x)||`, or for the gradient-based solver the root
            mean square of `D(z) - x`.
        initial_residual: The same at `E(x)`, with shape (B,).
        iterations: Index of the best iterate of each image, with shape (B,); 0 is the encoder's answer.
        converged: Whether the residual fell below the tolerance, with shape (B,).
        history: Residuals by iteration, with shape (K + 1, B); nan once an image has left the batch.
    """

    latent: Tensor
    residual: Tensor
    initial_residual: Tensor
    iterations: Tensor
    converged: Tensor
    history: Tensor


def paper_schedule(k: int, iterations: int, peak: float) -> float:
    """Learning rate of iteration `k` in the schedule of Hong et al. (2024), section 4.2.

    Linear warm-up over the first tenth, cosine decay over the next seven tenths, then constant at the value reached.
    More than 100 iterations follow the schedule of 100 and stay at its floor.
    """
    total = min(iterations, 100)
    warm_up = max(1, total // 10)
    if k < warm_up:
        return peak * (k + 1) / warm_up
    progress = (min(k, 0.8 * total) - warm_up) / (total - warm_up) if total > warm_up else 0.0
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def encoder_only(encode: Coder, decode: Coder, image: Tensor) -> DecoderInversion:
    """`z = E(x)`, the starting point of every other method; its residual is not measured (nan)."""
    latent = encode(image).float()
    unknown = torch.full((len(latent),), math.nan)
    none = torch.zeros(len(latent), dtype=torch.long)
    return DecoderInversion(latent, unknown, unknown, none, none.bool(), unknown[None])


def forward_step(
    encode: Coder,
    decode: Coder,
    image: Tensor,
    *,
    iterations: int = 5,
    rho: float = 1.0,
    tolerance: float = 1e-3,
    callback: Callback | None = None,
) -> DecoderInversion:
    """The forward step method `z <- z - rho T(z)` (Hong et al., 2024, eq. 5).

    Arguments:
        encode: `E`, from images (B, 3, H, W) in [-1, 1] to clean latents (B, C, h, w).
        decode: `D`, the other way.
        image: Images with shape (B, 3, H, W) in [-1, 1].
        iterations: Largest number of updates.
        rho: Step size.
        tolerance: Relative residual below which an image has converged.
        callback: Called with the iteration and the residuals (B,) after each evaluation.
    """

    def update(k: int, z: Tensor, residual: Tensor, state: dict) -> Tensor:
        return z - rho * residual

    return _fixed_point(encode, decode, encode(image), update, iterations, tolerance, callback)


def inertial_km(
    encode: Coder,
    decode: Coder,
    image: Tensor,
    *,
    iterations: int = 5,
    rho: float = 0.5,
    alpha: float = 0.9,
    relaxation: float = 0.5,
    tolerance: float = 1e-3,
    callback: Callback | None = None,
) -> DecoderInversion:
    """Inertial Krasnoselskii-Mann iteration (Hong et al., 2024, eq. 9); iterates are the extrapolated points `y`.

    Arguments are those of :func:`forward_step`, and `alpha` the inertia, `relaxation` the lambda of the paper.
    """

    def update(k: int, y: Tensor, residual: Tensor, state: dict) -> Tensor:
        z = y - 2 * relaxation * rho * residual
        previous = state.get("z", z)
        state["z"] = z
        return z + alpha * (z - previous)

    return _fixed_point(encode, decode, encode(image), update, iterations, tolerance, callback)


def adam(
    encode: Coder,
    decode: Coder,
    image: Tensor,
    *,
    iterations: int = 20,
    learning_rate: float = 0.1,
    schedule: bool = True,
    epsilon: float | None = None,
    tolerance: float = 1e-3,
    callback: Callback | None = None,
) -> DecoderInversion:
    """Gradient-free Adam: `T(z)` in the gradient's place (Hong et al., 2024, section 4.1).

    Arguments are those of :func:`forward_step`, and

        learning_rate: Peak rate; Adam's step is absolute, so it is in units of the latent.
        schedule: Follow :func:`paper_schedule`, else stay at the peak.
        epsilon: Adam's; None takes the paper's, 1e-8, or 1e-4 where `E` answers in half precision.
    """
    encoded = encode(image)
    update = _adam_update(iterations, learning_rate, schedule, epsilon or _epsilon(encoded))
    return _fixed_point(encode, decode, encoded, update, iterations, tolerance, callback)


def gradient_based(
    encode: Coder,
    decode: Coder,
    image: Tensor,
    *,
    iterations: int = 20,
    learning_rate: float = 0.1,
    schedule: bool = True,
    epsilon: float | None = None,
    tolerance: float = 1e-3,
    callback: Callback | None = None,
) -> DecoderInversion:
    """The baseline: Adam on `||D(z) - x||^2` with back-propagation through the decoder.

    Arguments are those of :func:`adam`. One image at a time is back-propagated, so memory does not grow with the batch.
    """
    encoded, target = encode(image), image.float()

    def evaluate(z: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        gradients, errors = [], []
        for latent, x in zip(z.split(1), target[active].split(1), strict=True):
            with torch.enable_grad():
                latent = latent.detach().requires_grad_()
                loss = (decode(latent).float() - x).square().mean()
                (gradient,) = torch.autograd.grad(loss, latent)
            gradients.append(gradient)
            errors.append(loss.detach().sqrt())
        return torch.cat(gradients), torch.stack(errors)

    update = _adam_update(iterations, learning_rate, schedule, epsilon or _epsilon(encoded))
    return _iterate(encoded.float(), evaluate, update, iterations, tolerance, callback)


METHODS: dict[str, Callable[..., DecoderInversion]] = {
    "encoder": encoder_only,
    "forward": forward_step,
    "km": inertial_km,
    "adam": adam,
    "gradient": gradient_based,
}
"""Decoder inversions by the name that the command line and the records use."""


def _adam_update(iterations: int, learning_rate: float, schedule: bool, epsilon: float) -> Update:
    """Adam (Kingma and Ba, 2015) with betas 0.9 and 0.999, on whatever stands in the gradient's place."""

    def update(k: int, z: Tensor, gradient: Tensor, state: dict) -> Tensor:
        rate = paper_schedule(k, iterations, learning_rate) if schedule else learning_rate
        mean = state["mean"] = 0.9 * state.get("mean", 0.0) + 0.1 * gradient
        square = state["square"] = 0.999 * state.get("square", 0.0) + 0.001 * gradient.square()
        return z - rate * (mean / (1 - 0.9 ** (k + 1))) / ((square / (1 - 0.999 ** (k + 1))).sqrt() + epsilon)

    return update


def _epsilon(encoded: Tensor) -> float:
    return 1e-8 if encoded.dtype == torch.float32 else 1e-4


def _fixed_point(
    encode: Coder,
    decode: Coder,
    encoded: Tensor,
    update: Update,
    iterations: int,
    tolerance: float,
    callback: Callback | None,
) -> DecoderInversion:
    """Iterate on `T(z) = E(D(z)) - E(x)` from `E(x)`."""
    encoded = encoded.float()
    scale = encoded.flatten(1).norm(dim=1).clamp_min(1e-12)

    def evaluate(z: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        residual = encode(decode(z).clamp(-1, 1)).float() - encoded[active]
        return residual, residual.flatten(1).norm(dim=1) / scale[active]

    return _iterate(encoded, evaluate, update, iterations, tolerance, callback)


def _iterate(
    start: Tensor,
    evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    update: Update,
    iterations: int,
    tolerance: float,
    callback: Callback | None,
) -> DecoderInversion:
    """Run `z <- update(z, evaluate(z))`, image by image as far as convergence goes, and keep the best iterates."""
    active = torch.arange(len(start), device=start.device)
    z, best = start, start.clone()
    residual = torch.full((len(start),), math.inf, device=start.device)
    found_at = torch.zeros_like(active)
    state: dict[str, Tensor] = {}
    history = []
    for k in range(iterations + 1):
        slope, error = evaluate(z, active)
        row = torch.full_like(residual, math.nan)
        row[active] = error
        history.append(row.cpu())

        better = error < residual[active]
        improved = active[better]
        best[improved], residual[improved], found_at[improved] = z[better], error[better], k
        if callback:
            callback(k, residual)

        keep = torch.isfinite(error) & (error > tolerance) & (error < DIVERGED * residual[active])
        if k == iterations or not keep.any():
            break
        active, z, slope = active[keep], z[keep], slope[keep]
        state = {name: value[keep] for name, value in state.items()}
        z = update(k, z, slope, state)

    return DecoderInversion(
        best, residual.cpu(), history[0], found_at.cpu(), (residual <= tolerance).cpu(), torch.stack(history)
    )
