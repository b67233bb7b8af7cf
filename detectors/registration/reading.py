"""Coordinates of noise that lies bent on a canvas: the adjoint of laying a pattern out over it.

    F(k) = sum_x n(x) exp(-2 pi i kappa f(x)),

the sum over every latent pixel x of the picture, wherever `f` takes it: each is spread over the four nearest points of
a grid twice as fine as the canvas, whose transform is divided by that of the spreading. It is linear in the noise and
knows no key, so the hypercone test holds for what it returns, for a placement found without the key.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...watermark.patterns import Pattern
from ..geometry import Size

__all__ = ["coordinates"]

OVERSAMPLING = 2


def coordinates(noise: Tensor, places: Tensor, pattern: Pattern, canvas: Size) -> Tensor:
    """Masked coordinates of noise in a pattern.

    Arguments:
        noise: With shape (..., C, h, w).
        places: f(x) in latent pixels from the canvas' centre, with shape (h, w, 2), (x, y).
        pattern: The pattern, whole.
        canvas: Height and width in latent pixels of the canvas.

    Returns:
        With shape (..., channels, n, 2), float64, the scale left open.
    """
    pattern = pattern.fitted(canvas)
    height, width = (OVERSAMPLING * side for side in canvas)
    half = torch.tensor([canvas[1] - 1, canvas[0] - 1], device=noise.device) / 2
    at = (places.reshape(-1, 2) + half) * OVERSAMPLING
    corner = at.floor()
    (u, v), (x, y) = (at - corner).unbind(-1), corner.long().unbind(-1)
    before = (*noise.shape[:-3], len(pattern.channels))
    values = noise[..., list(pattern.channels), :, :].float().reshape(-1, noise.shape[-2] * noise.shape[-1])
    grid = values.new_zeros(len(values), height * width)
    for dy, along_y in ((0, 1 - v), (1, v)):
        for dx, along_x in ((0, 1 - u), (1, u)):
            grid.index_add_(1, (y + dy) % height * width + (x + dx) % width, values * (along_y * along_x))
    spectrum = torch.fft.fft2(grid.reshape(-1, height, width))
    k = torch.from_numpy(pattern.lattice.copy())
    turns = k / torch.tensor([height, width])
    spreading = torch.sinc(turns).square().prod(-1).to(noise.device)
    found = spectrum[:, k[:, 0] % height, k[:, 1] % width] / spreading
    return math.sqrt(2) * torch.view_as_real(found.cpu().to(torch.complex128)).reshape(*before, -1, 2)
