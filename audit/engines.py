"""Engines: tasks through workers, in whatever order they are done. Each is a generator with one signature.

    engine(hire, tasks, workers) -> (task, its rows), (task, its rows), ...

Tasks are drawn when a worker is free, so whoever ends the iterator of tasks gets the shards in hand and no more. Rows
come back to the caller, who alone writes: machines of a cluster need to reach the sources, not the folder of the run.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import active_children, get_context
from typing import TYPE_CHECKING

from ..errors import AuditError
from .worker import Hire, Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENGINES", "Engine", "in_processes", "in_this_process", "local"]

Engine = Callable[[Hire, Iterable[Task], int], Iterator[tuple[Task, "pa.Table"]]]

employed: list[Callable] = []
"""How to come by the worker of this process, where it is one of several; and the worker, once it was needed."""


def local(hire: Hire, tasks: Iterable[Task], workers: int) -> Iterator[tuple[Task, pa.Table]]:
    """On this machine: in this process, or in so many."""
    return in_this_process(hire, tasks) if workers == 1 else in_processes(hire, tasks, workers)


def in_this_process(hire: Hire, tasks: Iterable[Task]) -> Iterator[tuple[Task, pa.Table]]:
    """One worker, here."""
    worker = None
    for task in tasks:
        worker = worker or hire()
        yield task, worker(task)


def in_processes(hire: Hire, tasks: Iterable[Task], workers: int) -> Iterator[tuple[Task, pa.Table]]:
    """Several workers, a process and a model each.

    Raises:
        AuditError: If a process dies.
    """
    tasks, others = iter(tasks), active_children()
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=employ, initargs=(hire,))
    begun: dict[Future, Task] = {}
    try:
        while True:
            begun |= {pool.submit(work, task): task for task in islice(tasks, workers + 1 - len(begun))}
            if not begun:
                return
            for future in wait(begun, return_when=FIRST_COMPLETED).done:
                yield begun.pop(future), future.result()
    except BrokenProcessPool as error:
        raise AuditError(
            "a worker's process died, perhaps for want of memory: go on with fewer --workers, or a smaller --batch-size"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in {*active_children()} - {*others} if begun else ():  # Nobody waits for what they are at.
            child.kill()


def employ(hire: Hire) -> None:
    """Make this process a worker's. An interrupt is for whoever gives it work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    employed[:] = [hire]


def work(task: Task) -> pa.Table:
    """What the worker of this process says of a task; it is hired with the first, so that what it lacks is heard."""
    if len(employed) == 1:
        employed.append(employed[0]())
    return employed[1](task)


def on_ray(hire: Hire, tasks: Iterable[Task], workers: int) -> Iterator[tuple[Task, pa.Table]]:
    """On the Ray cluster that there is, or on this machine as one."""
    from .ray_engine import on_ray

    return on_ray(hire, tasks, workers)


ENGINES: dict[str, Engine] = {"local": local, "ray": on_ray}
"""Engines by their names."""
