"""Figures of `wmark bench robustness`: evidence by damage and look, power against strength, and reach in geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..figures import figure, save
from .claims import GEOMETRIC

__all__ = ["plot_evidence", "plot_power", "plot_reach"]

QUANTILES = 48
COLUMNS = 6
BANDS = {"1e-6": "C0", "1e-3": "C1"}


def plot_evidence(path: Path, summary: Sequence[dict]) -> None:
    """A line a damage: the log10 p of its images from the best to the worst, and which look found how many."""
    canvas, ((left, right),) = figure(1, 2, width=11, height=2 + 0.15 * len(summary))
    at = np.linspace(0, 1, QUANTILES)
    evidence = np.array([np.quantile(row["log10_p"], at) for row in summary])
    shown = left.imshow(evidence, aspect="auto", cmap="viridis_r", vmin=min(np.quantile(evidence, 0.02), -1), vmax=0)
    canvas.colorbar(shown, ax=left, label="log10 p", location="bottom", pad=0.01, aspect=40)
    place = np.arange(len(summary))
    found = np.array([row["found_1e-6"]["share"] for row in summary]) * QUANTILES - 0.5
    left.vlines(found, place - 0.5, place + 0.5, color="red", linewidth=1.2)
    left.set_yticks(range(len(summary)), [row["damage"] for row in summary], fontsize=6)
    left.set_xticks([0, QUANTILES // 2, QUANTILES - 1], ["best", "median", "worst"], fontsize=8)
    left.set_title("evidence image by image; left of the red ones: found at 1e-6", fontsize=9)

    looks = list(dict.fromkeys(look for row in summary for look in row["looks"] if look != "none"))
    looks = [*looks, *(["none"] if any("none" in row["looks"] for row in summary) else [])]
    shares = np.array([[row["looks"].get(look, 0) / row["images"] for look in looks] for row in summary])
    shown = right.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    canvas.colorbar(shown, ax=right, label="share of the images", location="bottom", pad=0.01, aspect=40)
    right.set_yticks([])
    right.set_xticks(range(len(looks)), looks, fontsize=8, rotation=20)
    right.set_title("found by which look", fontsize=9)
    save(canvas, path)


def plot_power(path: Path, summary: Sequence[dict]) -> None:
    """A panel a kind: the share found against strength, with bands of 95%, and the median log10 p behind it."""
    curves: dict[str, list[dict]] = {}
    for row in summary:
        if row["strength"] is not None:
            curves.setdefault(row["kind"], []).append(row)
    curves = {kind: sorted(rows, key=lambda r: r["strength"]) for kind, rows in curves.items() if len(rows) > 1}
    columns = max(1, min(COLUMNS, len(curves)))
    lines = max(1, math.ceil(len(curves) / columns))
    canvas, axes = figure(lines, columns, width=max(4.0, 2.6 * columns), height=0.8 + 2.1 * lines)
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    for axis, (kind, rows) in zip(axes.flat, curves.items(), strict=False):
        x = [row["strength"] for row in rows]
        for rate, colour in BANDS.items():
            found = [row[f"found_{rate}"] for row in rows]
            axis.fill_between(x, [f["low"] for f in found], [f["high"] for f in found], color=colour, alpha=0.15)
            axis.plot(x, [f["share"] for f in found], color=colour, marker=".", label=f"found at {rate}")
        behind = axis.twinx()
        behind.plot(x, [row["median_log10_p"] for row in rows], color="0.6", ls=":", marker=".", ms=3)
        behind.tick_params(labelsize=6, colors="0.5")
        behind.invert_yaxis()
        axis.set_ylim(-0.03, 1.03)
        if x[0] > 0 and x[-1] / x[0] >= 8:
            axis.set_xscale("log")
        axis.set_xticks(x, [f"{value:g}" for value in x], fontsize=6)
        axis.set_xticks([], minor=True)
        axis.tick_params(axis="y", labelsize=6)
        axis.set_title(kind, fontsize=8)
        axis.set_xlabel(rows[0]["unit"], fontsize=7)
    if curves:
        canvas.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    canvas.suptitle("share found, and median log10 p (grey, right)", fontsize=9)
    save(canvas, path)


def plot_reach(path: Path, summary: Sequence[dict]) -> None:
    """A row a kind that moves, cuts or surrounds the picture: how many are found at which strength, how fast."""
    lines: dict[str, list[dict]] = {}
    for row in summary:
        if row["category"] in GEOMETRIC:
            lines.setdefault(row["kind"] or row["damage"], []).append(row)
    canvas, ((axis,),) = figure(1, 1, width=9, height=1.6 + 0.3 * len(lines))
    for place, rows in enumerate(lines.values()):
        for x, row in enumerate(sorted(rows, key=lambda r: r["strength"] or 0)):
            found = row["found_1e-6"]["share"]
            axis.add_patch(_cell(x, place, found))
            strength = "" if row["strength"] is None else f"{row['strength']:g}: "
            said = f"{strength}{found:.0%}, {row['seconds']:.1f} s"
            axis.text(x, place, said, ha="center", va="center", fontsize=6, color="white" if found < 0.25 else "black")
    axis.set_yticks(range(len(lines)), lines, fontsize=7)
    axis.set_xticks([])
    axis.set_xlim(-0.5, max(map(len, lines.values()), default=1) - 0.5)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.set_title("strength: share found at 1e-6, median seconds", fontsize=9)
    save(canvas, path)


def _cell(x: int, y: int, share: float):
    import matplotlib
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=matplotlib.colormaps["RdYlGn"](share))
