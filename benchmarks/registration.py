"""`wmark bench search`: how far the pilot leads, after turns, crops, warps and in larger pictures, and what it costs.

No model takes part: what a reader returns is simulated (:mod:`.simulated`), with the correlation that readers of the
embedded model were measured to leave. Seconds are those of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..attacks import find_damage
from ..attacks.warping import UNMOVED
from ..detectors import reading
from ..detectors.geometry import Canvas
from ..detectors.registration import parts, search
from ..detectors.registration.search import Found
from ..detectors.statistic import corrected, cosine, hypercone_log10_p
from ..watermark.keys import Key
from ..watermark.noise import initial_noise
from ..watermark.patterns import Pattern
from .output import Columns, provenance, tabulate, write_results
from .simulated import pasted, simulated_reading

__all__ = ["CASES", "run"]

CANVAS = (64, 64)
PIXELS = (512, 512)
SIGNS = 2

CASES: dict[str, float] = {
    "none": 0.7, "mirror": 0.7, "shift:25": 0.6, "rotation:30": 0.5, "rotation:75+mirror": 0.5, "crop:80": 0.5,
    "crop:60": 0.4, "crop:50": 0.28, "crop:40": 0.24, "rotation:30+crop:60": 0.32, "stretch:1.3": 0.5,
    "stretch:1.5": 0.5, "shear:10": 0.5, "perspective:10": 0.5, "perspective:20": 0.5, "lens:0.2": 0.5,
    "lens:-0.2": 0.5, "elastic:8": 0.55, "elastic:12": 0.5, "elastic:16": 0.5, "a half": 0.6, "a third": 0.6,
    "unmarked": 0.0,
}  # fmt: skip
"""What happens, and how much of it is kept in the reading. `a half` and `a third`: of the sides of a larger picture."""

PARTS = {"a half": 2, "a third": 3}


@dataclass(frozen=True)
class Seen:
    """One reading, looked at.

    Attributes:
        pilot: log10 p of the pilot, paid.
        key: log10 p of the key where the pilot led, paid.
        grid: log10 p of the key by the search without a pilot, paid; None where it was not tried.
        seconds: Of the search with the pilot and of that without.
    """

    pilot: float
    key: float
    grid: float | None
    seconds: tuple[float, float]


def columns(fpr: float) -> Columns:
    decisive = float(np.log10(fpr))
    return {
        "case": "{case}",
        "kept": "{keep:.2f}",
        f"found at {fpr:g}": lambda r: f"{np.mean(np.array(r['key']) <= decisive):.0%}",
        "log10 p of the key, median / worst": lambda r: spread(r["key"]),
        "of the pilot": lambda r: spread(r["pilot"]),
        "seconds": "{seconds:.2f}",
        "without a pilot: found": lambda r: f"{np.mean(np.array(r['grid']) <= decisive):.0%}" if r["grid"] else "",
        "log10 p": lambda r: spread(r["grid"]) if r["grid"] else "",
        "seconds without": lambda r: f"{r['grid_seconds']:.2f}" if r["grid"] else "",
    }


def run(*, readings: int, compared: int, fpr: float, seed: int, out: Path) -> dict:
    """Measure, print the table and write `search.{csv,json}`; returns what the JSON holds.

    Arguments:
        readings: Readings of each case.
        compared: Those of them that are also searched without a pilot, for a key of strength 0.5.
        fpr: False-positive rate that counts as found.
        seed: Seed of noise and damages.
        out: Folder of the results.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [measured(case, keep, readings, compared, seed) for case, keep in CASES.items()]
    finally:
        torch.set_num_threads(threads)
    result = {**provenance(readings=readings, compared=compared, fpr=fpr, seed=seed), "results": rows}
    write_results(out / "search", columns(fpr), rows, result)
    print(tabulate(columns(fpr), rows))
    return result


def measured(case: str, keep: float, readings: int, compared: int, seed: int) -> dict:
    seen = [look(case, keep, seed + i, i < compared and case not in PARTS) for i in range(readings)]
    grid = [one.grid for one in seen if one.grid is not None]
    return {
        "case": case,
        "keep": keep,
        "key": [one.key for one in seen],
        "pilot": [one.pilot for one in seen],
        "seconds": float(np.median([one.seconds[0] for one in seen])),
        "grid": grid,
        "grid_seconds": float(np.median([one.seconds[1] for one in seen if one.grid is not None])) if grid else None,
    }


def look(case: str, keep: float, seed: int, compare: bool) -> Seen:
    """One reading of a case, searched with the pilot and, for the same share of the noise, without."""
    master, pattern = b"wmark bench search".ljust(32, b"\0"), Pattern.of("square", strength=0.4)
    key = Key.derive(master, "key-1", pattern, pilot=0.3)
    noise = reading_of(case, keep, key, seed)
    found, spent = timed(lambda: led_to(case, noise, key))
    pilot = min((one.log10_p for one in found), default=0.0)
    named = of_key(noise, key, found, parts.READS if case in PARTS else search.READS)
    if not compare:
        return Seen(pilot, named, None, (spent, 0.0))
    alone = Key.derive(master, "key-1", Pattern.of("square", strength=0.5))
    noise = reading_of(case, keep, alone, seed)
    group = reading.KeyGroup([alone])
    (rows, tried), without = timed(lambda: reading.search(noise[None], group, [Canvas(CANVAS)]))
    p = corrected(reading.log10_p(rows[0]), SIGNS * tried)
    return Seen(pilot, named, float(p[0]), (spent, without))


def led_to(case: str, noise: Tensor, key: Key) -> list[Found]:
    """Where the pilot leads, in a picture or in parts of a larger one."""
    if case in PARTS:
        return parts.parts(noise, key.pilot, CANVAS)
    return search.search(noise, key.pilot, [Canvas(CANVAS)])


def of_key(noise: Tensor, key: Key, found: list[Found], reads: int) -> float:
    """log10 p of a key where its pilot led, paid for so many placements."""
    p = 0.0
    for placement in (place for one in found for place in one.placements):
        c = placement.coordinates(noise, key.pattern).flatten().numpy()
        t = cosine(c, key.pattern.fitted(CANVAS).restrict(key.direction))
        p = min(p, float(hypercone_log10_p(abs(t), len(c))))
    return float(corrected(p, SIGNS * reads))


def reading_of(case: str, keep: float, key: Key, seed: int) -> Tensor:
    """A reading of a case, with shape (4, h, w)."""
    planted = initial_noise(key, seed=seed, shape=(4, *CANVAS))[0]
    if case not in PARTS:
        moved = UNMOVED if case == "unmarked" else find_damage(case).warp(PIXELS, seed)
        return simulated_reading(planted, moved, keep, seed)
    side = PARTS[case] * CANVAS[0]
    corner = tuple(int(c) for c in np.random.default_rng(seed).integers(0, side - CANVAS[0] + 1, 2))
    return pasted([(simulated_reading(planted, UNMOVED, keep, seed), corner)], (side, side), seed)


def timed(call: Callable[[], object]) -> tuple:
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


def spread(values: list[float]) -> str:
    """Median and worst of logarithms."""
    return f"{np.median(values):.0f} / {max(values):.0f}"
