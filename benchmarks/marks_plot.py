"""The figure of `wmark bench marks`: evidence against what it costs the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..figures import figure, save

__all__ = ["plot"]

COSTS = {
    "likeness_high_pass": "mean pairwise correlation of the high-pass",
    "psnr": "PSNR against the unmarked twin, dB",
    "frechet_excess": "Frechet distance over the floor",
    "trace_over_chance": "trace in the mean picture / chance",
}


def plot(path: Path, results: Sequence[dict]) -> None:
    """A line for each pattern and spread of energy, a point for each strength, the clean evidence above every cost."""
    marks = [row for row in results if row["log10_p"]]
    lines = list(dict.fromkeys(line_of(row) for row in marks))
    drawing, (axes,) = figure(1, len(COSTS), width=5 * len(COSTS), height=4.6)
    for axis, (cost, label) in zip(axes, COSTS.items(), strict=True):
        for i, line in enumerate(lines):
            points = sorted((row for row in marks if line_of(row) == line), key=lambda r: r["pattern"]["strength"])
            x = [row[cost] for row in points]
            y = [-np.median(row["log10_p"]["none"]["weighted"]) for row in points]
            axis.plot(x, y, marker="o", ms=4, lw=1, ls="-" if line[2] == "even" else "--", color=f"C{i // 2}",
                      label=f"{line[0]} {line[1]}, {line[2]}")  # fmt: skip
        axis.set(xlabel=label, ylabel="-log10 p, clean, median")
    for result in results:
        if not result["log10_p"]:
            axes[0].axvline(result["likeness_high_pass"], color="black", lw=0.8, ls=":")
    axes[-1].legend(frameon=False, fontsize=7)
    save(drawing, path)


def line_of(row: dict) -> tuple[str, int, str]:
    return row["pattern"]["kind"], row["pattern"]["radius"], row["energy"]
