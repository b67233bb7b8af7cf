"""Linear maps `L` from the picture to the canvas, in latent pixels: `y = L x + t`.

    L = exp(-s) Q(b, g) R(a) M,     Q = exp [[b, g], [g, -b]],     R(a) = [[cos, -sin], [sin, cos]],     M = diag(m, 1)

for content that was turned anticlockwise by `a`, then mirrored (m = -1), and magnified by `exp(s)`; `b` squeezes it
along the sides of the canvas and `g` along its diagonals. `exp(2 |(b, g)|)` is the ratio of the largest to the smallest
magnification.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["changed", "magnification", "maps"]


def maps(angle: Tensor, log_scale: Tensor, mirrored: Tensor, squeeze: Tensor) -> Tensor:
    """L, with shape (G, 2, 2).

    Arguments:
        angle: a in radians, with shape (G,).
        log_scale: s, with shape (G,).
        mirrored: Whether m = -1, with shape (G,).
        squeeze: (b, g), with shape (G, 2).
    """
    c, s = angle.cos(), angle.sin()
    m = torch.where(mirrored, -1.0, 1.0)
    turned = torch.stack([c * m, -s, s * m, c], dim=-1).reshape(-1, 2, 2)
    return (-log_scale).exp()[:, None, None] * squeezed(squeeze) @ turned


def squeezed(squeeze: Tensor) -> Tensor:
    """Q, with shape (G, 2, 2)."""
    b, g = squeeze.unbind(-1)
    return torch.linalg.matrix_exp(torch.stack([b, g, g, -b], dim=-1).reshape(-1, 2, 2))


def changed(maps: Tensor, steps: Tensor) -> Tensor:
    """Maps (G, 2, 2) changed on the canvas' side by small steps (G, 4): (s, a, b, g) as in the module's formula."""
    s, a, b, g = steps.unbind(-1)
    change = torch.stack([b - s, g - a, g + a, -b - s], dim=-1).reshape(-1, 2, 2)
    return torch.linalg.matrix_exp(change) @ maps


def magnification(maps: Tensor) -> Tensor:
    """How much larger than on its canvas content shows, with shape (G,)."""
    return torch.linalg.det(maps).abs().clamp_min(1e-12).rsqrt()


def evenly(low: float, high: float, step: float) -> list[float]:
    """Numbers at most a step apart, from a bound to the other, zero among them if it is inside."""
    first, last = math.ceil(low / step - 0.01), math.floor(high / step + 0.01)
    return [i * step for i in range(first, last + 1)]
