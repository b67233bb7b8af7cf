import csv
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wmark
from wmark import Sampling, WmarkError
from wmark.attacks import KINDS, NAMED, sweep
from wmark.benchmarks import (
    adapter,
    attackers,
    audit,
    autoencoders,
    claims,
    clips,
    cocoercivity,
    confusion,
    decoder_inversion,
    detection,
    identities,
    impostors,
    inversion,
    inversion_editing,
    inversion_gradients,
    inversion_guidance,
    inversion_photographs,
    inversion_restoration,
    latent,
    likeness,
    marks,
    null,
    null_names,
    output,
    registration,
    robustness,
    seconds,
    throughput,
    transplants,
)
from wmark.benchmarks.corpus import Corpus, Origin
from wmark.benchmarks.memory import peak_memory
from wmark.benchmarks.timing import median_seconds
from wmark.detectors.detector import Detector
from wmark.models.clock import clock
from wmark.models.latent_diffusion import LatentDiffusion
from wmark.models.prompts import draw_prompts
from wmark.watermark.noise import initial_noise

COLUMNS = {
    "ablation": decoder_inversion.COLUMNS,
    "adapter": adapter.COLUMNS,
    "attackers": attackers.COLUMNS,
    "attackers-14": attackers.COLUMNS,
    "audit": audit.COLUMNS,
    "autoencoders": autoencoders.COLUMNS,
    "clips": clips.COLUMNS,
    "cocoercivity": cocoercivity.columns(0.5),
    "confusion": confusion.COLUMNS,
    "confusion-tiny-flow": confusion.COLUMNS,
    "confusion-tiny-one": confusion.COLUMNS,
    "decoder-inversion": decoder_inversion.COLUMNS,
    "detection": detection.COLUMNS,
    "editing": inversion_editing.COLUMNS,
    "gradients": inversion_gradients.COLUMNS,
    "guidance": inversion_guidance.COLUMNS,
    "identities": identities.PICTURES,
    "impostors": impostors.COLUMNS,
    "inversion": inversion.COLUMNS,
    "inversion-50": inversion.COLUMNS,
    "latent": latent.columns(),
    "likeness": likeness.columns(),
    "marks": marks.columns(),
    "null": null.COLUMNS,
    "null-names": null_names.COLUMNS,
    "photographs": inversion_photographs.COLUMNS,
    "restoration": inversion_restoration.COLUMNS,
    "robustness": robustness.COLUMNS,
    "robustness-hue": robustness.COLUMNS,
    "search": registration.columns(1e-6),
    "seconds": seconds.columns(),
    "throughput": throughput.COLUMNS,
    "transplants": transplants.COLUMNS,
    "transplants-3": transplants.COLUMNS,
}


@pytest.fixture(scope="module")
def small(small_pipeline):
    """A model with random weights, whose latents are smaller than the pattern of a key."""
    return LatentDiffusion.from_pipeline(small_pipeline("epsilon"), "small")


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_those_of_the_committed_results(name):
    results = Path(wmark.__file__).parent / "benchmarks" / "results"
    with (results / f"{name}.csv").open() as stream:
        assert next(csv.reader(stream)) == list(COLUMNS[name])


def test_a_column_is_a_format_or_a_function(tmp_path, capsys):
    columns = {"name": "{name}", "error, dB": "{error:.1f} ± {spread:g}", "sign": lambda r: r["error"] > 0}
    rows = [{"name": "a", "error": 1.26, "spread": 0.5}, {"name": "longer", "error": -3, "spread": 2}]
    output.write_results(tmp_path / "noise-0.1", columns, rows, {"results": rows})
    written = (tmp_path / "noise-0.1.csv").read_text()
    assert written == 'name,"error, dB",sign\na,1.3 ± 0.5,True\nlonger,-3.0 ± 2,False\n'
    assert json.loads((tmp_path / "noise-0.1.json").read_text()) == {"results": rows}
    assert output.tabulate(columns, rows).splitlines() == [
        "| name   | error, dB | sign  |",
        "| ------ | --------- | ----- |",
        "| a      | 1.3 ± 0.5 | True  |",
        "| longer | -3.0 ± 2  | False |",
    ]


