"""The Fourier geometry: reading a noise's masked coordinates and planting a key among them.

White noise `n` of shape (C, h, w) has the orthonormal transform `F(k)`, with `F(-k) = conj F(k)`. Over one half of the
plane, `0 < |k| <= radius`, the numbers

    c = (sqrt2 Re F(k), sqrt2 Im F(k))

are orthonormal coordinates of `n`, so `c ~ N(0, I_m)`. With `A` the map `n -> c`, its adjoint is

    A^T c = Re F^-1[ sqrt2 (c_re + i c_im) on the half plane, 0 elsewhere ],

real by construction: taking the real part supplies the Hermitian half. Frequencies count cycles per side, so the
coordinates of a key do not depend on the size of the image.

Planting a unit vector `v` at strength `s` turns `c` towards it and keeps its length,

    c' = |c| (s v + sqrt(1 - s^2) c_perp / |c_perp|),      c_perp = c - <c, v> v,

so `cos(c', v) = s` exactly, and over the draw of the key `c'` is distributed as N(0, I_m) exactly: its length is that
of a normal vector and its direction is uniform. Everything outside the mask is left as it was.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import KeyringError
from .keys import Key
from .patterns import Pattern

__all__ = ["distance", "mask_coordinates", "plant", "read"]

SQRT2 = 2.0**0.5


def mask_coordinates(noise: Tensor, pattern: Pattern) -> Tensor:
    """Coordinates `c = A n` of noise inside the mask.

    Arguments:
        noise: Real tensor with shape (B, C, h, w).
        pattern: Where to read.

    Returns:
        Coordinates with shape (B, channels, n, 2), float64, on the noise's device, or the CPU where that has no float64
        (MPS); the last axis holds the scaled real and imaginary parts.

    Raises:
        KeyringError: If the noise has too few channels or is too small for the pattern.
    """
    rows, columns = _indices(noise, pattern)
    chosen = noise[:, list(pattern.channels)]
    spectrum = torch.fft.fft2((chosen.cpu() if chosen.device.type == "mps" else chosen).double(), norm="ortho")
    return SQRT2 * torch.view_as_real(spectrum[..., rows, columns])


def read(noise: Tensor, pattern: Pattern) -> Tensor:
    """Coordinates in the space that keys are drawn from, with shape (B, d); otherwise as :func:`mask_coordinates`."""
    return pattern.project(mask_coordinates(noise, pattern))


def plant(noise: Tensor, key: Key) -> Tensor:
    """Turn the masked coordinates of noise towards a key.

    Arguments:
        noise: White noise with shape (B, C, h, w).
        key: What to plant; its pattern says where and how strongly.

    Returns:
        Noise with the same shape, dtype and device, equal to the input outside the mask.
    """
    pattern = key.pattern
    before = mask_coordinates(noise.cpu(), pattern)
    v = pattern.lift(key.direction)
    along = (before * v).sum(dim=(1, 2, 3), keepdim=True)
    across = before - along * v
    length = _norm(before)
    s = pattern.strength
    after = length * (s * v + (1 - s * s) ** 0.5 * across / _norm(across).clamp_min(1e-300))

    spectrum = torch.zeros(*noise[:, list(pattern.channels)].shape, dtype=torch.complex128)
    rows, columns = _indices(noise, pattern)
    spectrum[..., rows, columns] = SQRT2 * torch.view_as_complex((after - before).contiguous())
    change = torch.fft.ifft2(spectrum, norm="ortho").real
    planted = noise.clone()
    planted[:, list(pattern.channels)] += change.to(noise)
    return planted


def distance(noise: Tensor, key: Key) -> Tensor:
    """Mean distance of the masked spectrum from the planted values, the classifier of Wen et al. (2023), eq. 4.

    Returns:
        Distances with shape (B,); the smaller, the more like the key.
    """
    seen = mask_coordinates(noise, key.pattern)
    target = key.pattern.strength * key.pattern.size**0.5 * key.pattern.lift(key.direction).to(seen)
    return (seen - target).norm(dim=-1).mean(dim=(1, 2)) / SQRT2


def _norm(coordinates: Tensor) -> Tensor:
    return coordinates.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()


def _indices(noise: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    channels, height, width = noise.shape[1:]
    if max(pattern.channels) >= channels:
        raise KeyringError(
            f"the key uses latent channel {max(pattern.channels)}, but the model has {channels} channels"
        )
    if 2 * pattern.radius >= min(height, width):
        raise KeyringError(
            f"the key's radius of {pattern.radius} cycles needs latents larger than {2 * pattern.radius} on each side, "
            f"got {height}x{width}: use larger images or a key with a smaller radius"
        )
    rows, columns = torch.from_numpy(pattern.lattice.T.copy())
    return rows % height, columns % width
