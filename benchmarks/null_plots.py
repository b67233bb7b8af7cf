"""Figures of `wmark bench null`: p-values over keys and over fixed keys against the uniform law."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..figures import figure, save
from .null_statistics import both_signs, kolmogorov

__all__ = ["plot"]

POINTS = 2000
"""Quantiles drawn of a curve."""


def plot(path: Path, curves: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """One row a look: p-values over keys, every fixed key's test, and every fixed key's rate.

    Arguments:
        path: The file.
        curves: p-values (N, K) of real pictures by the look and by what was projected out.
    """
    canvas, axes = figure(len(curves), 3, width=13, height=4.2 * len(curves))
    for (pooled, tests, rates), (look, found) in zip(axes, curves.items(), strict=True):
        for number, (removed, one_sign) in enumerate(found.items()):
            colour, values = f"C{number}", both_signs(one_sign)
            _quantiles(pooled, values.ravel(), colour, removed)
            _quantiles(tests, kolmogorov(values), colour, removed)
            shares = np.sort((values <= 0.01).mean(axis=0))
            rates.plot(shares, (np.arange(len(shares)) + 0.5) / len(shares), color=colour, label=removed)
        pictures = max((len(values) for values in found.values()), default=1)
        spread = (0.01 * 0.99 / pictures) ** 0.5
        rates.axvspan(0.01 - 1.96 * spread, 0.01 + 1.96 * spread, color="black", alpha=0.08, label="binomial, 95%")
        pooled.set(xscale="log", yscale="log", xlabel="uniform quantile", ylabel="p over keys and pictures", title=look)
        tests.set(xscale="log", yscale="log", ylim=(1e-6, 1.5), xlabel="uniform quantile", ylabel="KS p of a fixed key")
        rates.set(xlabel="share of pictures below .01, by key", ylabel="share of keys")
        for axis in (pooled, tests, rates):
            axis.grid(alpha=0.3)
            axis.legend(frameon=False, fontsize=7)
    save(canvas, path)


def _quantiles(axis, values: np.ndarray, colour: str, label: str) -> None:
    ordered = np.sort(values)
    ranks = np.unique(np.geomspace(1, len(ordered), POINTS).round().astype(int)) - 1
    expected = (ranks + 0.5) / len(ordered)
    axis.plot(expected, np.maximum(ordered[ranks], 1e-30), color=colour, lw=1.3, label=label)
    axis.plot(expected[[0, -1]], expected[[0, -1]], color="black", lw=0.7, ls="--")