def test_a_corpus_is_kept_added_to_and_told_apart(small, ring, tmp_path, monkeypatch):
    origins = [Origin.draw(small, prompt, i) for i, prompt in enumerate(draw_prompts(3, 0))]
    corpus = Corpus(small, Sampling(2), tmp_path)
    two = corpus.latents(origins[:2])
    assert torch.equal(corpus.latents(origins)[:2], two)
    assert len(list((tmp_path / "corpus").iterdir())) == 3
    others = [
        Origin("another prompt", origins[0].noise),
        Origin.draw(small, origins[0].prompt, 5),
        Origin.draw(small, origins[0].prompt, 0, ring.key("one")),
    ]
    assert all(not torch.equal(latent, two[0]) for latent in corpus.latents(others))
    assert not torch.equal(Corpus(small, Sampling(3), tmp_path).latents(origins[:1]), two[:1])

    monkeypatch.delattr(LatentDiffusion, "sample")
    assert torch.equal(corpus.latents(origins[1::-1]), two.flip(0))


def test_noise_is_drawn_from_the_seed_and_the_key(small, ring):
    shape = small.latent_shape(*small.native_size)
    white = torch.randn(1, *shape, generator=torch.Generator().manual_seed(7))
    assert torch.equal(Origin.draw(small, "", 7).noise, white[0])
    marked = initial_noise(ring.key("one"), shape=shape, seed=7)
    assert torch.equal(Origin.draw(small, "", 7, ring.key("one")).noise, marked[0])


