"""Recovered noise -> recovered noise that is as white as the initial noise must have been.

The initial noise had unit variance everywhere and a flat spectrum. What an inversion recovers has not: black corners
and flat regions stand out, and inversion errors pile up at some frequencies. Dividing by the local energy, then by
the radial spectrum, undoes that without knowing any key, so the test stays exact. It helps the weakest images most.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["radial_level", "whiten"]

NEIGHBOURHOOD = 11
"""Side of the window that local energy is measured in, in latent pixels."""

LARGEST = 1e4


def whiten(noise: Tensor) -> Tensor:
    """Even out the energy of recovered noise over places, then over spatial frequencies, channel by channel.

    Arguments:
        noise: Recovered initial noise with shape (B, C, h, w).

    Returns:
        Noise with the same shape, float32, on the same device.
    """
    noise = noise.float().clamp(-LARGEST, LARGEST)
    energy = avg_pool2d(noise.square(), NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
    return _flatten_spectrum(noise / energy.sqrt().clamp_min(1e-3))


def _flatten_spectrum(noise: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(noise, norm="ortho")
    return torch.fft.irfft2(spectrum / radial_level(noise), s=noise.shape[-2:], norm="ortho")


def radial_level(noise: Tensor) -> Tensor:
    """Root mean square of the spectrum's rings, at every coefficient of `rfft2`, with shape (B, C, h, w // 2 + 1)."""
    spectrum = torch.fft.rfft2(noise, norm="ortho")
    rings, counts = _rings(tuple(noise.shape[-2:]), noise.device)
    power = spectrum.abs().square().flatten(2)
    mean = power.new_zeros(*power.shape[:2], len(counts)).index_add_(2, rings, power) / counts
    return mean.sqrt().clamp_min(1e-6)[..., rings].reshape(spectrum.shape)


@lru_cache(maxsize=32)
def _rings(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The ring of every coefficient of a real transform, flat, and the number of coefficients on each."""
    height, width = size
    rows, columns = torch.fft.fftfreq(height, 1 / height), torch.fft.rfftfreq(width, 1 / width)
    rings = torch.hypot(rows[:, None], columns[None, :]).round().long()
    rings = rings.clamp_max(min(height, width) // 2).flatten()
    return rings.to(device), torch.bincount(rings).to(device)
