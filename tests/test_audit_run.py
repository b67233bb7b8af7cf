from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import audit_fakes as fakes
import pyarrow as pa
import pytest

from wmark.audit.changes import changes, redivide
from wmark.audit.engines import in_processes, local
from wmark.audit.run import Counts, Run, carry_on
from wmark.audit.shards import divide
from wmark.audit.sources import find
from wmark.audit.specification import Machine, check_same
from wmark.audit.summary import summarise
from wmark.audit.worker import AHEAD, Hire, Task, ahead, batches
from wmark.errors import AuditError, KeyringError

SECONDS = ("read_seconds", "decode_seconds", "seconds")


def begin(folder: Path, *sources: Path, size: int = 5, **changed) -> Run:
    settings = fakes.settings(**changed)
    arguments = tuple(map(str, sources))
    return Run(folder, settings, fakes.SPECIFICATION, arguments, size).begin([*divide(find(arguments), size)])


def finish(run: Run, engine=local, workers: int = 1, **options) -> list:
    return [*carry_on(run, fakes.Hire(run.settings), engine, workers, **options)]


def rows(run: Run) -> list[dict]:
    table = pa.concat_tables([run.rows(shard) for shard in run.shards]).drop_columns([*SECONDS])
    return table.to_pylist()


@pytest.fixture(scope="module")
def lot(tmp_path_factory) -> Path:
    return fakes.lot(tmp_path_factory.mktemp("lot"), 40)


@pytest.fixture(scope="module")
def expected(lot, tmp_path_factory) -> list[dict]:
    run = begin(tmp_path_factory.mktemp("run"), lot)
    finish(run)
    return rows(run)


def test_every_image_is_a_row(lot: Path, expected: list[dict]):
    files = sorted(path for path in lot.rglob("*.png"))
    assert sorted(Path(row["source"]) for row in expected) == files
    assert [row["row"] for row in expected] == list(range(len(files)))
    by_name = {Path(row["source"]).name: row for row in expected}
    good, bad = by_name["0003.png"], by_name["0007.png"]
    assert (good["found"], good["log10_p"], good["log10_p_raw"], good["key_id"]) == (True, -25.5, -26.5, "studio")
    assert (good["format"], good["width"], good["error"], len(good["fingerprint"])) == ("PNG", 64, None, 32)
    assert (bad["found"], bad["log10_p"], bad["bytes"]) == (None, None, 60)
    assert bad["error_class"] == "DamagedImage" and "is damaged or incomplete" in bad["error"]
    assert by_name["green.png"]["error"] == f"image '{lot}/green.png': green pictures are not looked at"
    blue = by_name["blue.png"]
    assert blue["error_class"] == "RuntimeError" and "(RuntimeError: blue): report it" in blue["error"]
    assert blue["sha256"] and blue["width"] == 64


def test_manifests_are_read_beside_the_marks(trial_certificate, tmp_path: Path):
    from wmark.provenance import Signer

    signer = Signer(*trial_certificate[:2], domain="example.com")
    record = {"created": "2026-03-04T05:06:07+00:00", "model": {"name": "tiny", "fingerprint": "0"}}
    wanted = {
        "agrees": ((255, 0, 0), "studio"), "differs": ((255, 0, 0), "another"), "valid": ((9, 0, 0), "studio"),
        "none": ((255, 0, 0), None),
    }  # fmt: skip
    for state, (colour, key_id) in wanted.items():
        path = fakes.picture(tmp_path / "lot" / f"{state}.png", colour)
        if key_id:
            named = {**record, "keyring": "0123456789abcdef", "key_id": key_id}
            path.write_bytes(signer.sign(path.read_bytes(), ".png", named).data)
    run = begin(tmp_path / "run", tmp_path / "lot")
    finish(run)
    assert {Path(row["source"]).stem: row["manifest"] for row in rows(run)} == {state: state for state in wanted}


def test_run_that_was_killed_anywhere_goes_on(lot: Path, expected: list[dict], tmp_path: Path):
    """Every row once, none lost, none changed, and what was done is not done again."""
    chance = random.Random(0)
    run = begin(tmp_path / "run", lot)
    done = 0
    for _ in range(30):
        steps = carry_on(run, fakes.Hire(run.settings), local, 1)
        for _ in range(chance.randrange(3)):
            done += next(steps, None) is not None
        steps.close()
        (tmp_path / "run" / "shards").mkdir(exist_ok=True)
        (tmp_path / "run" / "shards" / ".0123456789abcdef.tmp").write_bytes(b"PAR1")
    assert done == len(run.shards)
    assert rows(run) == expected
    assert finish(run) == []


@pytest.mark.parametrize("fault", ["missing", "torn", "specification", "rows"])
def test_shard_that_is_not_whole_is_done_again(lot: Path, expected: list[dict], tmp_path: Path, fault: str):
    run = begin(tmp_path / "run", lot)
    finish(run)
    path = run.path(run.shards[2])
    if fault == "missing":
        path.unlink()
    elif fault == "torn":
        path.write_bytes(path.read_bytes()[:-30])
    elif fault == "specification":
        other = begin(tmp_path / "other", lot)
        other = replace(other, specification={"model": "another"})
        assert other.done(run.shards[2]) is None
        table = run.rows(run.shards[2])
        about = json.loads(table.schema.metadata[b"wmark"])
        with pytest.raises(AuditError, match="rows of two are not mixed"):
            about["specification"] = "0" * 64
            run.write(Task(run.shards[2]), table.replace_schema_metadata({"wmark": json.dumps(about)}))
        path.write_bytes(run.path(run.shards[1]).read_bytes())
    else:
        path.write_bytes(run.path(run.shards[3]).read_bytes())
    assert [step.shard.number for step in finish(run)] == [2]
    assert rows(run) == expected


