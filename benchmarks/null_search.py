"""Unmarked pictures searched over all alignments: what the union bound pays beside what the search is worth.

The best of M independent alignments with p-values p_i has P(min p <= t) = 1 - (1 - t)^M, about an exponential law of
mean 1 / M. Alignments depend on each other, so they are worth fewer than the bound pays: the mean of the smallest
p-values tells how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ..detectors.plan import SIGNS, Plan
from ..detectors.reading import KeyGroup, log10_p, prepare, search
from ..detectors.statistic import corrected
from ..inversion.chain import recover
from ..progress import progress
from .null_readings import Readings, Subject, null_keys
from .output import Rows

__all__ = ["searched"]

LEVELS = (0.1, 0.01)


def searched(readings: Readings, plan: Plan, subjects: Sequence[Subject], keys: int, out: Path) -> list[dict]:
    """Search pictures for keys that they don't carry, in every recovery that is searched; one row for each of these.

    Arguments:
        readings: The model, and how pictures are sized.
        plan: Its looks say which recoveries are searched.
        subjects: The pictures.
        keys: Number of keys.
        out: Folder of `null-search.jsonl`, where an interrupted run goes on.
    """
    model, pattern = readings.model, readings.pattern
    recoveries = list(dict.fromkeys(look.recovery for look in plan.looks if look.reading == "search"))
    group = KeyGroup(null_keys(keys, pattern)) if keys else None
    settings = {"model": model.fingerprint, "keys": keys, "pattern": pattern.to_json()}
    settings["recoveries"] = [asdict(recovery) for recovery in recoveries]
    rows = Rows(out / "null-search.jsonl", settings, ("look", "picture"))
    with progress(len(recoveries) * len(subjects), "search") as bar, torch.no_grad():
        for recovery in recoveries if keys else []:
            for subject in subjects:
                bar.update(1)
                if (recovery.name, subject.hash) in rows:
                    continue
                noise = prepare(recover(model, recovery, readings.pixels(subject)[None]), pattern)
                places = readings.detector.canvases(tuple(noise.shape[-2:]), pattern)
                (standings,), alignments = search(noise, group, places)
                found, trials = log10_p(standings).round(4).tolist(), alignments * SIGNS
                rows.add({"look": recovery.name, "picture": subject.hash, "log10_p": found, "trials": trials})
    wanted = [subject.hash for subject in subjects]
    chosen = [rows.select(look=recovery.name, picture=wanted) for recovery in recoveries]
    return [summarise(found) for found in chosen if found]


def summarise(rows: Sequence[dict]) -> dict:
    """How the smallest p-values of searches compare with what the union bound pays."""
    found = np.array([row["log10_p"] for row in rows])
    trials = np.array([row["trials"] for row in rows], dtype=np.float64)[:, None]
    paid = corrected(found, trials)
    return {
        "look": rows[0]["look"],
        "searches": found.size,
        "trials": float(np.median(trials)),
        "effective_trials": float(np.median(trials) / np.mean(10**found * trials)),
        "share_below": {f"{level:g}": float((paid <= np.log10(level)).mean()) for level in LEVELS},
        "smallest_log10_p": float(paid.min()),
    }
