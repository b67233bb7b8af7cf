"""What happens to pictures: nearly eighty kinds of damage, each with one strength, a unit and a range.

    codecs        JPEG, WebP, AVIF, JPEG XL, ...             geometry      crops, turns, warps, as maps of positions
    detail        resampling, blur, mosaic, noise            layouts       screenshots, collages, chains
    colour        light and colour                           regeneration  through a model and back
    overlays      text, logos, cut-outs                      damage        by name, and drawn for training

What a detector's answers give away is `oracle`.

Pillow, NumPy, SciPy's convolution and torch's `grid_sample` do it all, most kinds in one line. Of the libraries of
augmentations kornia fits too, but a map of positions serves noise as well as pictures, which its transforms don't hand
out, and codecs, overlays and layouts would be ours all the same; albumentations is not kept (its successor is under the
AGPL), and augly wants a Pillow below 9.
"""

from __future__ import annotations

from .damage import KINDS, NAMED, Damage, damaged, draw_geometric, draw_photometric, find_damage, sweep
from .kind import Kind
from .warping import Warp, warp

__all__ = [
    "KINDS",
    "NAMED",
    "Damage",
    "Kind",
    "Warp",
    "damaged",
    "draw_geometric",
    "draw_photometric",
    "find_damage",
    "sweep",
    "warp",
]
