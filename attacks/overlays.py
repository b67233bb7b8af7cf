"""What is laid over a picture, and what is cut out of it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .kind import pixels

__all__ = ["KINDS", "lettering"]

WORDS = "the quick brown fox jumps over the lazy dog"
SQUARE = 32
"""Side of the squares of `holes`, in pixels."""


def lettering(height: float) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, so many pixels high."""
    return ImageFont.load_default(size=max(4, round(height)))


@pixels("overlay", unit="% of the height", span=(1, 100), sweep=(8, 25), training=(4, 25))
def text(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A line of white letters with black edges, at a random height."""
    covered, high = image.copy(), image.height * percent / 100
    y = rng.uniform(0, max(1.0, image.height - high))
    edge = max(1, round(high / 20))
    ImageDraw.Draw(covered).text(
        (image.width * 0.03, y), WORDS, fill="white", font=lettering(high), stroke_width=edge, stroke_fill="black"
    )
    return covered


@pixels("overlay", unit="% of opacity", span=(1, 100), sweep=(30, 70), training=(10, 60))
def stamped(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Slanted words all over, half transparent, as agencies do."""
    side = math.ceil(1.5 * max(image.size))
    layer, font, line = Image.new("L", (side, side)), lettering(side / 24), side / 12
    draw = ImageDraw.Draw(layer)
    for i in range(12):
        draw.text((-line * (i % 3), i * line), "   ".join(["SAMPLE"] * 12), fill=round(2.55 * percent), font=font)
    layer = layer.rotate(30, Image.Resampling.BILINEAR)
    x, y = (side - image.width) // 2, (side - image.height) // 2
    layer = layer.crop((x, y, x + image.width, y + image.height))
    return Image.composite(Image.new("RGB", image.size, "white"), image, layer)


@pixels("overlay", unit="% of the shorter side", span=(1, 100), sweep=(15, 35), training=(5, 35))
def logo(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A white ring with a bar, half transparent, in the lower right corner."""
    side = max(2, round(min(image.size) * percent / 100))
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((0, 0, side - 1, side - 1), outline=180, width=max(1, side // 6))
    draw.rectangle((side * 0.3, side * 0.42, side * 0.7, side * 0.58), fill=180)
    covered, margin = image.copy(), round(side * 0.15)
    corner = max(0, image.width - side - margin), max(0, image.height - side - margin)
    covered.paste(Image.new("RGB", mask.size, "white"), corner, mask)
    return covered


@pixels("overlay", unit="% of the shorter side", span=(1, 100), sweep=(20, 50), training=(5, 50))
def sticker(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """An opaque smiling face, placed at random."""
    side = max(1, round(min(image.size) * percent / 100))
    face = smile().resize((side, side), Image.Resampling.LANCZOS)
    x, y = rng.integers(0, image.width - side + 1), rng.integers(0, image.height - side + 1)
    covered = image.copy()
    covered.paste(face, (int(x), int(y)), face)
    return covered


def smile() -> Image.Image:
    """A yellow face of 256 pixels a side, transparent around it."""
    face = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(face)
    draw.ellipse((0, 0, 255, 255), fill="#ffd23e", outline="black", width=9)
    draw.ellipse((72, 77, 102, 115), fill="black")
    draw.ellipse((154, 77, 184, 115), fill="black")
    draw.arc((64, 77, 192, 205), 20, 160, fill="black", width=13)
    return face


@pixels("cut-out", unit="% of the area", span=(0, 100), sweep=(10, 25, 50), training=(5, 60))
def cutout(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A black rectangle of so much of the area and a random shape, placed at random."""
    area, shape = percent / 100, math.exp(rng.uniform(-0.7, 0.7))
    width = min(1.0, max(area, math.sqrt(area * shape)))
    w, h = round(width * image.width), round(area / width * image.height) if area else 0
    x, y = rng.integers(0, image.width - w + 1), rng.integers(0, image.height - h + 1)
    covered = image.copy()
    covered.paste("black", (int(x), int(y), int(x) + w, int(y) + h))
    return covered


@pixels("cut-out", unit="% of the area", span=(0, 100), sweep=(25, 50), training=(5, 60))
def centre_cutout(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A black rectangle of so much of the area in the middle."""
    share = math.sqrt(percent / 100)
    w, h = round(share * image.width), round(share * image.height)
    x, y = (image.width - w) // 2, (image.height - h) // 2
    covered = image.copy()
    covered.paste("black", (x, y, x + w, y + h))
    return covered


@pixels("cut-out", unit="% of the area", span=(0, 100), sweep=(25, 50), training=(5, 60))
def holes(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """So many of the squares of 32 pixels black, chosen at random."""
    rows, columns = -(-image.height // SQUARE), -(-image.width // SQUARE)
    black = np.zeros(rows * columns, bool)
    black[rng.permutation(black.size)[: round(black.size * percent / 100)]] = True
    mask = black.reshape(rows, columns).repeat(SQUARE, 0).repeat(SQUARE, 1)[: image.height, : image.width]
    values = np.array(image)
    values[mask] = 0
    return Image.fromarray(values)


@pixels("cut-out", unit="% of the picture", span=(1, 95), sweep=(50,), training=(10, 60))
def half(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """So much of one side, drawn from the four, black."""
    across, end = rng.integers(0, 2, 2)
    covered = image.copy()
    width, height = image.size
    w, h = (round(width * percent / 100), height) if across else (width, round(height * percent / 100))
    x, y = (width - w, height - h) if end else (0, 0)
    covered.paste("black", (x, y, x + w, y + h))
    return covered


KINDS = (text, stamped, logo, sticker, cutout, centre_cutout, holes, half)
