"""The figure of `wmark bench inversion`: errors with the prompt known, and what a verifier's reading is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..figures import figure, logarithmic, save
from .inversion_methods import CAPS, SOLVERS, TEXTBOOK, TOLERANCES

__all__ = ["plot"]

MARKERS = {
    "naive": "o",
    "predictor-corrector": "v",
    "exact": "D",
    "algebra": "s",
    "algebra, both states": "^",
    "diffusers": "x",
}


def plot(path: Path, summary: Sequence[dict]) -> None:
    """A row for each model: error against calls at guidance 1, the two solvers cap by cap, p-values by guidance."""
    models = list(dict.fromkeys(row["model"] for row in summary))
    canvas, axes = figure(len(models), 3, width=16, height=6.4 * len(models))
    for row, model in zip(axes, models, strict=True):
        of = [r for r in summary if r["model"] == model]
        tight = [r for r in of if r["prompt"] == "known" and r["guidance"] == 1 and r["source"] == "latent"]
        draw_methods(row[0], [r for r in tight if r["method"] in MARKERS])
        draw_solvers(row[1], [r for r in of if r["source"] == "capped"])
        draw_evidence(row[2], [r for r in of if r["source"] == "picture"])
        row[0].set_title(f"{model}: true latent, prompt known, guidance 1", fontsize=10)
        row[1].set_title(f"{model}: DDIM, each step to so many updates or a residual", fontsize=10)
        row[2].set_title(f"{model}: from pictures, prompt unknown", fontsize=10)
        for axis in row:
            axis.grid(alpha=0.3)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    save(canvas, path)


def draw_methods(axis, rows: Sequence[dict]) -> None:
    """Error against network calls, a line for each sampler and method over its numbers of steps."""
    for number, sampler in enumerate(dict.fromkeys(r["sampler"] for r in rows)):
        for method, marker in MARKERS.items():
            points = [r for r in rows if (r["sampler"], r["method"]) == (sampler, method)]
            if points:
                x, y = [r["calls"] for r in points], [r["nmse_db"] for r in points]
                axis.plot(
                    x, y, marker + "-", color=f"C{number}", markersize=4, linewidth=1, label=f"{sampler}, {method}"
                )
    logarithmic(axis)
    axis.set_xlabel("network calls an image")
    axis.set_ylabel("NMSE of the noise, dB")


def draw_solvers(axis, rows: Sequence[dict]) -> None:
    """Error against network calls: the solvers cap by cap, filled, and tolerance by tolerance, hollow."""
    for number, steps in enumerate(dict.fromkeys(r["steps"] for r in rows)):
        for solver, line in zip((*SOLVERS, TEXTBOOK), ("--", "-", ":"), strict=True):
            for stops, fill in ((CAPS, "full"), ([f"to {tolerance:g}" for tolerance in TOLERANCES], "none")):
                names = [f"{solver}, {stop}" for stop in stops]
                points = [r for r in rows if r["steps"] == steps and r["method"] in names]
                points.sort(key=lambda r: r["calls"])
                if points:
                    x, y = [r["calls"] for r in points], [r["nmse_db"] for r in points]
                    label = f"{solver}, {steps} steps, by {'updates' if fill == 'full' else 'residual'}"
                    axis.plot(
                        x, y, "o" + line, color=f"C{number}", markersize=3, linewidth=1, fillstyle=fill, label=label
                    )
    logarithmic(axis)
    axis.set_xlabel("network calls an image")


def draw_evidence(axis, rows: Sequence[dict]) -> None:
    """Median log10 p against guidance, averaged over samplers and steps, a line for each method."""
    for method in dict.fromkeys(r["method"] for r in rows):
        scales = sorted({r["guidance"] for r in rows if r["method"] == method})
        mean = []
        for scale in scales:
            found = [r["median_log10_p"] for r in rows if (r["method"], r["guidance"]) == (method, scale)]
            mean.append(sum(found) / len(found))
        axis.plot(scales, mean, "o-", markersize=3, linewidth=1, label=method)
    axis.set_xlabel("guidance of the sampling")
    axis.set_ylabel("log10 p, median")
