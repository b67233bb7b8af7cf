"""Figures without a display: matplotlib's object interface, one look for all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import WmarkError
from .files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure", "logarithmic", "save"]


def figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its array of axes, of width x height inches.

    Raises:
        WmarkError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise WmarkError("figures need matplotlib: pip install 'wmark[plot]'") from error
    drawing = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(drawing)
    return drawing, drawing.subplots(rows, columns, squeeze=False)


def logarithmic(axis: Axes) -> None:
    """Give an axis a logarithmic x with plain numbers: 1, 2, 5, 10 and so on."""
    from matplotlib.ticker import LogLocator

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")


def save(drawing: Figure, path: Path, *, private: bool = False) -> None:
    """Write a figure atomically, in the format of the suffix; a private one is readable by its owner only.

    Raises:
        WmarkError: If matplotlib does not write this format.
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    try:
        drawing.savefig(buffer, format=path.suffix.lstrip(".") or "png", dpi=140)
    except ValueError as error:
        raise WmarkError(f"{path}: {str(error).splitlines()[0]}") from error
    write_atomically(path, buffer.getvalue(), mode=0o600 if private else None)
