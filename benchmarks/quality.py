"""How far a picture is from another of the same size: PSNR and SSIM.

PSNR = 10 log10(255² / MSE) over all channels, SSIM that of Wang et al. (2004) on the luminance, both as most papers
give them.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

__all__ = ["psnr", "ssim"]

SPREAD, REACH = 1.5, 5
"""Standard deviation of the Gaussian window in pixels, and how far it reaches."""


def psnr(image: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal images."""
    error = np.square(np.asarray(image, np.float64) - np.asarray(other, np.float64)).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(image: Image.Image, other: Image.Image) -> float:
    """Structural similarity, 1 for equal images."""
    from scipy.ndimage import gaussian_filter

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, SPREAD, truncate=REACH / SPREAD)

    x, y = (np.asarray(one.convert("L"), np.float64) for one in (image, other))
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean())
