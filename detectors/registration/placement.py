"""Where a marked part lies in a picture: as a map, a matrix, words, an outline and a warp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...attacks.warping import Warp, warp
from ...watermark.patterns import Pattern
from ..alignment import Alignment
from ..geometry import Size
from .bend import Bend, positions
from .net import Decomposed, decomposed
from .reading import coordinates

__all__ = ["Placement"]

SLACK = 0.5
"""Latent pixels beyond the canvas' edge that still count as on it."""

EVERY = 4
"""Pixels from one that is brought back exactly to the next: between them bends are all but straight."""


@dataclass(frozen=True, eq=False)
class Placement:
    """A canvas laid out over noise.

    Arguments:
        bend: From latent pixels of the noise to those of the canvas.
        canvas: Height and width of the canvas in latent pixels.
        wrapped: Whether what left the canvas at one side came in at the other; then every pixel lies on it.
    """

    bend: Bend
    canvas: Size
    wrapped: bool = False

    @classmethod
    def of(cls, alignment: Alignment, canvas: Size, size: Size) -> Placement:
        """Where an alignment puts a canvas over noise of a size, by the shorter way round where it shifted it."""
        angle = math.radians(-alignment.angle if alignment.mirror else alignment.angle)
        linear = Decomposed(angle, math.log(alignment.scale), alignment.mirror, (0.0, 0.0)).map
        y, x = (((0.5 - part) % 1 - 0.5) * side for part, side in zip(alignment.shift, canvas, strict=True))
        return cls(Bend(linear, linear.new_tensor([x, y]), size), canvas)

    @cached_property
    def places(self) -> Tensor:
        """Where on the canvas every latent pixel comes from, with shape (h, w, 2), (x, y) from the centre."""
        return self.bend(positions(self.bend.size, self.bend.linear.device))

    @cached_property
    def inside(self) -> Tensor:
        """Which latent pixels lie on the canvas, boolean, with shape (h, w)."""
        height, width = self.canvas
        half = torch.tensor([width, height], device=self.places.device) / 2 + SLACK
        return (self.places.abs() <= half).all(-1) | self.wrapped

    def coordinates(self, noise: Tensor, pattern: Pattern) -> Tensor:
        """Masked coordinates (..., channels, n, 2), float64, of noise (..., C, h, w), everything undone."""
        return coordinates(noise * self.inside, self.places, pattern, self.canvas)

    @property
    def alignment(self) -> Alignment:
        """Angle, scale, mirror and shift; what was squeezed or bent is left out."""
        parts = decomposed(self.bend.linear)
        x, y = (-self.bend.shift).tolist()
        return Alignment(
            angle=parts.turn % 360,
            scale=math.exp(parts.log_scale),
            mirror=parts.mirrored,
            shift=(y / self.canvas[0] % 1, x / self.canvas[1] % 1),
        )

    @property
    def matrix(self) -> list[list[float]]:
        """3x3: from positions in the picture to positions in the one that was marked, bends left out, (x, y, 1), the
        edges of both at -1 and 1."""
        height, width = self.bend.size
        into = torch.tensor([width / 2, height / 2], dtype=torch.float64)
        out = torch.tensor([self.canvas[1] / 2, self.canvas[0] / 2], dtype=torch.float64)
        linear = self.bend.linear.cpu().double() * into / out[:, None]
        shift = self.bend.shift.cpu().double() / out
        return [[*row, t] for row, t in zip(linear.tolist(), shift.tolist(), strict=True)] + [[0.0, 0.0, 1.0]]

    @property
    def outline(self) -> list[tuple[float, float]]:
        """The canvas' edge in the picture, (x, y) as shares of its width and height, corner after corner, each side in
        four parts; it may reach beyond the picture, where that was cut."""
        height, width = self.canvas
        corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        part = torch.arange(4)[:, None] / 4
        edge = torch.cat([a + (b - a) * part for a, b in zip(corners, corners.roll(-1, 0), strict=True)])
        edge = edge.to(self.bend.linear) * torch.tensor([width / 2, height / 2]).to(self.bend.linear)
        size = torch.tensor([self.bend.size[1], self.bend.size[0]]).to(edge)
        return [tuple(point) for point in (self.bend.inverse(edge) / size + 0.5).tolist()]

    @property
    def damage(self) -> Warp:
        """What happened to the picture: from positions in it to those in the one that was marked."""
        return self._between(self.bend.size, self.canvas, self.bend)

    @property
    def undoing(self) -> Warp:
        """What brings it back: from positions in the picture that was marked to those in this one."""
        return self._between(self.canvas, self.bend.size, self.bend.inverse)

    def brought_back(self, pixels: Tensor, size: Size) -> Tensor:
        """A picture as it was marked, black where it does not show.

        Arguments:
            pixels: The picture, uint8, with shape (3, H, W), at any size.
            size: Height and width in pixels of the one that was marked.
        """
        grid = self.undoing.grid(*size, pixels.device, every=EVERY)
        back = warp(pixels[None].float(), grid, mode="bicubic")[0]
        return back.round().clamp(0, 255).to(torch.uint8)

    def _between(self, here: Size, there: Size, moved) -> Warp:
        scale, back = (torch.tensor([size[1] / 2, size[0] / 2]) for size in (here, there))

        def source(p: Tensor) -> Tensor:
            x = (p * scale.to(p.device)).to(self.bend.linear)
            return (moved(x) / back.to(x.device)).to(p)

        return Warp(source)

    @property
    def words(self) -> str:
        """What happened, such as `mirrored, turned by 30 degrees, enlarged to 167%, 36% of it seen`."""
        parts = decomposed(self.bend.linear)
        ratio, scale = math.exp(2 * math.hypot(*parts.squeeze)), math.exp(parts.log_scale)
        seen, share = self.seen, self.share
        said = [
            "mirrored" if parts.mirrored else "",
            f"turned by {parts.turn:.0f} degrees" if abs(parts.turn) >= 1 else "",
            f"stretched by {ratio:.2f}" if ratio > 1.03 else "",
            f"{'enlarged' if scale > 1 else 'reduced'} to {scale:.0%}" if abs(math.log(scale)) > 0.03 else "",
            "bent" if self.bend.coefficients is not None else "",
            "wrapped around" if self.wrapped else "",
            f"{seen:.0%} of it seen" if seen < 0.97 else "",
            f"{share:.0%} of the picture" if share < 0.9 else "",
        ]
        return ", ".join(part for part in said if part) or "as it was marked"

    @cached_property
    def shown(self) -> Tensor:
        """Which latent pixels of the canvas the picture shows, boolean, with its shape."""
        size = torch.tensor([self.bend.size[1], self.bend.size[0]]).to(self.bend.linear) / 2
        on_canvas = positions(self.canvas, self.bend.linear.device)
        return (self.bend.inverse(on_canvas).abs() <= size).all(-1) | self.wrapped

    @property
    def seen(self) -> float:
        """Share of the canvas that the picture shows."""
        return float(self.shown.float().mean())

    @property
    def share(self) -> float:
        """Share of the picture that lies on the canvas; on one of its copies, where what left it came in again."""
        copy = math.prod(self.canvas) / float(torch.linalg.det(self.bend.linear).abs()) / math.prod(self.bend.size)
        return min(1.0, copy) if self.wrapped else float(self.inside.float().mean())

    def to_json(self) -> dict:
        alignment = self.alignment
        return {
            "angle": round(alignment.angle, 2) % 360,
            "scale": round(alignment.scale, 4),
            "mirror": alignment.mirror,
            "shift": [round(part, 4) for part in alignment.shift],
            "canvas": list(self.canvas),
            "matrix": [[round(value, 5) for value in row] for row in self.matrix],
            "words": self.words,
            "outline": [[round(value, 4) for value in point] for point in self.outline],
        }
