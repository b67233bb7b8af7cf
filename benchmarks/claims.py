"""Damages that are measured on all images, besides the middle strength of every kind: what is claimed anywhere."""

from __future__ import annotations

from ..attacks import NAMED, find_damage

__all__ = ["CHAINS", "CLAIMED", "GEOMETRIC"]

GEOMETRIC = {"crop", "turn", "warp", "layout", "chain"}
"""Categories that move, cut or surround the picture."""

CHAINS = (
    "crop:60+jpeg:30+rotation:7",
    "crop-shape:1.5+quarter-turn:1",
    "rescale:167+screenshot:33",
    "rotation:30+mirror+jpeg:50",
    "perspective:10+blur:2",
    "screenshot:40+jpeg:50",
    "collage:2+rescale:50",
)
"""What happens together: a cut, turned and stored again; one that is not square, on its side; one that fills a third of
a screen or a half, a collage that was made smaller, ..."""

CLAIMED = {
    *(find_damage(name).name for name in (*NAMED, *CHAINS)),
    *("jpeg:10", "jpeg:5", "noise:0.2", "noise:0.3", "brightness:3", "hue:180", "solarize:128", "cutout:50"),
    *("holes:50", "crop:60", "crop:50", "crop:40", "crop:30", "stretch:1.3", "lens:0.2", "lens:-0.2", "elastic:12"),
    *("elastic:16", "quarter-turn:1", "bars:39", "story:100", "screenshot:20", "screenshot:80", "collage:2"),
    *("collage:3", "album:2", "album:3"),
}
