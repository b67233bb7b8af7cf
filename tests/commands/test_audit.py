from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import audit_fakes as fakes
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wmark.audit.schema import COLUMNS


def rows(run: Path) -> list[dict]:
    return [row for path in sorted((run / "shards").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def faked(monkeypatch):
    """No model: red pictures carry the key. Returns the list of detectors that were built."""
    built = []

    def build(settings, machine):
        built.append(fakes.Detector())
        return built[-1]

    def specification(detector, settings):
        return {**fakes.SPECIFICATION, "fpr": settings.fpr, "keys": list(settings.key_ids)}

    for place in ("wmark.audit.beginning", "wmark.audit.worker"):
        monkeypatch.setattr(f"{place}.build", build)
        monkeypatch.setattr(f"{place}.specification", specification)
    return built


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    return fakes.lot(tmp_path / "lot", 50)


def test_folder_is_audited_and_gone_on_with(run, faked, lot: Path):
    result = run("audit", lot, "-o", "out", "--json")
    assert result.exit_code == 70  # The blue picture breaks the detector.
    summary = json.loads(result.stdout)
    assert summary["totals"] == {"images": 52, "looked_at": 46, "found": 16, "failed": 6, "unforeseen": 1}
    assert result.stderr.splitlines()[0].startswith("shard 0: 16 images, ")
    assert "; in all 52 of 52, 16 found, 6 failed, " in result.stderr.splitlines()[-1]
    found = rows(Path("out"))
    assert [row["row"] for row in found] == list(range(52)) and [*found[0]] == [column.name for column in COLUMNS]
    assert all((path.stat().st_mode & 0o77) == 0 for path in Path("out").rglob("*.*"))
    looks = sum(len(detector.batches) for detector in faked)
    for again in (("audit", lot, "-o", "out"), ("audit", "--resume", "out")):
        result = run(*again)
        assert result.exit_code == 70 and result.stdout.startswith("52 images: 16 found, 30 not found, 6 could not be")
        assert not result.stderr and rows(Path("out")) == found
    assert sum(len(detector.batches) for detector in faked) == looks


@pytest.fixture
def interruptible():
    """Whoever runs the tests in the background has interrupts ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def test_interrupt_finishes_the_shard_in_hand(run, faked, lot: Path, monkeypatch, interruptible):
    judge = fakes.Detector.judge

    def interrupted(self, images):
        if len(self.batches) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return judge(self, images)

    monkeypatch.setattr(fakes.Detector, "judge", interrupted)
    result = run("audit", lot, "-o", "out")
    assert result.exit_code == 130
    assert "interrupted with 1 of 4 shards done, 3 left: go on with `wmark audit --resume out`" in result.stderr
    assert len(rows(Path("out"))) == 16
    monkeypatch.setattr(fakes.Detector, "judge", judge)
    assert run("audit", "--resume", "out").exit_code == 70
    assert [row["row"] for row in rows(Path("out"))] == list(range(52))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_else_is_mixed_in(run, sentence, faked, lot: Path):
    run("audit", lot, "-o", "out")
    line = sentence(run("audit", lot, "-o", "out", "--fpr", "1e-3"))
    assert "'out' has another fpr: rows of two specifications are not mixed, so start a new run" in line
    assert "another keys" in sentence(run("audit", lot, "-o", "out", "--key", "two"))
    assert "is of other sources" in sentence(run("audit", lot / "green.png", "-o", "out"))
    assert "is there and holds no run" in sentence(run("audit", lot, "-o", lot))
    assert "holds no run" in sentence(run("audit", "--resume", "none")) and not Path("none").exists()
    assert "say either -o FOLDER" in sentence(run("audit", lot))
    assert "name what to look at" in sentence(run("audit", "-o", "out"))
    assert "name none" in sentence(run("audit", lot, "--resume", "out"))
    assert "as it was begun: leave out --key" in sentence(run("audit", "--resume", "out", "--key", "two"))
    assert "--list -" in sentence(run("audit", "-", "-o", "new"))


def test_keyring_may_have_moved(run, faked, lot: Path, keyring: Path):
    run("audit", lot, "-o", "out")
    next(Path("out", "shards").iterdir()).unlink()
    moved = Path("moved.json")
    moved.write_bytes(keyring.read_bytes())
    moved.chmod(0o600)
    assert run("audit", lot, "-o", "out", "--keyring", moved).exit_code == 70
    assert len(rows(Path("out"))) == 52


def test_sources_that_changed(run, sentence, faked, lot: Path):
    run("audit", lot, "-o", "out")
    (lot / "blue.png").unlink()
    fakes.picture(lot / "0" / "0000.png", (255, 0, 0), (70, 70))
    line = sentence(run("audit", lot, "-o", "out"))
    assert "0000.png' is changed" in line and "blue.png' is gone: say --changed redo" in line
    assert run("audit", "--resume", "out", "--changed", "ignore").exit_code == 70
    result = run("audit", "--resume", "out", "--changed", "redo")
    assert result.exit_code == 2 and result.stdout.startswith("51 images: 16 found")
    assert {row["width"] for row in rows(Path("out"))} == {64, 128, 70, None}
    assert run("audit", lot, "-o", "out").stdout == result.stdout


def test_failures_beyond_a_share_end_it(run, sentence, faked, lot: Path):
    result = run("audit", lot, "-o", "out", "--max-failures", "0.05")
    assert result.exit_code == 2
    assert "3 of 52 images could not be looked at, more than the share of 0.05" in result.stderr.splitlines()[-1]
    assert len(rows(Path("out"))) < 52
    assert run("audit", "--resume", "out", "--max-failures", "0.5").exit_code == 70
    fakes.picture(lot / "blue.png", (9, 9, 9))
    again = run("audit", "--resume", "out", "--retry-failed", "--changed", "ignore")
    assert again.exit_code == 2
    assert again.stdout.startswith("52 images: 16 found, 31 not found, 5 could not be looked at")


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_list_on_standard_input(run, faked, lot: Path, end: bytes):
    paths = sorted(lot.glob("0/*.png"))
    result = run("audit", "--list", "-", "-o", "out", input=end.join(os.fsencode(path) for path in paths) + end)
    assert result.exit_code == 2, result.output
    assert [row["source"] for row in rows(Path("out"))] == [str(path) for path in paths]
    assert run("audit", "--resume", "out").exit_code == 2


def test_missing_backend_and_missing_ray_are_one_sentence(run, sentence, faked, lot: Path, monkeypatch):
    result = run("audit", "nothing://bucket", "-o", "out")
    assert result.exit_code == 2 and "'nothing://bucket' cannot be reached" in rows(Path("out"))[0]["error"]
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("audit", lot, "-o", "other", "--engine", "ray")
    assert "the engine ray needs Ray: pip install 'wmark[ray]'" in result.stderr


def test_verdicts_are_those_of_verify(run, marked: Image.Image, unmarked: Image.Image, tmp_path: Path):
    marked.save(tmp_path / "marked.png")
    unmarked.save(tmp_path / "unmarked.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "marked.png").read_bytes()[:5000])
    pictures = [tmp_path / name for name in ("marked.png", "unmarked.png", "broken.png")]
    options = ("--effort", "fast", "--align", "off", "--batch-size", "2")
    said = [
        json.loads(line) for line in run("verify", "--json", "--debug-scores", *options, *pictures).stdout.splitlines()
    ]
    assert run("audit", *options, *pictures, "-o", "out", "--decoys", "7").exit_code == 2
    for row, verdict in zip(rows(Path("out")), said, strict=True):
        assert row["error"] == verdict.get("error")
        if row["error"] is None:
            assert row["log10_p"] == pytest.approx(verdict["log10_p"], abs=1e-3)
            assert (row["found"], row["key_id"]) == (verdict["found"], verdict["closest_key_id"])
            assert row["log10_p_raw"] is None or row["log10_p_raw"] < row["log10_p"]
            assert len(row["decoy_log10_p"]) == 7 and -4 < min(row["decoy_log10_p"]) <= max(row["decoy_log10_p"]) <= 0
            assert row["keyring"] == verdict["basis"]["keyring"]
            if row["found"]:
                assert json.loads(row["placement"]) == verdict["alignment"]
                cells = [r for band in json.loads(row["spectrum"])["cells"] for r in band]
                assert sum(cells) / len(cells) == pytest.approx(row["cosine"], abs=0.03)
            else:
                assert row["placement"] is row["parts"] is row["spectrum"] is None
