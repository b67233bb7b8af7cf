"""SVG by hand: a few lines and words, coloured by the page's style. Nothing but numbers goes into it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .curves import Curves

__all__ = ["cumulative_plot", "interval_bar", "spectrum_disc"]

WIDTH, HEIGHT = 640, 460
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 14, 60
FULL = 0.3
"""Agreement with a key that is drawn in full colour, if no other is larger."""


def cumulative_plot(curves: Curves) -> str:
    """How often p is at most x, both axes by decades: the uniform law, the images, and decoys with intervals."""
    left = curves.left

    def x(log10_p: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (log10_p - left) / -left, 1)

    def y(log10_share: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * log10_share / left, 1)

    parts = []
    for decade in range(left, 1):
        said = f"10<tspan dy='-.4em'>{decade}</tspan>" if decade else "1"
        parts.append(f'<path class="grid" d="M{x(decade)} {y(0)}V{y(left)}M{x(left)} {y(decade)}H{x(0)}"/>')
        if decade % (2 if left < -8 else 1) == 0:
            parts.append(f'<text x="{x(decade)}" y="{y(left) + 24}" text-anchor="middle">{said}</text>')
            parts.append(f'<text x="{LEFT - 8}" y="{y(decade) + 5}" text-anchor="end">{said}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">p</text>')
    parts.append(
        f'<text transform="translate(15 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        "share with at most this p</text>"
    )
    parts.append(f'<path class="uniform" d="M{x(left)} {y(left)}L{x(0)} {y(0)}"/>')
    parts.append(f'<path class="rate" d="M{x(curves.fpr)} {y(0)}V{y(left)}"/>')
    for share in curves.decoys:
        low, high = (max(left, math.log10(max(value, 1e-300))) for value in (share.low, share.high))
        here, there = x(share.log10_p), y(math.log10(share.share))
        parts.append(
            f'<path class="decoy" d="M{here} {y(low)}V{y(high)}M{here - 4} {y(low)}h8M{here - 4} {y(high)}h8"/>'
        )
        parts.append(f'<circle class="decoy" cx="{here}" cy="{there}" r="4"/>')
    if curves.images:
        first = (left, curves.images[0][1]) if curves.beyond else curves.images[0]
        parts.append(f'<path class="images" d="{line([(x(a), y(b)) for a, b in (first, *curves.images)])}"/>')
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="plot-title plot-words">'
        '<title id="plot-title">p-values against the uniform law</title>'
        f'<desc id="plot-words">{words(curves)}</desc>{"".join(parts)}</svg>'
    )


def line(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def words(curves: Curves) -> str:
    """The plot for those who do not see it."""
    said = [f"at most 1e{round(a)}: {10**b:.2g} of the images" for a, b in curves.images if abs(a - round(a)) < 1e-6]
    said += [f"at most 1e{d.log10_p}: {d.share:.2g} of the decoys' p-values" for d in curves.decoys]
    return "Shares of p-values. " + "; ".join(said)


def interval_bar(share: float, low: float, high: float, largest: float) -> str:
    """A share and its interval as a bar, up to the largest share of its table."""
    at, begin, end = (round(100 * min(value / (largest or 1.0), 1.0), 1) for value in (share, low, high))
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="share" width="{at}" height="10"/><path class="interval" d="M{begin} 5H{end}"/></svg>'
    )


def spectrum_disc(edges: Sequence[float], cells: Sequence[Sequence[float]]) -> str:
    """Agreement with a key by frequency, arc by arc, each drawn again on the other side, where it is the same.

    Arguments:
        edges: The largest frequency of each band.
        cells: Of each band the agreement in each sector of half a turn.
    """
    full = max(FULL, *(abs(r) for band in cells for r in band))
    arcs, inner = [], 0.0
    for edge, band in zip(edges, cells, strict=True):
        outer = 50 * edge / edges[-1]
        middle, width = round((inner + outer) / 2, 1), round(outer - inner, 1)
        for sector, r in enumerate(band):
            (x, y), (u, v) = (
                (round(middle * math.cos(angle), 1), round(middle * math.sin(angle), 1))
                for angle in (math.pi * (sector + end) / len(band) for end in (0, 1))
            )
            arc = f"A{middle} {middle} 0 0 1"
            arcs.append(
                f'<path class="{"against" if r < 0 else "seen"}" stroke-width="{width}" '
                f'stroke-opacity="{abs(r) / full:.2g}" d="M{x} {y}{arc} {u} {v}M{-x} {-y}{arc} {-u} {-v}"/>'
            )
        inner = outer
    return f'<svg viewBox="-51 -51 102 102" aria-hidden="true" focusable="false"><circle r="50"/>{"".join(arcs)}</svg>'
