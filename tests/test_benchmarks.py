import csv
import json

import numpy as np
import pytest
from PIL import Image

from wmark import WmarkError
from wmark.benchmarks import confusion, detection, report
from wmark.benchmarks.attacks import ATTACKS, attack
from wmark.benchmarks.memory import peak_memory
from wmark.models.prompts import draw_prompts


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_reproducible_and_keep_the_size(marked, name):
    once, again = (attack(name, marked, seed=4) for _ in range(2))
    assert np.array_equal(once, again)
    assert (once.size, once.mode) == (marked.size, "RGB")
    assert np.array_equal(once, marked) == (name == "none")


def test_unknown_attack():
    with pytest.raises(WmarkError, match="choose one of"):
        attack("sledgehammer", Image.new("RGB", (8, 8)), seed=0)


def test_prompts_are_reproducible():
    assert draw_prompts(5, 1) == draw_prompts(5, 1) != draw_prompts(5, 2)


def test_rows_go_on_where_a_run_stopped(tmp_path):
    path, settings = tmp_path / "rows.jsonl", {"n": 2}
    rows = report.Rows(path, settings, ("i",))
    rows.add({"i": 0, "value": 1.5})
    with path.open("a") as stream:
        stream.write('{"i": 1, "val')
    again = report.Rows(path, settings, ("i",))
    assert (0,) in again
    assert (1,) not in again
    again.add({"i": 1, "value": 2.5})
    assert len(report.Rows(path, settings, ("i",)).select()) == 2


def test_rows_of_other_settings_are_set_aside(tmp_path):
    path = tmp_path / "rows.jsonl"
    report.Rows(path, {"n": 2}, ("i",)).add({"i": 0})
    assert not report.Rows(path, {"n": 3}, ("i",)).select()
    assert len(list(tmp_path.glob("rows*.jsonl"))) == 2


def test_distances_are_classified_with_a_threshold_of_the_other_fold():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 3], 20)
    distances = rng.normal(1, 0.02, (80, 3))
    distances[truth > 0, truth[truth > 0] - 1] -= 0.4
    predicted = confusion.classify_by_distance(distances, truth, np.arange(80) % 2)
    assert np.array_equal(predicted, truth)
    assert (
        confusion.classify_by_distance(rng.normal(1, 0.02, (80, 3)), truth, np.arange(80) % 2) == truth
    ).mean() < 0.6


def test_peak_memory_counts_what_a_call_holds(model):
    import torch

    assert peak_memory(lambda: torch.zeros(250_000) + 1, torch.device("cpu")) == pytest.approx(2e6, rel=0.01)


def test_confusion_runs_end_to_end_and_resumes(model, tmp_path, capsys):
    options = dict(images=2, attack="none", iterations=1, steps=2, seed=0, out=tmp_path, sampling_steps=2)
    result = confusion.run(model, **options)
    assert [(r["pattern"], r["inversion"]) for r in result["results"]] == [
        (kind, inversion) for kind in ("ring", "disc") for inversion in confusion.inversions(1)
    ]
    for row in result["results"]:
        assert np.sum(row["confusion"]) == 8
        assert row["accuracy"] == pytest.approx(np.trace(row["confusion"]) / 8)
    memory = {r["inversion"]: r["peak_memory_mb"] for r in result["results"]}
    assert memory["gradient-based"] > 3 * memory["gradient-free"]
    assert json.loads((tmp_path / "confusion.json").read_text())["settings"]["images"] == 2
    assert len(list(csv.reader((tmp_path / "confusion.csv").open()))) == 9
    assert Image.open(tmp_path / "confusion.png").width > 500

    size = (tmp_path / "confusion.jsonl").stat().st_size
    confusion.run(model, **options)
    assert (tmp_path / "confusion.jsonl").stat().st_size == size
    assert "gradient-free" in capsys.readouterr().out


def test_detection_runs_end_to_end(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detection, "ATTACKS", {name: ATTACKS[name] for name in ("none", "jpeg-25")})
    monkeypatch.setattr(detection, "RANDOM_KEYS", 20)
    monkeypatch.setattr(detection, "REPEATS", 1)
    options = dict(images=2, exact_images=0, fpr=1e-3, seed=0, out=tmp_path, sampling_steps=5)
    result = detection.run(model, **options)
    assert {r["attack"] for r in result["results"]} == {"none", "jpeg-25"}
    assert all(r["images"] == 2 for r in result["results"])
    assert result["unmarked"]["found"]["fast"] == "0 of 2"
    assert 0 <= result["unmarked"]["ks_random_keys"]["p"] <= 1
    assert Image.open(tmp_path / "detection.png").width > 500
    assert "unmarked" in capsys.readouterr().out
