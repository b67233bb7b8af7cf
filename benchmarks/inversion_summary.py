"""What `wmark bench decoder-inversion` makes of its measurements: means, comparisons, figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..figures import figure, logarithmic, save
from .inversion_variants import CALLS, Variant

__all__ = ["compare", "plot", "stops", "summarise"]

SHOWN = 50
"""The paper's best is looked for within this many iterations."""

MANY = 16
MARKERS = {"paper": "o", "gradient": "s", "ours": "D"}
LINES = {"fp32": "-", "bf16": "--", "fp16": ":"}


def stops(variant: Variant) -> list[int]:
    """Numbers of iterations at which a variant is reported: one with a schedule only at its end."""
    return [variant.iterations] if variant.scheduled else [0, *(k for k in CALLS if k <= variant.iterations)]


def at(row: dict, name: str, k: int) -> float:
    """A value after k iterations; that of the last one where the run ended earlier."""
    return row[name][min(k, len(row[name]) - 1)]


def summarise(rows: Sequence[dict], variant: Variant, k: int, memory: int | None) -> dict:
    nmse = np.array([at(row, "nmse_db", k) for row in rows])
    start = np.array([row["nmse_db"][0] for row in rows])
    return {
        "variant": variant.name,
        "curve": variant.curve,
        "dtype": variant.dtype,
        "family": variant.family,
        "iterations": k,
        "images": len(rows),
        "nmse_db": float(nmse.mean()),
        "confidence_95": float(1.96 * nmse.std(ddof=1) / math.sqrt(len(nmse))) if len(nmse) > 1 else math.nan,
        "worst_nmse_db": float(nmse.max()),
        "seconds": float(np.mean([at(row, "seconds", k) for row in rows])),
        "peak_memory_mb": None if memory is None else memory / 1e6,
        "worse_by_residual": int(sum(at(row, "residual", k) > row["residual"][0] for row in rows)),
        "worse_by_nmse": float((nmse > start).mean()),
    }


def compare(traces: Mapping[str, Sequence[dict]], variants: Sequence[Variant]) -> dict:
    """Ours against the best of the paper's, and against the gradient, on means over the images.

    Arguments:
        traces: What was measured of each variant, by name, a row for each image.
        variants: The variants.
    """

    def means(variant: Variant, name: str) -> np.ndarray:
        found = traces[variant.name]
        return np.array([np.mean([at(row, name, k) for row in found]) for k in range(variant.iterations + 1)])

    def reported(variant: Variant) -> range:
        return range(variant.iterations if variant.scheduled else 0, variant.iterations + 1)

    def best(family: str) -> tuple[float, int, Variant]:
        members = [v for v in variants if v.family == family and v.dtype == "fp32"]
        candidates = [(means(v, "nmse_db")[k], k, v) for v in members for k in reported(v) if k <= SHOWN]
        return min(candidates, key=lambda candidate: candidate[0])

    paper, calls, which = best("paper")
    result = {"paper_best": f"{paper:.2f} dB by {which.name} after {calls} iterations"}
    gradient, k_gradient, slow = best("gradient")
    spent = means(slow, "seconds")[k_gradient]
    result["gradient_best"] = f"{gradient:.2f} dB by {slow.name} after {k_gradient} iterations, {spent:.2f} s"
    for variant in (v for v in variants if v.family == "ours"):
        nmse, seconds = means(variant, "nmse_db"), means(variant, "seconds")
        reaches = first(nmse <= paper)
        equal = first(nmse <= gradient)
        faster = None if equal is None else round(float(spent / seconds[equal]), 1)
        within = seconds <= spent
        result[variant.name] = {
            "nmse_db_at_20": round(float(nmse[min(20, len(nmse) - 1)]), 2),
            "iterations_to_paper_best": reaches,
            "calls_ratio": None if reaches is None else round(calls / max(reaches, 1), 2),
            "db_below_paper_best": round(float(paper - nmse[min(20, len(nmse) - 1)]), 2),
            "times_faster_than_gradient_at_equal_nmse": faster,
            "db_below_gradient_at_equal_time": round(float(gradient - nmse[within].min()), 2) if within.any() else None,
        }
    return result


def first(condition: np.ndarray) -> int | None:
    return int(condition.argmax()) if condition.any() else None


def plot(path: Path, summary: Sequence[dict], images: int) -> None:
    """Error against calls, seconds and memory, all methods in one figure each, with the frontier of the best.

    A method has one colour in all precisions. Intervals are drawn where the images are enough for them to mean
    something.
    """
    canvas, axes = figure(1, 3, width=16, height=5.5)
    many = images >= MANY
    curves: dict[str, dict[str, list[dict]]] = {}  # By method, then by precision.
    for r in summary:
        precisions = curves.setdefault(r["curve"].removesuffix(f", {r['dtype']}"), {})
        precisions.setdefault(r["dtype"], []).append(r)
    panels = (
        ("iterations", "calls of D and E"),
        ("seconds", "seconds an image"),
        ("peak_memory_mb", "peak memory beyond the weights, MB"),
    )
    for axis, (quantity, label) in zip(axes.flat, panels, strict=True):
        draw_curves(axis, quantity, list(curves.values()), many)
        axis.set_xlabel(label)
    axes[0, 0].set_ylabel(f"NMSE, dB: mean of {images} images{', 95% interval' if many else ''}")
    axes[0, 2].legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1.02, 0.5))
    save(canvas, path)


def draw_curves(axis, quantity: str, curves: Sequence[Mapping[str, Sequence[dict]]], many: bool) -> None:
    """Error of each method, by precision, against a quantity; of the memory, which is one for all, the best point."""
    shown = []
    for number, dtype, points in [(n, d, p) for n, of in enumerate(curves) for d, p in of.items()]:
        if quantity == "peak_memory_mb":
            points = [min(points, key=lambda r: r["nmse_db"])]
        x, y = [r[quantity] + (quantity == "iterations") for r in points], [r["nmse_db"] for r in points]
        shown += zip(x, y, strict=True)
        axis.errorbar(
            x,
            y,
            yerr=[r["confidence_95"] for r in points] if many else None,
            marker=MARKERS[points[0]["family"]],
            markerfacecolor=None if dtype == "fp32" else "white",
            linestyle=LINES[dtype],
            color=_colour(number),
            markersize=4,
            linewidth=1,
            elinewidth=0.4,
            label=points[0]["curve"],
        )
    axis.step(*frontier(shown), where="post", color="black", alpha=0.2, linewidth=6, zorder=0, label="best so far")
    logarithmic(axis)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(alpha=0.3)


def _colour(number: int) -> tuple:
    import matplotlib

    colours = matplotlib.colormaps["tab20"].colors  # Ten dark ones, each followed by its light one.
    return (colours[::2] + colours[1::2])[number % len(colours)]


def frontier(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The Pareto frontier of points (cost, error), as a staircase: at each cost the least error that no more buys."""
    costs, errors = [], []
    for cost, error in sorted(points):
        if not errors or error < errors[-1]:
            costs.append(cost)
            errors.append(error)
    return [*costs, max(cost for cost, _ in points)], [*errors, errors[-1]]
