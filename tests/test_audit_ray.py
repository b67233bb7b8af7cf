from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import audit_fakes as fakes

from wmark.audit.engines import ENGINES
from wmark.audit.run import Run, carry_on
from wmark.audit.shards import divide
from wmark.audit.sources import find

ray = pytest.importorskip("ray", reason="the engine ray needs wmark[ray]")

SECONDS = ("read_seconds", "decode_seconds", "seconds")


def rows(run: Run) -> list[dict]:
    return pa.concat_tables([run.rows(shard) for shard in run.shards]).drop_columns([*SECONDS]).to_pylist()


def test_cluster_that_is_killed_and_resumed_says_the_same(tmp_path: Path, monkeypatch):
    """Two workers, the cluster killed with shards in hand, another one, and the rows of a run in this process."""
    for name in ("raylet_start_wait_time_s", "gcs_server_request_timeout_seconds"):
        monkeypatch.setenv(f"RAY_{name}", "300")
    ray.cloudpickle.register_pickle_by_value(fakes)
    arguments = (str(fakes.lot(tmp_path / "lot", 40)),)
    runs = {}
    for engine in ENGINES:
        run = Run(tmp_path / engine, fakes.settings(), fakes.SPECIFICATION, arguments, 5)
        runs[engine] = run.begin([*divide(find(arguments), 5)])
    [*carry_on(runs["local"], fakes.Hire(fakes.settings()), ENGINES["local"], 1)]
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        steps = carry_on(runs["ray"], fakes.Hire(fakes.settings()), ENGINES["ray"], 2)
        first = {next(steps).shard.number for _ in range(2)}
        ray.shutdown()
        steps.close()
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        rest = {step.shard.number for step in carry_on(runs["ray"], fakes.Hire(fakes.settings()), ENGINES["ray"], 2)}
    finally:
        ray.shutdown()
    assert first | rest == {shard.number for shard in runs["ray"].shards} and not first & rest
    assert rows(runs["ray"]) == rows(runs["local"])
