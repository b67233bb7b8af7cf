"""Crops, turns and warps, each as a map of positions; the ordinary ones have Pillow's pixels beside it."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .kind import moves
from .warping import UNMOVED, Warp, affine, displaced, rotated_by

__all__ = ["KINDS"]

Size = tuple[int, int]
NATURAL = 512
"""Side of the picture in whose pixels displacements are given."""


def corner(percent: float, rng: np.random.Generator, size: Size) -> tuple[int, int, int, int]:
    """A rectangle (left, top, width, height) of so much of each side, placed at random."""
    (height, width), share = size, percent / 100
    w, h = max(1, round(width * share)), max(1, round(height * share))
    x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
    return int(x), int(y), w, h


def cropped(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    x, y, w, h = corner(percent, rng, image.size[::-1])
    return image.crop((x, y, x + w, y + h)).resize(image.size, Image.Resampling.LANCZOS)


@moves(
    "crop",
    drawn=cropped,
    unit="% of each side kept",
    span=(5, 100),
    sweep=(30, 40, 50, 60, 70, 80, 90),
    training=(50, 100),
)
def crop(percent: float, rng: np.random.Generator, size: Size) -> Warp:
    """A part placed at random, scaled back to the old size."""
    (height, width), (x, y, w, h) = size, corner(percent, rng, size)
    middle = (2 * x + w) / width - 1, (2 * y + h) / height - 1
    return affine([[w / width, 0], [0, h / height]], middle)


def cut_to_shape(image: Image.Image, shape: float, rng: np.random.Generator) -> Image.Image:
    w, h = of_shape(shape, image.size[::-1])
    x, y = (image.width - w) // 2, (image.height - h) // 2
    return image.crop((x, y, x + w, y + h))


def of_shape(shape: float, size: Size) -> tuple[int, int]:
    """Width and height of the largest rectangle of a shape inside a size."""
    height, width = size
    return max(1, min(width, round(height * shape))), max(1, min(height, round(width / shape)))


@moves("crop", drawn=cut_to_shape, unit="width over height", span=(0.25, 4), sweep=(0.5625, 1.7778))
def crop_shape(shape: float, rng: np.random.Generator, size: Size) -> Warp:
    """The middle, cut to another shape and not scaled."""
    (height, width), (w, h) = size, of_shape(shape, size)
    x, y = (width - w) // 2, (height - h) // 2
    return affine([[w / width, 0], [0, h / height]], ((2 * x + w) / width - 1, (2 * y + h) / height - 1))


def shrunk(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    x, y, w, h = corner(percent, rng, image.size[::-1])
    canvas = Image.new("RGB", image.size)
    canvas.paste(image.resize((w, h), Image.Resampling.LANCZOS), (x, y))
    return canvas


@moves("crop", drawn=shrunk, unit="% of each side", span=(10, 100), sweep=(50, 75, 90), training=(75, 100))
def shrink(percent: float, rng: np.random.Generator, size: Size) -> Warp:
    """The whole picture, smaller, somewhere on a black canvas of the old size."""
    (height, width), (x, y, w, h) = size, corner(percent, rng, size)
    middle = (2 * x + w) / width - 1, (2 * y + h) / height - 1
    scale = width / w, height / h
    return affine([[scale[0], 0], [0, scale[1]]], (-middle[0] * scale[0], -middle[1] * scale[1]))


def turned(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC)


@moves("turn", drawn=turned, unit="degrees", span=(-360, 360), sweep=(2, 7, 15, 30, 75), training=(-30, 30))
def rotation(degrees: float, rng: np.random.Generator, size: Size) -> Warp:
    """Turned anticlockwise about its centre on the same canvas, corners black."""
    return rotated_by(degrees, size)


def turned_at_random(image: Image.Image, largest: float, rng: np.random.Generator) -> Image.Image:
    return turned(image, rng.uniform(0, largest), rng)


@moves("turn", drawn=turned_at_random, unit="degrees at most", span=(0, 360), sweep=(360,), training=(0, 360))
def random_rotation(largest: float, rng: np.random.Generator, size: Size) -> Warp:
    """Turned anticlockwise by an angle drawn from zero to the largest"""
    return rotated_by(rng.uniform(0, largest), size)


@moves("turn", unit="degrees", span=(-45, 45), sweep=(2, 10, 30), training=(-30, 30))
def straightened(degrees: float, rng: np.random.Generator, size: Size) -> Warp:
    """Turned, and enlarged until no corner is black, as photo editors do."""
    a, shape = math.radians(abs(degrees)), max(size) / min(size)
    return rotated_by(degrees, size, zoom=math.cos(a) + shape * math.sin(a))


def turned_by_quarters(image: Image.Image, quarters: float, rng: np.random.Generator) -> Image.Image:
    turn = Image.Transpose
    return image.transpose((turn.ROTATE_90, turn.ROTATE_180, turn.ROTATE_270)[int(quarters) - 1])


@moves("turn", drawn=turned_by_quarters, unit="quarters", span=(1, 3), sweep=(1, 2, 3), training=(1, 3), whole=True)
def quarter_turn(quarters: float, rng: np.random.Generator, size: Size) -> Warp:
    """Turned anticlockwise by right angles, canvas and all."""
    c, s = ((0, 1), (-1, 0), (0, -1))[int(quarters) - 1]
    return affine([[c, -s], [s, c]])


def mirrored(image: Image.Image, strength: None, rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@moves("turn", drawn=mirrored, training=(0, 0))
def mirror(strength: None, rng: np.random.Generator, size: Size) -> Warp:
    """Left and right exchanged."""
    return affine([[-1, 0], [0, 1]])


@moves("turn", training=(0, 0))
def flip(strength: None, rng: np.random.Generator, size: Size) -> Warp:
    """Top and bottom exchanged."""
    return affine([[1, 0], [0, -1]])


def rolled(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    x, y = offsets(percent, image.size[::-1])
    return Image.fromarray(np.roll(np.asarray(image), (y, x), axis=(0, 1)))


def offsets(percent: float, size: Size) -> tuple[int, int]:
    """Whole pixels (x, y) of a shift by a share of each side."""
    return round(size[1] * percent / 100), round(size[0] * percent / 100)


@moves("turn", drawn=rolled, unit="% of each side", span=(-100, 100), sweep=(5, 25, 50), training=(-50, 50))
def shift(percent: float, rng: np.random.Generator, size: Size) -> Warp:
    """Moved right and down, what leaves coming in at the other side."""
    (height, width), (x, y) = size, offsets(percent, size)
    by = torch.tensor([2 * x / width, 2 * y / height])
    return Warp(lambda positions: (positions - by.to(positions.device) + 1) % 2 - 1)


@moves("turn", unit="% of each side", span=(-100, 100), sweep=(5, 20), training=(-20, 20))
def translation(percent: float, rng: np.random.Generator, size: Size) -> Warp:
    """Moved right and down, black coming in."""
    return affine([[1, 0], [0, 1]], (-percent / 50, -percent / 50))


@moves("warp", unit="degrees", span=(-60, 60), sweep=(4, 8, 10, 15), training=(-15, 15))
def shear(degrees: float, rng: np.random.Generator, size: Size) -> Warp:
    """Rows pushed sideways, the more the lower."""
    return affine([[1, math.tan(math.radians(degrees)) * size[0] / size[1]], [0, 1]])


@moves("warp", unit="times wider", span=(0.25, 4), sweep=(0.8, 1.1, 1.2, 1.3, 1.5), training=(0.8, 1.5))
def stretch(factor: float, rng: np.random.Generator, size: Size) -> Warp:
    """Wider or narrower about the centre, on the same canvas."""
    return affine([[1 / factor, 0], [0, 1]])


@moves("warp", unit="% of each side", span=(0, 40), sweep=(5, 10, 20), training=(0, 15))
def perspective(percent: float, rng: np.random.Generator, size: Size) -> Warp:
    """Seen at a slant: every corner taken from a point drawn so far inside."""
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return homography(signs, signs * (1 - 2 * percent / 100 * rng.uniform(0, 1, (4, 2))))


def homography(output: np.ndarray, source: np.ndarray) -> Warp:
    """The projective map that takes four points (4, 2) of the output to four of the input."""
    rows, values = [], []
    for (x, y), (u, v) in zip(output, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    matrix = torch.tensor(np.append(np.linalg.solve(rows, values), 1).reshape(3, 3), dtype=torch.float32)

    def place(positions: Tensor) -> Tensor:
        projected = torch.cat([positions, torch.ones_like(positions[..., :1])], dim=-1) @ matrix.T.to(positions.device)
        return projected[..., :2] / projected[..., 2:]

    return Warp(place)


@moves("warp", unit="share of the half diagonal", span=(-0.5, 0.5), sweep=(-0.2, -0.1, 0.1, 0.2), training=(-0.2, 0.2))
def lens(bend: float, rng: np.random.Generator, size: Size) -> Warp:
    """Barrel distortion, pincushion where negative: r -> r (1 + bend r²), 1 at the corners, filling the canvas."""
    height, width = size
    half = torch.tensor([width, height]) / math.hypot(width, height)
    filling = 1 / (1 + max(0.0, bend))

    def bent(positions: Tensor) -> Tensor:
        squares = (positions * half.to(positions.device)).square().sum(-1, keepdim=True)
        return positions * (1 + bend * squares) * filling

    return Warp(bent)


def field(amount: float, nodes: int, rng: np.random.Generator, size: Size) -> Warp:
    """Displacements on a grid of nodes, the largest of so many pixels of a picture of 512."""
    drawn = rng.normal(size=(2, nodes, nodes))
    largest = np.hypot(*drawn).max()
    return displaced(drawn * (amount * min(size) / NATURAL / largest), size)


@moves("warp", unit="pixels of 512", span=(0, 64), sweep=(4, 8, 12, 16), training=(0, 16))
def elastic(amount: float, rng: np.random.Generator, size: Size) -> Warp:
    """A smooth random bend, by so much where it is largest."""
    return field(amount, 6, rng, size)


@moves("warp", unit="pixels of 512", span=(0, 16), sweep=(1, 2, 4), training=(0, 4))
def jitter(amount: float, rng: np.random.Generator, size: Size) -> Warp:
    """Small random displacements, other ones every 16 pixels, which the eye hardly sees."""
    return field(amount, 32, rng, size)


@moves("warp", unit="pixels of 512", span=(0, 32), sweep=(2, 6), training=(0, 6))
def ripple(amount: float, rng: np.random.Generator, size: Size) -> Warp:
    """Rows and columns swing to and fro four times across the picture."""
    reach = amount * 2 / NATURAL
    return Warp(lambda p: p + reach * torch.sin(4 * math.pi * p.flip(-1)))


@moves("warp", unit="degrees at the centre", span=(-180, 180), sweep=(10, 30), training=(-20, 20))
def swirl(degrees: float, rng: np.random.Generator, size: Size) -> Warp:
    """Turned about the centre, the less the farther out."""
    height, width = size
    half = torch.tensor([width, height]) / min(size)

    def turned(positions: Tensor) -> Tensor:
        scale = half.to(positions.device)
        x, y = (positions * scale).unbind(-1)
        angle = math.radians(degrees) * torch.exp(-2 * (x * x + y * y))
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.stack([c * x - s * y, s * x + c * y], dim=-1) / scale

    return Warp(turned) if degrees else UNMOVED


KINDS = (
    crop, crop_shape, shrink, rotation, random_rotation, straightened, quarter_turn, mirror, flip, shift, translation,
    shear, stretch, perspective, lens, elastic, jitter, ripple, swirl,
)  # fmt: skip
