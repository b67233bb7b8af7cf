"""The figure of `wmark bench attackers`: what is found after imprints, by how much of a picture they change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["plot"]

SHOWN = ("imprint", "removed past zero", "removed by other noise")
LINES = {"the model": "-", "another": "--"}


def plot(path: Path, summary: Sequence[dict]) -> None:
    """A panel for each attack: log10 p of the identity against PSNR, a line for each kind of mark and model."""
    from ..figures import figure, save

    canvas, axes = figure(1, len(SHOWN), width=5 * len(SHOWN), height=4)
    for axis, attack in zip(axes[0], SHOWN, strict=True):
        of = [row for row in summary if row["attack"] == attack]
        for number, against in enumerate(dict.fromkeys(row["against"] for row in of)):
            for by, line in LINES.items():
                points = sorted((r["asked"], r["identity"]) for r in of if (r["against"], r["by"]) == (against, by))
                if points:
                    axis.plot(*zip(*points, strict=True), "o" + line, color=f"C{number}", label=f"{against}, by {by}")
        axis.set_title(attack, fontsize=10)
        axis.set_xlabel("PSNR, dB")
        axis.set_ylabel("log10 p of the identity, median")
        axis.grid(alpha=0.3)
        if of:
            axis.legend(fontsize=8)
    save(canvas, path)
