"""Ray Data as an engine: read, map, write, with a pool of actors that hold a model each.

    shards --from_items--> map_batches(one actor, one shard) --iter_batches--> rows, in whatever order

The unit of resume is ours: the caller writes a shard's rows whole, and what has no file is a task of the next run.
Ray's own checkpoints of a pipeline would write rows first and remember that they did so second, and a crash in between
doubles them.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import AuditError, WmarkError
from .worker import Hire, Task

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["on_ray"]

TOGETHER = 10_000
"""Tasks that are handed to Ray at a time: what it holds of them does not grow with the run."""


class Actor:
    """A worker inside an actor; tasks and rows travel as bytes, and Ray looks into neither."""

    def __init__(self, hire: Hire) -> None:
        self.hire, self.worker = hire, None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        numbers, rows, errors = [], [], []
        for number, task in zip(batch["number"], batch["task"], strict=True):
            table, error = b"", ""
            try:
                self.worker = self.worker or self.hire()
                table = packed(self.worker(pickle.loads(task)))
            except WmarkError as problem:
                error = str(problem)
            numbers.append(int(number))
            rows.append(table)
            errors.append(error)
        return {"number": numbers, "rows": rows, "error": errors}


def on_ray(hire: Hire, tasks: Iterable[Task], workers: int) -> Iterator[tuple[Task, pa.Table]]:
    """Tasks through so many actors, each on as many CPUs as it has threads, or on a GPU.

    Raises:
        AuditError: If Ray is not installed, or a worker cannot work.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise AuditError("the engine ray needs Ray: pip install 'wmark[ray]'") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    quiet(ray)
    tasks = iter(tasks)
    while part := dict(enumerate(take(tasks, TOGETHER))):
        items = [{"number": number, "task": pickle.dumps(task)} for number, task in part.items()]
        rows = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Actor,
            fn_constructor_args=(hire,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            **resources(hire),
        )
        for batch in rows.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                if row["error"]:
                    raise AuditError(row["error"])
                yield part[row["number"]], unpacked(row["rows"])


def take(tasks: Iterator[Task], count: int) -> Iterator[Task]:
    for _, task in zip(range(count), tasks, strict=False):
        yield task


def resources(hire: Hire) -> dict[str, float]:
    """What an actor asks of the cluster."""
    device = hire.machine.device
    return {"num_gpus": 1} if device and device.startswith("cuda") else {"num_cpus": hire.settings.threads}


def quiet(ray) -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def packed(table: pa.Table) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpacked(data: bytes) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_stream(data).read_all()
