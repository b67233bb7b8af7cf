"""The Fourier geometry: reading a noise's masked coordinates and planting a key among them.

White noise `n` of shape (C, h, w) has the orthonormal transform `F(k)`, with `F(-k) = conj F(k)`. Over one half of the
plane, `0 < |k| <= radius`, the numbers

    c = (sqrt2 Re F(k), sqrt2 Im F(k))

are orthonormal coordinates of `n`, so `c ~ N(0, I_m)`. With `A` the map `n -> c`, its adjoint is

    A^T c = Re F^-1[ sqrt2 (c_re + i c_im) on the half plane, 0 elsewhere ],

real by construction: taking the real part supplies the Hermitian half. Frequencies count cycles per side, so the
coordinates of a key do not depend on the size of the image; one that is too small for some of them has the others
(:meth:`.patterns.Pattern.fitted`).

Planting a unit vector `v` at strength `s` turns `c` towards it and keeps its length,

    c' = |c| (s v + sqrt(1 - s^2) c_perp / |c_perp|),      c_perp = c - <c, v> v,

so `cos(c', v) = s` exactly, and over the draw of the key `c'` is distributed as N(0, I_m) exactly: its length is that
of a normal vector and its direction is uniform. Everything outside the mask is left as it was. A *profile* spreads the
energy of the key unevenly, coordinate by coordinate,

    c'_j = |c| (s_j v_j + sqrt(1 - s_j^2) p_j),      p = c_perp / |c_perp|,      mean of s_j^2 = s^2.

`(v, p)` is uniform among orthonormal pairs, and a rotation within its plane keeps it so: every `c'_j` is distributed as
N(0, 1) exactly, and a change of sign of coordinate `j` shows that no two are correlated.

Several directions share the noise: a pilot `v_1` and a key `v_2`, made orthogonal to it, with strengths `s_i`,

    c' = |c| (sum_i s_i v_i + sqrt(1 - sum_i s_i^2) p),      v_2 = (u - <u, v_1> v_1) / |u - <u, v_1> v_1|.

Over the draw of the secrets `(v_1, v_2, p)` is uniform among orthonormal frames, so `c'` is N(0, I_m) as before; and
since `u` is drawn apart from `v_1`, whatever is computed with the pilot is computed without the key: the test of each
stays exact. `<u, v_1>` is about 1 / sqrt(d), so `u` itself is read as well as `v_2`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import KeyringError
from .keys import Key
from .lattice import Size
from .patterns import Pattern

__all__ = ["distance", "mask_coordinates", "plant", "read", "synthesise", "write"]

SQRT2 = 2.0**0.5


def mask_coordinates(noise: Tensor, pattern: Pattern) -> Tensor:
    """Coordinates `c = A n` of noise inside the mask.

    Arguments:
        noise: Real tensor with shape (B, C, h, w).
        pattern: Where to read; it is fitted to the noise.

    Returns:
        Coordinates with shape (B, channels, n, 2), float64, on the noise's device, or the CPU where that has no float64
        (MPS); the last axis holds the scaled real and imaginary parts.

    Raises:
        KeyringError: If the noise has too few channels, or holds next to nothing of the pattern.
    """
    channels, height, width = noise.shape[1:]
    if max(pattern.channels) >= channels:
        raise KeyringError(
            f"the key uses latent channel {max(pattern.channels)}, but the model has {channels} channels"
        )
    rows, columns = torch.from_numpy(pattern.fitted((height, width)).lattice.T.copy())
    chosen = noise[:, list(pattern.channels)]
    spectrum = torch.fft.fft2((chosen.cpu() if chosen.device.type == "mps" else chosen).double(), norm="ortho")
    return SQRT2 * torch.view_as_real(spectrum[..., rows % height, columns % width])


def read(noise: Tensor, pattern: Pattern) -> Tensor:
    """Coordinates in the space of the pattern, fitted to the noise, with shape (B, d), as :func:`mask_coordinates`."""
    return pattern.fitted(noise.shape[-2:]).project(mask_coordinates(noise, pattern))


def synthesise(coordinates: Tensor, pattern: Pattern, canvas: Size) -> Tensor:
    """The adjoint of :func:`mask_coordinates`: the noise of a canvas that has these coordinates, and no others.

    Arguments:
        coordinates: With shape (B, channels, n, 2), float64, on the CPU.
        pattern: Where they stand; it is fitted to the canvas.
        canvas: Height and width in latent pixels.

    Returns:
        The channels of the pattern, with shape (B, channels, h, w), float64.
    """
    height, width = canvas
    rows, columns = torch.from_numpy(pattern.fitted(canvas).lattice.T.copy())
    spectrum = torch.zeros(*coordinates.shape[:2], height, width, dtype=torch.complex128)
    spectrum[..., rows % height, columns % width] = SQRT2 * torch.view_as_complex(coordinates.contiguous())
    return torch.fft.ifft2(spectrum, norm="ortho").real


def plant(noise: Tensor, key: Key, profile: Tensor | None = None) -> Tensor:
    """Turn the masked coordinates of noise towards a key, and towards its pilot if it has one.

    Arguments:
        noise: White noise with shape (B, C, h, w).
        key: What to plant; its pattern says where and how strongly.
        profile: Strength of the key in each coordinate, in [0, 1], in a shape that goes with (channels, n, 2); None
            takes the pattern's for all. A pilot is planted evenly.

    Returns:
        Noise with the same shape, dtype and device, equal to the input outside the mask.
    """
    pattern = key.pattern.fitted(noise.shape[-2:])
    before = mask_coordinates(noise.cpu(), pattern)
    length, across, marked, left = _norm(before), before, 0.0, 1.0
    pilot = None
    for part in [key.pilot, key] if key.pilot else [key]:
        v = pattern.lift(pattern.restrict(part.direction))
        if pilot is not None:
            v = v - (v * pilot).sum() * pilot
            v = v / v.square().sum().sqrt()
        s = part.pattern.strength if profile is None or part is not key else profile
        across = across - (before * v).sum(dim=(1, 2, 3), keepdim=True) * v
        marked, left, pilot = marked + s * v, left - s * s, v
    after = length * (
        marked
        + torch.as_tensor(left, dtype=torch.float64).clamp_min(0).sqrt() * across / _norm(across).clamp_min(1e-300)
    )
    return changed(noise, after - before, pattern)


def write(noise: Tensor, vector: np.ndarray, pattern: Pattern) -> Tensor:
    """Give noise these coordinates.

    Arguments:
        noise: With shape (B, C, h, w).
        vector: In the space of the whole pattern, a free one, with shape (d,); what the noise has no room for is left
            out.
        pattern: Where to write; it is fitted to the noise.

    Returns:
        Noise with the same shape, dtype and device, equal to the input outside the mask.
    """
    pattern = pattern.fitted(noise.shape[-2:])
    return changed(noise, pattern.lift(vector[pattern.left]) - mask_coordinates(noise.cpu(), pattern), pattern)


def changed(noise: Tensor, coordinates: Tensor, pattern: Pattern) -> Tensor:
    """Noise with some coordinates added to its own."""
    planted = noise.clone()
    planted[:, list(pattern.channels)] += synthesise(coordinates, pattern, noise.shape[-2:]).to(noise)
    return planted


def distance(noise: Tensor, key: Key) -> Tensor:
    """Mean distance of the masked spectrum from the planted values, the classifier of Wen et al. (2023), eq. 4.

    Returns:
        Distances with shape (B,); the smaller, the more like the key.
    """
    pattern = key.pattern.fitted(noise.shape[-2:])
    seen = mask_coordinates(noise, pattern)
    target = pattern.strength * pattern.size**0.5 * pattern.lift(pattern.restrict(key.direction)).to(seen)
    return (seen - target).norm(dim=-1).mean(dim=(1, 2)) / SQRT2


def _norm(coordinates: Tensor) -> Tensor:
    return coordinates.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
