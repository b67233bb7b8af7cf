"""Processes that are killed while they issue and write: no number twice, nothing lost."""

from __future__ import annotations

import random

from wmark.benchmarks.ledger_crash import WRONG, Extent, compared, run, trial
from wmark.ledger import Ledger
from wmark.ledger.numbers import IssuerState


def test_nothing_is_issued_twice_or_lost(place, tmp_path):
    counts = trial(Extent(processes=3, kills=6, pause=0.1), place, tmp_path, random.Random(1))
    assert counts["numbers"] > 0
    assert {name: counts[name] for name in WRONG} == dict.fromkeys(WRONG, 0)


def test_results_are_written_without_the_password(database, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["wmark", "bench", "ledger", "--ledger", database])
    run(extent=Extent(processes=1, kills=0, pause=0), place=database, seed=0, out=tmp_path)
    text = (tmp_path / "ledger.json").read_text()
    assert "sesame" not in text and "wmark bench ledger --ledger ledger postgresql://wmark@" in text


def test_a_number_that_was_issued_twice_and_a_row_that_is_lost_are_counted(tmp_path, seals):
    with Ledger(tmp_path / "x.sqlite", seals, create=True) as ledger:
        ledger.reserve(2, IssuerState("a", range(9), range(0)))
        (tmp_path / "0.log").write_text("reserved 0 1\nregistered 0\n")
        (tmp_path / "1.log").write_text("reserved 1 2\n")
        counts = compared(ledger, tmp_path)
    assert (counts["twice"], counts["lost"]) == (1, 2)
