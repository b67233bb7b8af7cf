from __future__ import annotations

import signal
import subprocess
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


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import audit_fakes as fakes, ray
from wmark.audit.engines import ENGINES
from wmark.audit.run import Run, carry_on
ray.cloudpickle.register_pickle_by_value(fakes)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
run = Run.load(Path(sys.argv[2]))
for number, step in enumerate(carry_on(run, fakes.Hire(run.settings), ENGINES["ray"], 2)):
    print(step.shard.number, flush=True)
    if number:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_cluster_that_is_killed_and_resumed_says_the_same(tmp_path: Path):
    """Two workers, all killed with shards in hand, two others, and the rows of a run in this process."""
    arguments = (str(fakes.lot(tmp_path / "lot", 40)),)
    runs = {}
    for engine in ENGINES:
        run = Run(tmp_path / engine, fakes.settings(), fakes.SPECIFICATION, arguments, 5)
        runs[engine] = run.begin([*divide(find(arguments), 5)])
    [*carry_on(runs["local"], fakes.Hire(fakes.settings()), ENGINES["local"], 1)]
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "ray")]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    first = {int(line) for line in killed.stdout.split()}
    ray.cloudpickle.register_pickle_by_value(fakes)
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        steps = [*carry_on(runs["ray"], fakes.Hire(fakes.settings()), ENGINES["ray"], 2)]
    finally:
        ray.shutdown()
    rest = {step.shard.number for step in steps}
    assert first | rest == {shard.number for shard in runs["ray"].shards} and len(first) == 2 and not first & rest
    assert rows(runs["ray"]) == rows(runs["local"])
