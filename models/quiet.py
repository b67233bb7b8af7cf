"""Keeping the loaders' progress bars and advice off the user's terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers and diffusers while they are imported and load a model; put back how they were."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as transformers_logging

        was = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity(logging.CRITICAL)
        from diffusers.utils import logging as diffusers_logging

        libraries = [(transformers_logging, was), (diffusers_logging, diffusers_logging.get_verbosity())]
        bars = [library for library, _ in libraries if library.is_progress_bar_enabled()]
        try:
            for library, _ in libraries:
                library.set_verbosity(logging.CRITICAL)
                library.disable_progress_bar()
            yield
        finally:
            for library, verbosity in libraries:
                library.set_verbosity(verbosity)
            for library in bars:
                library.enable_progress_bar()
