"""`wmark bench transplants`: pictures that carry a name, compared with what was registered under it."""

import json
from dataclasses import replace

from wmark import Sampling
from wmark.attacks import KINDS
from wmark.benchmarks import transplants
from wmark.benchmarks.transplants import EVIDENCE, Extent, evidence, run, summarised


def test_registered_pictures_and_replays_are_compared_and_a_rerun_goes_on(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transplants, "KINDS", {name: KINDS[name] for name in ("crop", "grey")})
    monkeypatch.setattr(transplants, "REPLAYED", ("none", "jpeg:25"))
    small = replace(model, native_size=(256, 256))
    options = dict(fpr=1e-6, seed=0, out=tmp_path, sampling=Sampling(4))
    result = run(small, Extent(1, 1), **options)
    lines = (tmp_path / "transplants.jsonl").read_text()
    rows = [json.loads(line) for line in lines.splitlines()[1:]]
    assert {row["what"] for row in rows} > {"none", "grey", "replay 0, none", "replay 0, jpeg:25"}
    whole = next(row for row in rows if row["what"] == "none")
    assert whole["identified"] and whole["transplant"] is False and whole["likeness"] > 0.999
    assert run(small, Extent(1, 1), **options)["results"] == result["results"]
    assert (tmp_path / "transplants.jsonl").read_text() == lines
    assert (tmp_path / "transplants.png").stat().st_size > 1000
    assert "| told as transplant |" in capsys.readouterr().out


def test_shares_by_evidence():
    def row(truth, identity, transplant):
        return {"truth": truth, "identity": identity, "transplant": transplant}

    rows = [row("registered", -1500.0, False), row("registered", -1000.0, True), row("registered", -400.0, None)]
    rows += [row("replay", -20.0, True), row("replay", -2000.0, True)]
    assert [evidence(one) for one in rows] == [EVIDENCE[i][1] for i in (0, 0, 1, 2, 0)]
    found = {(one["pictures"], one["evidence"]): one for one in summarised(rows)}
    strong = found["the registered ones, damaged", EVIDENCE[0][1]]
    assert (strong["compared"], strong["flagged"], strong["share"]) == (2, 1, 0.5)
    assert found["the registered ones, damaged", "any"]["undecided"] == 1
    assert found["replays", "any"]["flagged"] == 2 and found["replays", "any"]["high"] == 1