def test_the_clock_waits_for_the_device(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    assert clock("cpu") <= clock(torch.device("cuda:1"))
    assert waited == [torch.device("cuda:1")]


def test_calls_are_timed_in_turn():
    order = []
    spent = median_seconds({name: partial(order.append, name) for name in "ab"}, "cpu", 3)
    assert "".join(order) == "ababab"
    assert list(spent) == ["a", "b"] and min(spent.values()) >= 0


def test_prompts_are_reproducible():
    assert draw_prompts(5, 1) == draw_prompts(5, 1) != draw_prompts(5, 2)


def test_rows_go_on_where_a_run_stopped(tmp_path):
    path, settings = tmp_path / "rows.jsonl", {"n": 2}
    rows = output.Rows(path, settings, ("i",))
    rows.add({"i": 0, "value": 1.5})
    with path.open("a") as stream:
        stream.write('{"i": 1, "val')
    again = output.Rows(path, settings, ("i",))
    assert (0,) in again
    assert (1,) not in again
    again.add({"i": 1, "value": 2.5})
    assert len(output.Rows(path, settings, ("i",)).select()) == 2


def test_rows_of_other_settings_are_set_aside(tmp_path):
    path = tmp_path / "rows.jsonl"
    output.Rows(path, {"n": 2}, ("i",)).add({"i": 0})
    assert not output.Rows(path, {"n": 3}, ("i",)).select()
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


def test_peak_memory_counts_what_a_call_holds():
    assert peak_memory(lambda: torch.zeros(250_000) + 1, torch.device("cpu")) == pytest.approx(2e6, rel=0.01)


def test_confusion_runs_end_to_end_and_resumes(small, tmp_path, capsys):
    options = dict(images=2, damage="jpeg-25", iterations=1, steps=2, seed=0, out=tmp_path, sampling=Sampling(2))
    result = confusion.run(small, **options)
    assert [(r["pattern"], r["inversion"]) for r in result["results"]] == [
        (kind, inversion) for kind in ("ring", "disc") for inversion in confusion.inversions(1)
    ]
    for row in result["results"]:
        assert np.sum(row["confusion"]) == 8
        assert row["accuracy"] == pytest.approx(np.trace(row["confusion"]) / 8)
    memory = {r["inversion"]: r["peak_memory_mb"] for r in result["results"]}
    assert memory["gradient-based"] > 2 * memory["gradient-free"]
    stem = tmp_path / "confusion-small-jpeg-25"
    assert json.loads(Path(f"{stem}.json").read_text())["settings"]["images"] == 2
    assert len(Path(f"{stem}.csv").read_text().splitlines()) == 9
    assert Image.open(f"{stem}.png").width > 500

    lines = Path(f"{stem}.jsonl").read_text()
    assert confusion.run(small, **options)["results"] == result["results"]
    assert Path(f"{stem}.jsonl").read_text() == lines
    assert "gradient-free" in capsys.readouterr().out


def test_detection_runs_end_to_end_and_resumes(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detection, "NAMED", {name: NAMED[name] for name in ("none", "jpeg-25")})
    monkeypatch.setattr(detection, "Detector", partial(Detector, align="off"))
    monkeypatch.setattr(detection, "RANDOM_KEYS", 20)
    monkeypatch.setattr(detection, "REPEATS", 1)
    options = dict(images=2, exact_images=1, fpr=1e-3, seed=0, out=tmp_path, sampling=Sampling(2))
    result = detection.run(small, **options)
    assert [(r["attack"], r["effort"], r["images"]) for r in result["results"]] == [
        (damage, effort, 1 if effort == "exact" else 2)
        for damage in ("none", "jpeg-25")
        for effort in ("fast", "auto", "exact")
    ]
    assert result["unmarked"]["found"] == {"fast": "0 of 2", "auto": "0 of 2", "exact": "0 of 1"}
    assert 0 <= result["unmarked"]["ks_random_keys"]["p"] <= 1
    assert Image.open(tmp_path / "detection.png").width > 500
    lines = (tmp_path / "detection.jsonl").read_text()
    assert detection.run(small, **options)["results"] == result["results"]
    assert (tmp_path / "detection.jsonl").read_text() == lines
    said = capsys.readouterr().out
    assert "\n\nunmarked: found" in said and "seconds per image and stage: encoder" in said


def test_robustness_runs_end_to_end_and_resumes(small, small_pipeline, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "Detector", partial(Detector, align="off"))
    extent = robustness.Extent(2, 1, ("jpeg-25", "jpeg:50", "rotation:7", "regeneration:0.2"), "fast")
    result = robustness.run(small, extent, seed=0, out=tmp_path, sampling=Sampling(2))
    rows = {row["damage"]: row for row in result["results"]}
    assert list(rows) == ["none", "jpeg:25", "jpeg:50", "rotation:7", "regeneration:0.2"]
    for row in rows.values():
        assert row["images"] == sum(row["looks"].values()) == len(row["log10_p"]) == 2
        assert row["found_1e-3"]["low"] <= row["found_1e-6"]["share"] <= row["found_1e-3"]["share"]
        assert row["worst_log10_p"] == pytest.approx(row["log10_p"][-1], abs=0.006)
    assert rows["jpeg:50"]["psnr"] > rows["jpeg:25"]["psnr"] and rows["jpeg:50"]["ssim"] > rows["jpeg:25"]["ssim"]
    assert rows["rotation:7"]["psnr"] is None and rows["none"]["psnr"] is None
    assert (result["unmarked"]["images"], result["unmarked"]["verdicts"]) == (2, 10)
    assert result["unmarked"]["found_1e-6"]["count"] == 0
    for name in ("robustness", "robustness-power", "robustness-reach"):
        assert Image.open(tmp_path / f"{name}.png").width > 300

    lines = (tmp_path / "robustness.jsonl").read_text()
    other = LatentDiffusion.from_pipeline(small_pipeline("v_prediction"), "other")
    other = replace(other, fingerprint="f" * 16)
    again = robustness.run(small, extent, another=other, seed=0, out=tmp_path, sampling=Sampling(2))
    assert again["results"][:5] == result["results"]
    assert again["results"][5]["damage"] == "regeneration:0.2 by another"
    assert (tmp_path / "robustness.jsonl").read_text().startswith(lines)
    assert len((tmp_path / "robustness.jsonl").read_text().splitlines()) == len(lines.splitlines()) + 4
    assert "unmarked: 2 images, 12 verdicts, found 0 at 1e-3" in capsys.readouterr().out
    with pytest.raises(WmarkError, match="not another model"):
        robustness.run(small, extent, another=small, seed=0, out=tmp_path)


def test_every_kind_is_measured_at_every_strength_and_on_unmarked_images(small):
    trials = robustness.planned(robustness.Extent(64, 16), small, None)
    images = {trial.label: trial.images for trial in trials}
    assert images.keys() == {
        "none",
        *(damage.name for kind in KINDS.values() for damage in sweep(kind)),
        *claims.CHAINS,
    }
    assert all(images[name] == 64 for name in claims.CLAIMED)
    assert all(images[name] == 64 for name in ("none", "jpeg:5", "jpeg:25", "brightness:3", "crop:80", "grey"))
    assert (images["jpeg:75"], images["regeneration:0.2"]) == (16, 16)
    suffered = robustness.in_turn(trials, 64)
    assert {trial.label for trials in suffered.values() for trial in trials} == images.keys()
    assert all(6 <= len(trials) <= 10 for trials in suffered.values())


def test_a_share_has_its_exact_interval():
    assert robustness.proportion(64, 64) == {
        "count": 64,
        "share": 1,
        "low": pytest.approx(0.025 ** (1 / 64)),
        "high": 1,
    }
    assert robustness.proportion(0, 20)["high"] == pytest.approx(1 - 0.025 ** (1 / 20))


def test_throughput_against_another_release(tmp_path, small_pipeline, capsys, monkeypatch):
    verify, once = throughput.verify, {}

    def verified(python, arguments, folder):
        """Told at once where the same is asked of the same release, whose start takes longest."""
        asked = (python.resolve(), *arguments)
        once[asked] = once.get(asked) or verify(python, arguments, folder)
        return once[asked]

    monkeypatch.setattr(throughput, "verify", verified)
    small_pipeline("v_prediction").save_pretrained(tmp_path / "model")
    model = wmark.load_model(tmp_path / "model", device="cpu")
    extent = throughput.Extent(images=4, repeats=1, align=("off",), threads=1)
    options = dict(seed=0, out=tmp_path / "out", sampling=Sampling(2))
    result = throughput.run(model, extent, against=[Path(sys.executable)], **options)
    names, ours, other = result["results"]
    assert [row["mark"] for row in (names, ours, other)] == ["names", "keys", "keys"]
    assert (names["release"], names["images"], names["ratio"]) == (f"{wmark.__version__}, this", 4, 1)
    assert ours["found"] == other["found"]
    assert other["ratio"] == names["images_per_second"] / other["images_per_second"]
    assert "| images/s |" in capsys.readouterr().out
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named wmark >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(WmarkError, match="cannot verify: no module named wmark"):
        verify(broken, [], str(tmp_path))


def test_seconds_by_stage_and_batch(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(seconds, "BATCHES", (1, 2))
    result = seconds.run(small, repeats=1, seed=0, out=tmp_path, sampling=Sampling(2))
    assert [r["stage"] for r in result["results"]] == [
        *("opening", "resizing", "encoder", "decoder inversion", "diffusion inversion"),
        *("whitening", "reading", "search", "test", "telling a name", "search by a pilot"),
    ]
    assert all(value > 0 for r in result["results"] for value in r["seconds"].values())
    assert json.loads((tmp_path / "seconds.json").read_text())["results"] == result["results"]
    with (tmp_path / "seconds.csv").open() as stream:
        assert next(csv.reader(stream)) == ["stage", "batch of 1", "batch of 2"]
    assert "| diffusion inversion | " in capsys.readouterr().out
