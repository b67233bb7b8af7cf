"""The training loop that every stage shares.

A stage is a set of modules and optimizers and an `update` that makes one step with them. The loop brings the cosine
schedule, the moving averages, the log, the time limit and the checkpoint: everything that the next step depends on, so
that a run that was interrupted ends with the very weights of one that was not.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import ModelError
from ..files import write_atomically
from ..progress import progress
from .precision import autocast

__all__ = ["Stage", "load_averages", "read_averages", "read_checkpoint", "write_checkpoint"]

WARM_UP = 0.02
LARGEST_GRADIENT = 1.0
LOG_EVERY, SAVE_EVERY = 50, 120.0
"""Steps between rows of the log, and seconds between checkpoints."""


class Stage:
    """One stage of training, from its last checkpoint on.

    Arguments:
        checkpoint: File that it is kept in, `NAME.pt` in the folder of the run; its log is `NAME.jsonl`.
        model: The table `model` of the configuration: `precision` (`bf16` or `fp32`), and the `seed` of the stage's
            generators, `generator` on the CPU and `noise` on the device.
        settings: Its own table of the configuration: at least `steps` and `learning_rate`.
        modules: What is trained, by name.
        averaged: Names of the modules of which a moving average is kept, with the decay `settings["average"]`.
        optimizers: Names of the modules that each optimizer trains, by the optimizer's name.
        device: Where it runs.
        start: Exported model to start from, where there is no checkpoint yet; its parts are named like the modules.
    """

    def __init__(
        self,
        checkpoint: Path,
        model: dict,
        settings: dict,
        modules: dict[str, nn.Module],
        *,
        averaged: Sequence[str],
        optimizers: dict[str, list[str]],
        device: torch.device,
        start: Path | None = None,
    ) -> None:
        self.checkpoint, self.log_file = checkpoint, checkpoint.with_suffix(".jsonl")
        self.settings, self.device, self.precision = settings, device, model["precision"]
        if start and not self.checkpoint.exists():
            load_exported(start, {key: modules[key] for key in averaged})
        self.modules = {key: module.to(device).train() for key, module in modules.items()}
        decay = get_ema_multi_avg_fn(settings["average"])
        self.averages = {key: AveragedModel(modules[key], multi_avg_fn=decay) for key in averaged}
        self.optimizers = {
            key: AdamW(
                [p for part in parts for p in modules[part].parameters()],
                lr=settings["learning_rate"],
                betas=(0.9, 0.99),
                weight_decay=0.01,
                fused=device.type == "cuda",
            )
            for key, parts in optimizers.items()
        }
        self.generator = torch.Generator().manual_seed(model["seed"])
        self.noise = torch.Generator(device).manual_seed(model["seed"] + 1)
        self.step, self.seconds, self.log = 0, 0.0, []
        self.start = start.name if start else None
        if self.checkpoint.exists():
            self._load()

    @property
    def done(self) -> float:
        """Share of the steps that have been made."""
        return self.step / self.settings["steps"]

    def autocast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def descend(self, name: str, loss: Tensor) -> None:
        """One clipped step of an optimizer down the gradient of a loss."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], LARGEST_GRADIENT)
        optimizer.step()

    def train(self, update: Callable[[], dict[str, Tensor]], minutes: float | None = None) -> bool:
        """Make steps until all are made or the time is up; at least one, if one is left.

        A stage of 0 steps writes a checkpoint of what it started from.

        Arguments:
            update: Makes one step and returns the losses, scalars by name, to be logged.
            minutes: Time limit; None is none.

        Returns:
            Whether the stage is finished.

        Raises:
            ModelError: If a loss is not finite. The last checkpoint is kept.
        """
        # On a CPU that is shared, the hours of its cores say what a run takes, and those on the wall do not.
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        steps, begin, last, counted = self.settings["steps"], time.monotonic(), time.monotonic(), clock()
        if not (steps or self.checkpoint.exists()):
            self._save()
        sums: dict[str, Tensor] = {}
        since = self.step
        with progress(steps, "step") as bar:
            bar.update(self.step)
            while self.step < steps:
                for optimizer in self.optimizers.values():
                    for group in optimizer.param_groups:
                        group["lr"] = self.settings["learning_rate"] * self._schedule()
                for name, loss in update().items():
                    sums[name] = sums.get(name, 0.0) + loss.detach().float()
                for name, average in self.averages.items():
                    average.update_parameters(self.modules[name])
                self.step += 1
                bar.update(1)
                now = time.monotonic()
                stop = self.step == steps or (minutes is not None and now - begin > 60 * minutes)
                if stop or self.step % LOG_EVERY == 0:
                    self._record(sums, self.step - since)
                    sums, since = {}, self.step
                if stop or now - last > SAVE_EVERY:
                    self.seconds, last, counted = self.seconds + clock() - counted, now, clock()
                    self._save()
                if stop:
                    break
        return self.step == steps

    def _schedule(self) -> float:
        """Share of the peak learning rate: linear warm-up, then half a cosine down to a hundredth."""
        warm = max(1, round(WARM_UP * self.settings["steps"]))
        return min((self.step + 1) / warm, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.done)))

    def _record(self, sums: dict[str, Tensor], count: int) -> None:
        row = {name: round(float(total) / count, 6) for name, total in sums.items()}
        if not all(math.isfinite(value) for value in row.values()):
            raise ModelError(
                f"{self.checkpoint.stem} diverged before step {self.step}: go on with a smaller learning rate"
            )
        self.log.append({"step": self.step, **row})

    def _save(self) -> None:
        state = {
            "start": self.start,
            "step": self.step,
            "seconds": self.seconds,
            "batch": self.settings["batch"],
            "hardware": torch.cuda.get_device_name() if self.device.type == "cuda" else "one core",
            "log": self.log,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "averages": {name: average.state_dict() for name, average in self.averages.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generators": [self.generator.get_state(), self.noise.get_state()],
        }
        write_checkpoint(self.checkpoint, state)
        write_atomically(self.log_file, "".join(json.dumps(row) + "\n" for row in self.log).encode())

    def _load(self) -> None:
        state = read_checkpoint(self.checkpoint, self.device)
        try:
            for kind in ("modules", "averages", "optimizers"):
                for name, part in getattr(self, kind).items():
                    part.load_state_dict(state[kind][name])
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError(f"{self.checkpoint} is of another configuration: choose another --run") from error
        self.start, self.step, self.seconds, self.log = (state[name] for name in ("start", "step", "seconds", "log"))
        for generator, value in zip((self.generator, self.noise), state["generators"], strict=True):
            generator.set_state(value.cpu())


def write_checkpoint(path: Path, content: object) -> None:
    """Write tensors and plain values, whole or not at all, for :func:`read_checkpoint`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Any:
    """What :func:`write_checkpoint` was given.

    Raises:
        ModelError: If it is missing or damaged.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: run the stage `{path.stem}` first") from None
    except Exception as error:  # torch raises what zipfile, pickle or the system raise.
        raise ModelError(f"the checkpoint {path} cannot be read: delete it to train anew") from error


def load_exported(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Put the weights of an exported model into modules, by the names of its parts.

    Raises:
        ModelError: If a part is missing, damaged, or of another configuration.
    """
    for name, module in modules.items():
        try:
            (file,) = (folder / name).glob("*.safetensors")
            module.load_state_dict(load_file(file))
        except Exception as error:  # Missing or several files, or whatever safetensors and torch raise.
            raise ModelError(f"{folder / name} has no weights of this configuration to start from") from error


def read_averages(path: Path) -> dict[str, dict[str, Tensor]]:
    """States of the averaged modules of a stage's checkpoint, by name.

    Raises:
        ModelError: If the checkpoint is missing or damaged.
    """
    averages = read_checkpoint(path)["averages"]
    return {
        name: {key.removeprefix("module."): value for key, value in state.items() if key != "n_averaged"}
        for name, state in averages.items()
    }


def load_averages(path: Path, modules: dict[str, nn.Module]) -> None:
    """Put the averaged weights of a stage's checkpoint into modules, by name.

    Raises:
        ModelError: If the checkpoint is missing, damaged, or of other modules.
    """
    averages = read_averages(path)
    try:
        for name, module in modules.items():
            module.load_state_dict(averages[name])
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{path} is of another configuration than this one") from error
