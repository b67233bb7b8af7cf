"""Pictures inside larger ones: screenshots, stories, frames and collages; and chains of what happens on the way."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .codecs import jpeg_coded
from .colour import gamma
from .detail import blur, noise, rescaled
from .geometry import corner, perspective
from .kind import pixels
from .overlays import lettering

__all__ = ["KINDS"]


@pixels("layout", unit="% of the width", span=(20, 100), sweep=(20, 40, 80))
def screenshot(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A page of 16:10 with bars and lines of text, the picture so much of its width or less, at a random place."""
    width = round(image.width * 100 / percent)
    height = max(round(width / 1.6), round(image.height * 1.15))
    page = Image.new("RGB", (width, height), "#f4f4f6")
    draw, bar = ImageDraw.Draw(page), max(2, round(height * 0.06))
    font = lettering(bar * 0.5)
    for y in range(2 * bar, height, bar):
        draw.text((bar, y), "Lorem ipsum dolor sit amet consectetur " * 4, fill="#555b66", font=font)
    draw.rectangle((0, 0, width, bar), fill="#2b2f3a")
    draw.text((bar, bar * 0.2), "https://example.org/pictures", fill="white", font=font)
    x = rng.integers(0, width - image.width + 1)
    y = rng.integers(min(bar, height - image.height), height - image.height + 1)
    page.paste(image, (int(x), int(y)))
    return page


@pixels("layout", unit="% of the width", span=(20, 100), sweep=(80, 100))
def story(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Upright 9:16, the picture in the middle, itself enlarged and blurred around it, a name and an answer field."""
    width = max(image.width, round(image.width * 100 / percent))
    height = max(round(width * 16 / 9), image.height)
    scale = max(width / image.width, height / image.height)
    behind = rescaled(image, scale * 1.01).filter(ImageFilter.GaussianBlur(24)).point(lambda v: v * 0.7)
    page = behind.crop((0, 0, width, height))
    draw = ImageDraw.Draw(page)
    draw.text((width * 0.06, height * 0.04), "somebody, 3 h", fill="white", font=lettering(height * 0.03))
    draw.rectangle((width * 0.06, height * 0.92, width * 0.94, height * 0.97), outline="white")
    page.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return page


@pixels("layout", unit="% of the height", span=(1, 100), sweep=(15, 39))
def bars(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Black bars added above and below, each so high; 39 make a square 9:16."""
    bar = round(image.height * percent / 100)
    page = Image.new("RGB", (image.width, image.height + 2 * bar))
    page.paste(image, (0, bar))
    return page


@pixels("layout", unit="% of the shorter side", span=(1, 100), sweep=(5, 20))
def frame(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A white frame added on all sides."""
    margin = round(min(image.size) * percent / 100)
    page = Image.new("RGB", (image.width + 2 * margin, image.height + 2 * margin), "white")
    page.paste(image, (margin, margin))
    return page


@pixels("layout", unit="pictures a side", span=(2, 6), sweep=(2, 3), whole=True)
def collage(image: Image.Image, side: float, rng: np.random.Generator) -> Image.Image:
    """One of several pictures on a square of them, at a random place, in its full size."""
    side, own = int(side), int(rng.integers(int(side) ** 2))
    page = Image.new("RGB", (side * image.width, side * image.height))
    for i in range(side * side):
        picture = image if i == own else foreign(image.size, rng)
        page.paste(picture, (i % side * image.width, i // side * image.height))
    return page


@pixels("layout", unit="pictures a side", span=(2, 6), sweep=(2, 3), whole=True)
def album(image: Image.Image, side: float, rng: np.random.Generator) -> Image.Image:
    """It alone on a square of pictures in full size, every second mirrored, all of different brightness."""
    side = int(side)
    page = Image.new("RGB", (side * image.width, side * image.height))
    for i in range(side * side):
        picture = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if i % 2 else image
        light = float(rng.uniform(0.8, 1.0))
        page.paste(picture.point(lambda v, light=light: v * light), (i % side * image.width, i // side * image.height))
    return page


@pixels("layout", unit="% of each side", span=(5, 100), sweep=(30, 50, 70))
def paste(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """A part of it, cut out and put into another picture of its size, both places drawn."""
    x, y, w, h = corner(percent, rng, image.size[::-1])
    page = foreign(image.size, rng)
    page.paste(image.crop((x, y, x + w, y + h)), corner(percent, rng, image.size[::-1])[:2])
    return page


def foreign(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Another picture of a size: smooth clouds of colour with some grain."""
    clouds = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return noise.apply(clouds, 0.03, rng)


@pixels("chain", unit="pixels on the longer side", span=(32, 8192), sweep=(256, 400), whole=True)
def social(image: Image.Image, longest: float, rng: np.random.Generator) -> Image.Image:
    """As a social network stores it: scaled to so many pixels, sharpened, JPEG at 70."""
    small = rescaled(image, longest / max(image.size))
    return jpeg_coded(small.filter(ImageFilter.UnsharpMask(1, 60, 2)), 70)


@pixels("chain", unit="times forwarded", span=(1, 10), sweep=(1, 3), whole=True)
def messenger(image: Image.Image, times: float, rng: np.random.Generator) -> Image.Image:
    """Forwarded: a tenth smaller and JPEG at 50 to 70, each time anew."""
    for _ in range(int(times)):
        image = jpeg_coded(rescaled(image, 0.9), rng.integers(50, 71))
    return image


@pixels("chain", unit="severity", span=(0, 1), sweep=(0.3, 0.6, 1))
def print_and_photograph(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Printed and photographed: blurred, at a slant, its light bent, noisy, JPEG."""
    image = blur.apply(image, 0.3 + 1.7 * severity, rng)
    image = perspective.apply(image, 12 * severity, rng)
    image = gamma.apply(image, 1 + 0.6 * severity * rng.uniform(-0.5, 1), rng)
    image = noise.apply(image, 0.06 * severity, rng)
    return jpeg_coded(image, round(85 - 45 * severity))


KINDS = (screenshot, story, bars, frame, collage, album, paste, social, messenger, print_and_photograph)
