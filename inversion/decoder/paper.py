"""The methods of Hong et al. (NeurIPS 2024, arXiv 2409.18442), and the gradient-based baseline they are measured by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...models.base import Coders
from .iteration import Callback, DecoderInversion, Evaluation, State, Update, equation, iterate

__all__ = ["adam", "encoder_only", "forward_step", "gradient_based", "inertial_km", "paper_schedule"]


def paper_schedule(k: Tensor, iterations: int, peak: float) -> Tensor:
    """Learning rate of iteration `k`, counted from 0, in the schedule of Hong et al. (2024), section 4.2.

    Linear warm-up over the first tenth, cosine decay over the next seven tenths, then constant at the value reached.
    More than 100 iterations follow the schedule of 100 and stay at its floor.
    """
    total = min(iterations, 100)
    warm_up = max(1, total // 10)
    progress = (k.clamp(max=0.8 * total) - warm_up).clamp_min(0) / max(1, total - warm_up)
    return peak * torch.where(k < warm_up, (k + 1) / warm_up, (1 + torch.cos(math.pi * progress)) / 2)


def encoder_only(coders: Coders, image: Tensor, *, callback: Callback | None = None) -> DecoderInversion:
    """`z = E(x)`, the starting point of every other method; its residual is not measured (nan)."""
    latent = coders.encode(image).float()
    unknown = torch.full((len(latent),), math.nan)
    none = torch.zeros(len(latent), dtype=torch.long)
    found = DecoderInversion(latent, unknown, unknown, none, none, none.bool(), none, none.bool(), unknown[None])
    if callback:
        callback(found)
    return found


def forward_step(
    coders: Coders,
    image: Tensor,
    *,
    iterations: int = 5,
    rho: float = 1.0,
    tolerance: float = 1e-3,
    restarts: int = 0,
    callback: Callback | None = None,
) -> DecoderInversion:
    """The forward step method `z <- z - rho T(z)` (Hong et al., 2024, eq. 5).

    Arguments:
        coders: `E` and `D`; iterations start from what `encode` answers, as published.
        image: Images with shape (B, 3, H, W) in [-1, 1].
        iterations: Largest number of updates, of one call of `D` and one of `E` each.
        rho: Step size.
        tolerance: Relative residual below which an image has converged.
        restarts: How often an image that diverges is turned back to its best iterate, with half the step, before it
            is given up. The paper's methods know no such thing: 0.
        callback: Called after each evaluation with what would be returned if it were the last.
    """

    def update(z: Tensor, here: Evaluation, state: State) -> Tensor:
        return z - state["damping"] * rho * here.slope

    return iterate(*equation(coders, image), update,
                   iterations=iterations, tolerance=tolerance, restarts=restarts, callback=callback)  # fmt: skip


def inertial_km(
    coders: Coders,
    image: Tensor,
    *,
    iterations: int = 5,
    rho: float = 0.5,
    alpha: float = 0.9,
    tolerance: float = 1e-3,
    restarts: int = 0,
    callback: Callback | None = None,
) -> DecoderInversion:
    """Inertial Krasnoselskii-Mann iteration (Hong et al., 2024, eq. 9); iterates are the extrapolated points `y`.

    Arguments are those of :func:`forward_step`, and `alpha` the inertia. The relaxation, lambda, is 1/2, which
    leaves `rho` as the step.
    """

    def update(y: Tensor, here: Evaluation, state: State) -> Tensor:
        z = y - state["damping"] * rho * here.slope
        previous = torch.where(state["age"] > 0, state.get("z", z), z)
        state["z"] = z
        return z + alpha * (z - previous)

    return iterate(*equation(coders, image), update,
                   iterations=iterations, tolerance=tolerance, restarts=restarts, callback=callback)  # fmt: skip


def adam(
    coders: Coders,
    image: Tensor,
    *,
    iterations: int = 20,
    learning_rate: float = 0.1,
    schedule: bool = True,
    tolerance: float = 1e-3,
    restarts: int = 0,
    callback: Callback | None = None,
) -> DecoderInversion:
    """Gradient-free Adam: `T(z)` in the gradient's place (Hong et al., 2024, section 4.1).

    Arguments are those of :func:`forward_step`, and

        learning_rate: Peak rate; Adam's step is absolute, so it is in units of the latent.
        schedule: Follow :func:`paper_schedule`, else stay at the peak.
    """
    encoded, evaluate = equation(coders, image)
    update = _adam_update(iterations, learning_rate, schedule, _epsilon(encoded))
    return iterate(encoded, evaluate, update,
                   iterations=iterations, tolerance=tolerance, restarts=restarts, callback=callback)  # fmt: skip


def gradient_based(
    coders: Coders,
    image: Tensor,
    *,
    iterations: int = 20,
    learning_rate: float = 0.1,
    schedule: bool = True,
    tolerance: float = 1e-3,
    restarts: int = 0,
    callback: Callback | None = None,
) -> DecoderInversion:
    """The baseline: Adam on `||D(z) - x||^2` with back-propagation through the decoder.

    Arguments are those of :func:`adam`. One image at a time is back-propagated, so memory does not grow with the batch.
    """
    encoded, target = coders.encode(image), image.float()

    def evaluate(z: Tensor, active: Tensor) -> Evaluation:
        gradients, errors = [], []
        for latent, x in zip(z.split(1), target[active].split(1), strict=True):
            with torch.enable_grad():
                latent = latent.detach().requires_grad_()
                loss = (coders.decode(latent).float() - x).square().mean()
                (gradient,) = torch.autograd.grad(loss, latent)
            gradients.append(gradient)
            errors.append(loss.detach().sqrt())
        error = torch.stack(errors)
        return Evaluation(torch.cat(gradients), error, error)

    update = _adam_update(iterations, learning_rate, schedule, _epsilon(encoded))
    return iterate(encoded, evaluate, update,
                   iterations=iterations, tolerance=tolerance, restarts=restarts, callback=callback)  # fmt: skip


def _adam_update(iterations: int, learning_rate: float, schedule: bool, epsilon: float) -> Update:
    """Adam (Kingma and Ba, 2015) with betas 0.9 and 0.999, on whatever stands in the gradient's place."""

    def update(z: Tensor, here: Evaluation, state: State) -> Tensor:
        age, gradient = state["age"], here.slope
        rate = paper_schedule(age, iterations, learning_rate) if schedule else learning_rate
        mean = state["mean"] = 0.9 * state.get("mean", 0.0) + 0.1 * gradient
        square = state["square"] = 0.999 * state.get("square", 0.0) + 0.001 * gradient.square()
        mean, square = mean / (1 - 0.9 ** (age + 1)), square / (1 - 0.999 ** (age + 1))
        return z - state["damping"] * rate * mean / (square.sqrt() + epsilon)

    return update


def _epsilon(encoded: Tensor) -> float:
    """The paper's, by the precision in which `E` answers."""
    return 1e-8 if encoded.dtype == torch.float32 else 1e-4
