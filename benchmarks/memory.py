"""Peak memory of a call, beyond what was held before it."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

__all__ = ["peak_memory"]


def peak_memory(call: Callable[[], object], device: torch.device) -> int:
    """Bytes that torch held at most during a call, beyond those held before.

    On a GPU the allocator counts them. On the CPU they are added up from the profiler's allocation events, which,
    unlike the process size, do not depend on what the C library keeps for later.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # The profiler's library reports each start and stop otherwise.
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    held = peak = 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
