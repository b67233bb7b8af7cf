"""Pictures that nobody took: flat colours and gradients, shapes on white, noise. The same number, the same picture."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["SYNTHETIC", "periodic", "synthetic"]


def synthetic(kind: str, number: int, size: tuple[int, int]) -> Image.Image:
    """A picture of a kind in :data:`SYNTHETIC`.

    Arguments:
        kind: The kind.
        number: Which one.
        size: Height and width.
    """
    return SYNTHETIC[kind](np.random.default_rng([list(SYNTHETIC).index(kind), number]), size)


def flat(draw: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """One colour, or a change from one to another in some direction."""
    height, width = size
    start, end = draw.uniform(0, 255, (2, 3))
    if draw.random() < 0.5:
        end = start
    angle = draw.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    along = (x * math.cos(angle) + y * math.sin(angle)) / (abs(math.cos(angle)) + abs(math.sin(angle)))
    return Image.fromarray(np.uint8(start + (end - start) * (along[..., None] + 1) / 2))


def shapes(draw: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Ellipses, rectangles, polygons and strokes on white, as a drawing program makes them."""
    height, width = size
    image = Image.new("RGB", (2 * width, 2 * height), "white")
    canvas = ImageDraw.Draw(image)
    for _ in range(draw.integers(1, 13)):
        colour = tuple(int(level) for level in draw.integers(0, 256, 3))
        outline = "black" if draw.random() < 0.5 else None
        middle = draw.uniform(0.2, 0.8, 2) * (2 * width, 2 * height)
        reach = draw.uniform(0.03, 0.35, 2) * (2 * width, 2 * height)
        box = [*(middle - reach), *(middle + reach)]
        kind = draw.integers(4)
        if kind == 0:
            canvas.ellipse(box, fill=colour, outline=outline, width=4)
        elif kind == 1:
            canvas.rectangle(box, fill=colour, outline=outline, width=4)
        else:
            angles = np.sort(draw.uniform(0, 2 * math.pi, draw.integers(3, 9)))
            corners = [tuple(middle + reach * (math.cos(a), math.sin(a))) for a in angles]
            if kind == 2:
                canvas.polygon(corners, fill=colour, outline=outline, width=4)
            else:
                canvas.line(corners, fill=colour, width=int(draw.integers(4, 40)), joint="curve")
    return image.resize((width, height), Image.Resampling.LANCZOS)


def noise(draw: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """White noise, or noise of some coarseness, in colours or grey."""
    height, width = size
    levels = draw.normal(size=(height, width, 1 if draw.random() < 0.3 else 3))
    levels = np.broadcast_to(levels, (height, width, 3))
    image = Image.fromarray(np.uint8(np.clip(128 + draw.uniform(10, 60) * levels, 0, 255)))
    if draw.random() < 0.3:
        return image
    smooth = np.asarray(image.filter(ImageFilter.GaussianBlur(2 ** draw.uniform(-1, 4))), dtype=np.float64)
    spread = max(smooth.std(), 1.0)
    return Image.fromarray(np.uint8(np.clip(128 + (smooth - smooth.mean()) * draw.uniform(10, 60) / spread, 0, 255)))


def periodic(number: int, size: tuple[int, int]) -> Image.Image:
    """A grating, a chessboard or a tile that repeats, in two colours; of (height, width) pixels."""
    draw = np.random.default_rng([len(SYNTHETIC), number])
    height, width = size
    y, x = np.mgrid[:height, :width]
    period, angle, kind = 2 ** draw.uniform(2, 7), draw.uniform(0, math.pi), number % 3
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    if kind == 0:
        level = 0.5 + 0.5 * np.sin(2 * math.pi * along / period)
    elif kind == 1:
        level = (np.floor(along / period) + np.floor(across / period)) % 2
    else:
        tile = draw.random((8, 8))
        level = tile[np.int64(8 * y / period) % 8, np.int64(8 * x / period) % 8]
    dark, light = draw.uniform(0, 255, (2, 3))
    return Image.fromarray(np.uint8(dark + (light - dark) * level[..., None]))


SYNTHETIC = {"flat": flat, "shapes": shapes, "noise": noise}
"""What draws a picture, by the name of its kind."""
