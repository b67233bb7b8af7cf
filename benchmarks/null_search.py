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
from torch import Tensor

from ..detectors.geometry import Canvas
from ..detectors.leading import keys_at, lead
from ..detectors.plan import SIGNS, Plan
from ..detectors.reading import KeyGroup, Standing, closest, log10_p, prepare, search
from ..detectors.statistic import corrected
from ..inversion.chain import recover
from ..inversion.recovery import Recovery
from ..progress import progress
from ..watermark.keys import Key
from .null_readings import Readings, Subject, null_keys
from .output import Rows

__all__ = ["searched"]

LEVELS = (0.1, 0.01)

GUIDED = 200
"""Keys that are tested where a pilot leads: any number costs one search."""


def searched(readings: Readings, plan: Plan, subjects: Sequence[Subject], keys: int, out: Path) -> list[dict]:
    """Search pictures for keys that they don't carry, in every recovery that is searched: each by itself, and
    :data:`GUIDED` of them where a pilot leads that the pictures don't carry either. Two rows for each recovery.

    Arguments:
        readings: The model, and how pictures are sized.
        plan: Its looks say which recoveries are searched.
        subjects: The pictures.
        keys: Number of keys that are searched by themselves; with 0 nothing is searched.
        out: Folder of `null-search.jsonl`, where an interrupted run goes on.
    """
    model, pattern = readings.model, readings.pattern
    recoveries = list(dict.fromkeys(look.recovery for look in plan.looks if look.reading == "search"))
    settings = {"model": model.fingerprint, "keys": keys, "guided": GUIDED, "pattern": pattern.to_json()}
    settings["recoveries"] = [asdict(recovery) for recovery in recoveries]
    rows = Rows(out / "null-search.jsonl", settings, ("look", "picture"))
    alone, guided = KeyGroup(null_keys(max(1, keys), pattern)), KeyGroup(null_keys(GUIDED, pattern))
    pilot = Key.derive_pilot(b"wmark bench null pilot".ljust(32, b"\0"), pattern, 0.3)

    def by_itself(noise: Tensor, places: Sequence[Canvas], recovery: Recovery) -> tuple[list[Standing], int]:
        (standings,), alignments = search(noise, alone, places)
        return standings, alignments

    def where_it_leads(noise: Tensor, places: Sequence[Canvas], recovery: Recovery) -> tuple[list[Standing], int]:
        common = model.reader.common.get(recovery.name) if model.reader else None
        led = lead(noise[0], pilot, places, common)
        standings = zip(*(keys_at(guided, place) for place in led.places), strict=True)
        return [closest(row) for row in standings], led.paid

    wanted, found = [subject.hash for subject in subjects], []
    with progress(len(recoveries) * len(subjects), "search") as bar, torch.no_grad():
        for recovery in recoveries if keys else []:
            looks = {recovery.name: by_itself, f"{recovery.name}, where a pilot leads": where_it_leads}
            for subject in subjects:
                bar.update(1)
                missing = [name for name in looks if (name, subject.hash) not in rows]
                if not missing:
                    continue
                noise = prepare(recover(model, recovery, readings.pixels(subject)[None]), pattern)
                places = readings.detector.canvases(tuple(noise.shape[-2:]), pattern)
                for name in missing:
                    standings, alignments = looks[name](noise, places, recovery)
                    p = log10_p(standings).round(4).tolist()
                    rows.add({"look": name, "picture": subject.hash, "log10_p": p, "trials": alignments * SIGNS})
            found += [rows.select(look=name, picture=wanted) for name in looks]
    return [summarise(part) for part in found if part]


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
