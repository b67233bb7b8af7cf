"""Fitting a network for some minutes: the loop that tunings share.

AdamW down a loss, the rate warmed up over 50 steps and decayed by half a cosine over the whole time, and a moving
average of the weights, which is what is evaluated and kept. Each evaluation adds a point to a curve and writes a
checkpoint; a run with the same checkpoint goes on where the last one stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from .loop import read_checkpoint, write_checkpoint

__all__ = ["EVALUATE_EVERY", "Progressed", "TimedFit"]

EVALUATE_EVERY = 120.0
"""Seconds of fitting between two evaluations."""

WARM_UP, DECAY = 50, 0.995

Network = TypeVar("Network", bound=nn.Module)
Progressed = Callable[[float, list[dict]], None]
"""Called after each step with the share of the time that has passed and the curve so far."""


class TimedFit(Generic[Network]):
    """A fit under way, from its last checkpoint on.

    Arguments:
        make: Makes the network, with the weights it starts from.
        peak: Largest learning rate.
        seed: Seed of what is drawn.
        checkpoint: File that it is kept in.

    Attributes:
        network, average: What is fitted, and the moving average of its weights.
        curve: One entry an evaluation: `minutes`, `steps` and what the evaluation says.
        spent, evaluated_at: Seconds of fitting so far, and up to the last evaluation.
        steps: Steps so far.
        generator: What the loss draws from.
    """

    def __init__(self, make: Callable[[], Network], *, peak: float, seed: int, checkpoint: Path) -> None:
        self.checkpoint, self.peak = checkpoint, peak
        self.network, self.average = make(), make()
        self.average.load_state_dict(self.network.state_dict())
        self.parameters = list(self.network.requires_grad_(True).parameters())
        self.averages = list(self.average.requires_grad_(False).parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=peak, betas=(0.9, 0.99), weight_decay=0.0)
        self.generator = torch.Generator().manual_seed(seed)
        self.curve, self.spent, self.steps, self.evaluated_at = [], 0.0, 0, -math.inf
        if checkpoint.exists():
            self._load()

    def run(
        self,
        loss: Callable[[Network, torch.Generator], Tensor],
        evaluate: Callable[[Network], dict[str, float]],
        minutes: float,
        callback: Progressed | None = None,
    ) -> None:
        """Fit until the time is up, that of earlier runs counted in, evaluations not.

        Arguments:
            loss: Of the network, on what it draws from a generator; a scalar.
            evaluate: What the curve is to say of a network.
            minutes: Time to fit for.
            callback: Called after each step.
        """
        if not self.curve:
            self._evaluate(evaluate)
        begin = time.perf_counter()
        while (share := self.spent / (60 * minutes)) < 1:
            self._step(loss(self.network, self.generator), share)
            now = time.perf_counter()
            self.spent, begin = self.spent + now - begin, now
            if self.spent - self.evaluated_at >= EVALUATE_EVERY or self.spent >= 60 * minutes:
                self._evaluate(evaluate)
                begin = time.perf_counter()
            if callback:
                callback(self.spent / (60 * minutes), self.curve)

    def _step(self, loss: Tensor, share: float) -> None:
        rate = min(1, (self.steps + 1) / WARM_UP) * (0.505 + 0.495 * math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.parameters, 1 - min(DECAY, self.steps / (self.steps + 10)))

    @torch.no_grad()
    def _evaluate(self, evaluate: Callable[[Network], dict[str, float]]) -> None:
        self.curve.append({"minutes": self.spent / 60, "steps": self.steps, **evaluate(self.average)})
        self.evaluated_at = self.spent
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        state = {"generator": self.generator.get_state(), "curve": self.curve, "spent": self.spent, "step": self.steps}
        write_checkpoint(self.checkpoint, {**parts, **state, "evaluated_at": self.evaluated_at})

    def _load(self) -> None:
        saved = read_checkpoint(self.checkpoint, self.parameters[0].device)
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        self.generator.set_state(saved["generator"].cpu())
        self.curve, self.spent, self.steps = saved["curve"], saved["spent"], saved["step"]
        self.evaluated_at = saved["evaluated_at"]
