"""One file for each family of pipelines, found by the class of a pipeline."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ...errors import ModelError

__all__ = ["family"]

FAMILIES = {"StableDiffusionPipeline": "stable_diffusion"}
"""The file of each class of pipelines."""


def family(pipeline_class: str) -> ModuleType:
    """The module for a class of pipelines.

    Raises:
        ModelError: If there is none.
    """
    if pipeline_class not in FAMILIES:
        raise ModelError(f"it is a {pipeline_class}: wmark works with {', '.join(FAMILIES)} models")
    return import_module(f".{FAMILIES[pipeline_class]}", __package__)
