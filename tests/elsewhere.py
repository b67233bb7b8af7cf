"""A device that computes as the CPU does and is another one to torch, so that tensors which would not meet on a GPU do
not meet here either, and what no GPU computes is refused. Gradients are not to be had on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "privateuseone"

aten = torch.ops.aten
MOVING = (aten._to_copy.default, aten.copy_.default)
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
PRODUCTS = tuple(getattr(aten, name).default for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "dot"))


class Elsewhere(Tensor):
    """A tensor there, and its values here."""

    @staticmethod
    def __new__(cls, values: Tensor) -> Elsewhere:
        layout = dict(strides=values.stride(), storage_offset=values.storage_offset(), dtype=values.dtype)
        return Tensor._make_wrapper_subclass(cls, values.shape, **layout, device=torch.device(NAME, 0))

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __repr__(self, **_) -> str:
        return f"Elsewhere({self.values})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


def computed(func, args: tuple, kwargs: dict):
    """What an operation makes of tensors on one device; on a GPU, too, numbers and indices may come from the CPU."""
    leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    there = [x for x in leaves if isinstance(x, Elsewhere)]
    strangers = [x for x in leaves if not isinstance(x, Elsewhere) and x.dim()]
    indexed = func in INDEXING and isinstance(args[0], Elsewhere)
    if there and strangers and func not in MOVING and not indexed:
        raise RuntimeError(f"{func}: tensors on two devices")
    if there and func in PRODUCTS and not leaves[-1].is_floating_point() and not leaves[-1].is_complex():
        raise NotImplementedError(f"{func}: GPUs have no product of matrices of integers")
    asked = kwargs.get("device")
    wanted = bool(there) if asked is None else torch.device(asked).type == NAME
    if asked is not None and wanted:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map_only(Elsewhere, lambda x: x.values, (args, kwargs))
    result = func(*args, **kwargs)
    if there and func._schema.is_mutable:
        known = {id(x.values): x for x in there}
        return tree_map_only(Tensor, lambda x: known.get(id(x), x), result)
    # Conjugation that is still to be done would be forgotten.
    return tree_map_only(Tensor, lambda x: Elsewhere(x.resolve_conj().resolve_neg()), result) if wanted else result


class Operations(TorchDispatchMode):
    """Operations that make tensors."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


class Shortcuts(TorchFunctionMode):
    """What torch does without operations that a mode would see: with Python's numbers and lists."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func is torch.tensor and device is not None and torch.device(device).type == NAME:
            return func(*args, **{**kwargs, "device": "cpu"}).to(device)
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].cpu().tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Elsewhere):
            at = args[1] if isinstance(args[1], tuple) else (args[1],)
            lists = (list, np.ndarray)
            args = (args[0], tuple(torch.tensor(i) if isinstance(i, lists) else i for i in at), *args[2:])
        return func(*args, **kwargs)


class Backend:
    """What torch asks of the module of a device."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def synchronize(self, device: torch.device | None = None) -> None:
        pass

    def manual_seed_all(self, seed: int) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return False


@cache
def register() -> None:
    """Once in a process, for good."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(backend_module=Backend())


@contextmanager
def elsewhere() -> Iterator[str]:
    """The device's name; it is there as long as this lasts."""
    register()
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with Shortcuts(), Operations():
            yield NAME
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