def test_processes_say_the_same(lot: Path, expected: list[dict], tmp_path: Path):
    run = begin(tmp_path / "run", lot)
    steps = finish(run, in_processes, 2)
    assert sum((step.change for step in steps), Counts()).images == len(expected)
    assert rows(run) == expected


def test_failed_ones_are_tried_again(tmp_path: Path):
    source = fakes.lot(tmp_path / "lot", 20)
    run = begin(tmp_path / "run", source)
    finish(run)
    before = {row["source"]: row for row in rows(run)}
    for name in ("1/0007.png", "0/0018.png"):
        fakes.picture(source / name, (255, 0, 0))
    assert finish(run) == []
    steps = finish(run, retry_failed=True)
    assert sum(step.change.found for step in steps) == 2 == -sum(step.change.failed for step in steps)
    after = {row["source"]: row for row in rows(run)}
    differing = {Path(source).name for source in before if before[source] != after[source]}
    assert differing == {"0007.png", "0018.png"} and [*before] == [*after]


def test_changed_sources_are_noticed_and_alone_done_again(tmp_path: Path):
    source = fakes.lot(tmp_path / "lot", 30)
    run = begin(tmp_path / "run", source)
    finish(run)
    assert not changes(run.shards, find(run.arguments))
    fakes.picture(source / "0" / "0003.png", (1, 2, 3), (80, 80))
    fakes.picture(source / "9" / "new.png", (255, 0, 0))
    (source / "green.png").unlink()
    differing = changes(run.shards, find(run.arguments))
    assert [Path(*names).name for names in (differing.added, differing.changed, differing.removed)] == [
        "new.png", "0003.png", "green.png",
    ]  # fmt: skip
    assert str(differing).endswith("green.png' is gone")
    run.list(redivide(run.shards, find(run.arguments), differing, run.shard_size))
    assert not changes(run.shards, find(run.arguments))
    assert sum(step.counts.images for step in finish(run)) <= 12
    found = rows(run)
    assert {Path(row["source"]) for row in found} == {*source.rglob("*.png")}
    assert len({row["row"] for row in found}) == len(found)


def test_batches_depend_on_the_shard_alone_and_few_are_ahead(lot: Path):
    (shard,) = divide(find([str(lot)]), 1000)
    seen = []
    for _ in range(2):
        worker = fakes.Hire(fakes.settings())()
        worker(Task(shard))
        seen.append(worker.detector.batches)
    assert seen[0] == seen[1]
    assert max(map(len, seen[0])) == 4 and sum(len(batch) == 4 for batch in seen[0]) >= 6


def test_what_is_decoded_and_not_looked_at_is_bounded():
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from types import SimpleNamespace

    import numpy as np

    alive, most, lock = 0, 0, threading.Lock()

    def prepare(number):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return SimpleNamespace(pixels=np.zeros((1, number % 50)))

    with ThreadPoolExecutor(2) as pool:
        for batch in batches(ahead(pool, prepare, ((i,) for i in range(500)), AHEAD * 4), 4):
            alive -= len(batch)
    assert alive == 0 and most <= 2 * AHEAD * 4


def test_stop_finishes_what_is_in_hand(lot: Path, expected: list[dict], tmp_path: Path):
    run = begin(tmp_path / "run", lot)
    steps = []
    for step in carry_on(run, fakes.Hire(run.settings), local, 1, stopped=lambda: len(steps) >= 2):
        steps.append(step)
    assert len(steps) == 2
    finish(run)
    assert rows(run) == expected


def test_worker_of_another_specification_refuses():
    with pytest.raises(AuditError, match="this worker has another model: rows of two specifications are not mixed"):
        check_same({"model": "a", "fpr": 1e-6}, {"model": "b", "fpr": 1e-6}, "this worker")


def test_worker_that_cannot_work_is_heard(lot: Path, tmp_path: Path):
    run = begin(tmp_path / "run", lot, keyring=str(tmp_path / "none.json"))
    with pytest.raises(KeyringError, match="none"):
        next(carry_on(run, Hire(run.settings, Machine()), local, 1))


def test_summary_adds_up(lot: Path, tmp_path: Path):
    run = begin(tmp_path / "run", lot)
    finish(run)
    summary = summarise(run)
    found = rows(run)
    looked_at = [row for row in found if row["error"] is None]
    assert summary["totals"] == {
        "images": len(found),
        "looked_at": len(looked_at),
        "found": sum(row["found"] for row in looked_at),
        "failed": len(found) - len(looked_at),
        "unforeseen": 1,
    }
    (name,) = summary["keys"]
    assert name["key_id"] == "studio" and name["low"] < name["share"] < name["high"]
    assert summary["errors"] == {"DamagedImage": 3, "UnfitImage": 1, "RuntimeError": 1}
    assert summary["decoys"] is None
    assert json.loads((run.folder / "summary.json").read_text()) == json.loads(json.dumps(summary))
    import pyarrow.parquet as pq

    corrections = pq.read_table(run.folder / "corrections.parquet").to_pydict()
    assert corrections["row"] == [row["row"] for row in looked_at]
    assert all(q <= f + 1e-9 for q, f in zip(corrections["log10_q"], corrections["log10_p_family"], strict=True))
