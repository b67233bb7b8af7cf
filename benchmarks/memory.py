"""Peak memory of a call, beyond what was held before it."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["counted_memory", "peak_memory"]


def peak_memory(call: Callable[[], object], device: torch.device) -> int:
    """Bytes that torch held at most during a call, beyond those held before: the GPU's allocator's count, or ours."""
    if device.type != "cuda":
        return counted_memory(call)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def counted_memory(call: Callable[[], object]) -> int:
    """Bytes of tensors that were alive at once during a call, at most, beyond those created before it.

    Every storage is counted from the operation that makes it until its last tensor is gone, those that autograd keeps
    included; workspaces inside a kernel are not. Unlike the process size it does not depend on what the C library
    keeps for later. Under a `FakeTensorMode` nothing is computed and nothing allocated, so that a call may be counted
    whose memory no machine at hand has.
    """
    storages = _Storages()
    with storages:
        call()
    return storages.peak


class _Storages(TorchDispatchMode):
    """Adds up the storages that operations make, and takes off those that die."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in self.alive | given:
                self._enter(storage, storage.nbytes())
        return result

    def _enter(self, storage: torch.UntypedStorage, size: int) -> None:
        self.alive.add(storage._cdata)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._leave, storage._cdata, size)

    def _leave(self, name: int, size: int) -> None:
        self.alive.discard(name)
        self.held -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
