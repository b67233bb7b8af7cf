"""What the detector saw: the key's spectrum, the recovered one, and how they agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..figures import figure, save
from ..files import shown
from ..images import open_image

if TYPE_CHECKING:
    from ..watermark.keys import Key
    from ..watermark.patterns import Pattern
    from .verdict import Verdict

__all__ = ["plot_verdict"]


def plot_verdict(image: str | Path, verdict: Verdict, key: Key, output: str | Path) -> None:
    """Draw an image, the key's spectrum, the recovered one as aligned, and their correlation by shift and by frequency.

    The drawing shows part of the key, so its file is for its owner alone.

    Arguments:
        image: The image file.
        verdict: Its verdict, with the evidence kept.
        key: The key that the verdict names.
        output: File to write; its suffix is a format that matplotlib writes.
    """
    pattern = key.pattern.fitted(verdict.canvas)
    ours = pattern.lift(pattern.restrict(key.direction)).numpy() * pattern.size**0.5
    seen = verdict.evidence.coordinates
    seen = seen * (seen.size / (seen**2).sum()) ** 0.5

    drawing, ((left, planted, recovered, peak, agreement),) = figure(1, 5, width=19, height=4.1)
    left.imshow(open_image(image))
    left.set_title(shown(Path(image).name), fontsize=9, parse_math=False)
    left.axis("off")
    for axis, coordinates, title in ((planted, ours, f"key {key.id}"), (recovered, seen, "recovered from the image")):
        axis.imshow(
            _colours(coordinates, pattern), origin="lower", extent=[-pattern.radius - 0.5, pattern.radius + 0.5] * 2
        )
        axis.set_title(f"{title}, channel {pattern.channels[0]}", fontsize=9)
        axis.set_xlabel("cycles per side: hue is phase, brightness magnitude", fontsize=7)

    surface = np.fft.fftshift(-verdict.evidence.surface if verdict.inverted else verdict.evidence.surface)
    half = [side // 2 for side in surface.shape]
    peak.imshow(surface, cmap="magma", origin="lower", vmin=0, extent=[-half[1], half[1], -half[0], half[0]])
    peak.set_title("cosine at every shift" + ", its sign changed" * verdict.inverted, fontsize=9)
    peak.set_xlabel("latent pixels: a marked image has one bright dot", fontsize=7)

    radius = np.rint(np.hypot(*pattern.lattice.T)).astype(int)
    product = (ours * seen).sum(axis=(0, 2))
    rings, radius = np.unique(radius, return_inverse=True)
    counts = np.bincount(radius) * 2 * len(pattern.channels)
    correlation = np.bincount(radius, product) / counts
    chance = 2 / np.sqrt(counts)
    agreement.fill_between(rings, -chance, chance, color="0.85", label="chance, two standard deviations")
    agreement.plot(rings, correlation, marker="o", ms=4, label="this image")
    agreement.axhline(0, color="black", lw=0.6)
    agreement.set_xlabel("frequency ring, cycles per side", fontsize=8)
    agreement.set_title("correlation with the key", fontsize=9)
    agreement.legend(frameon=False, fontsize=7)

    said = f"found, key {verdict.key_id}" if verdict.found else "not found"
    turned = "" if not verdict.aligned else f", turned {verdict.alignment.angle:.0f} degrees"
    drawing.suptitle(f"{said}: log10 p = {verdict.log10_p:.1f}, cosine {verdict.cosine:.3f}{turned}", fontsize=11)
    save(drawing, Path(output), private=True)


def _colours(coordinates: np.ndarray, pattern: Pattern) -> np.ndarray:
    """The first channel's spectrum as colours, hue for phase and value for magnitude, with shape (2r+1, 2r+1, 3)."""
    from matplotlib.colors import hsv_to_rgb

    r = pattern.radius
    spectrum = np.zeros((2 * r + 1, 2 * r + 1), dtype=complex)
    y, x = pattern.lattice.T
    values = coordinates[0, :, 0] + 1j * coordinates[0, :, 1]
    spectrum[r + y, r + x], spectrum[r - y, r - x] = values, values.conj()
    magnitude = np.abs(spectrum) / max(np.percentile(np.abs(values), 98), 1e-12)
    hue = (np.angle(spectrum) / (2 * np.pi)) % 1
    inside = np.zeros(spectrum.shape, dtype=bool)
    inside[r + y, r + x] = inside[r - y, r - x] = inside[r, r] = True
    value = np.where(inside, 0.08 + 0.92 * magnitude.clip(0, 1), 1.0)
    return hsv_to_rgb(np.stack([hue, np.where(inside, 0.85, 0.0), value], axis=-1))
