"""What the detector saw: the key's spectrum, the recovered one, and how they agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..figures import figure, save
from ..files import shown
from ..images import open_image, to_pixels
from .agreement import Agreement
from .notation import whose

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from ..watermark.keys import Key
    from ..watermark.patterns import Pattern
    from .registration.placement import Placement
    from .verdict import Verdict

__all__ = ["plot_verdict"]

LARGEST = 2048
"""Pixels that a drawn image has along a side, at most."""

PIXELS = 8
"""Of what was brought back, for each latent pixel."""


def plot_verdict(
    image: str | Path, verdict: Verdict, key: Key, output: str | Path, registered: Image.Image | None = None
) -> None:
    """Draw an image with the outline of what is marked in it, that part brought back, the key's spectrum, the recovered
    one as aligned, and their correlation by shift and by frequency; of the pilot that by shift.

    The drawing shows part of the key, so its file is for its owner alone.

    Arguments:
        image: The image file.
        verdict: Its verdict, with the evidence kept.
        key: The key that the verdict names.
        output: File to write; its suffix is a format that matplotlib writes.
        registered: The picture that a ledger has under the name that was found.
    """
    agreement, evidence = Agreement.of(verdict, key), verdict.evidence
    pattern = agreement.pattern

    count = 5 + sum(part is not None for part in (verdict.placement, evidence.pilot, registered))
    drawing, axes = figure(1, count, width=3.8 * count, height=4.1)
    panels = iter(axes.flat)
    picture = open_image(image)
    picture.thumbnail((LARGEST, LARGEST))
    _picture(next(panels), picture, shown(Path(image).name), verdict)
    if verdict.placement:
        _brought_back(next(panels), picture, verdict.placement)
    if registered:
        _registered(next(panels), registered)
    for coordinates, title in ((agreement.ours, f"key {key.id}"), (agreement.seen, "recovered from the image")):
        axis = next(panels)
        axis.imshow(
            _colours(coordinates, pattern), origin="lower", extent=[-pattern.radius - 0.5, pattern.radius + 0.5] * 2
        )
        axis.set_title(f"{title}, channel {pattern.channels[0]}", fontsize=9)
        axis.set_xlabel("cycles per side: hue is phase, brightness magnitude", fontsize=7)
    _peak(next(panels), evidence.surface, "cosine with the key at every shift")
    if evidence.pilot is not None:
        _peak(next(panels), evidence.pilot, "with its pilot")
    _agreement(next(panels), agreement)

    said = f"found, {whose(verdict)}" if verdict.found else "not found"
    turned = f", {verdict.placed.words}" if verdict.aligned else ""
    drawing.suptitle(f"{said}: log10 p = {verdict.log10_p:.1f}, cosine {verdict.cosine:.3f}{turned}", fontsize=11)
    save(drawing, Path(output), private=True)


def _picture(axis: Axes, picture: Image.Image, name: str, verdict: Verdict) -> None:
    """The image, around each marked part of it a line."""
    axis.imshow(picture)
    axis.set_title(name, fontsize=9, parse_math=False)
    axis.axis("off")
    for placement in verdict.places if verdict.found else ():
        x, y = np.array([*placement.outline, placement.outline[0]]).T * np.array([[picture.width], [picture.height]])
        axis.plot(x - 0.5, y - 0.5, color="#00d060", lw=1.8)


def _brought_back(axis: Axes, picture: Image.Image, placement: Placement) -> None:
    size = tuple(PIXELS * side for side in placement.canvas)
    axis.imshow(placement.brought_back(to_pixels(picture), size).permute(1, 2, 0).numpy())
    axis.set_title("brought back", fontsize=9)
    axis.axis("off")


def _registered(axis: Axes, picture: Image.Image) -> None:
    axis.imshow(picture)
    axis.set_title("registered under this name", fontsize=9)
    axis.axis("off")


def _peak(axis: Axes, surface: np.ndarray, title: str) -> None:
    """Cosines by shift, with the sign that is positive where they are largest."""
    inverted = surface.flat[np.abs(surface).argmax()] < 0
    shifted = np.fft.fftshift(-surface if inverted else surface)
    half = [side // 2 for side in surface.shape]
    axis.imshow(shifted, cmap="magma", origin="lower", vmin=0, extent=[-half[1], half[1], -half[0], half[0]])
    axis.set_title(title + ", its sign changed" * bool(inverted), fontsize=9)
    axis.set_xlabel("latent pixels: a marked image has one bright dot", fontsize=7)


def _agreement(axis: Axes, agreement: Agreement) -> None:
    """Correlation with the key, ring by ring."""
    rings, ring = np.unique(np.rint(np.hypot(*agreement.pattern.lattice.T)), return_inverse=True)
    correlation, counts = agreement.means(ring)
    chance = 2 / np.sqrt(counts)
    axis.fill_between(rings, -chance, chance, color="0.85", label="chance, two standard deviations")
    axis.plot(rings, correlation, marker="o", ms=4, label="this image")
    axis.axhline(0, color="black", lw=0.6)
    axis.set_xlabel("frequency ring, cycles per side", fontsize=8)
    axis.set_title("correlation with the key", fontsize=9)
    axis.legend(frameon=False, fontsize=7)


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
