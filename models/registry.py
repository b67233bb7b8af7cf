"""From a name to a model: `tiny` is embedded, anything else is a diffusers folder or a hub id."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..files import UnfitFile, open_regular
from .families import family
from .index import LARGEST_JSON, ModelFolder, ModelIndex
from .quiet import quiet
from .tuned import find_tuned

if TYPE_CHECKING:
    import torch

    from .latent_diffusion import LatentDiffusion
    from .restorer import Restorer

__all__ = ["DTYPES", "EMBEDDED", "find_device", "load_model", "load_restorer"]

EMBEDDED = {name: Path(__file__).parent / name for name in ("tiny", "tiny-flow", "tiny-one")}
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def load_model(
    name: str | Path = "tiny", *, dtype: str = "fp32", device: str | None = None, tuned: bool = True
) -> LatentDiffusion:
    """Load a latent diffusion model, with its learned reader and left inverse where `wmark tune` has made them.

    Arguments:
        name: `tiny`, a folder in diffusers' format, or a hub id such as `stabilityai/stable-diffusion-2-1`.
        dtype: `fp32`, `bf16` or `fp16` (which works on CPUs, too, but is slow there).
        device: Torch device; None takes a GPU if there is one.
        tuned: Whether to load what `wmark tune` made.

    Raises:
        ModelError: If the model cannot be found, reached or used.
    """
    import torch

    if dtype not in DTYPES:
        raise ModelError(f"unknown precision {dtype!r}: choose one of {', '.join(DTYPES)}")
    device = find_device(device)
    with quiet():
        path = local_folder(str(name))
        from . import left_inverse as left
        from . import reader as learned
        from .fingerprint import folder_fingerprint

        try:
            index = ModelIndex.of(path)
            kind, folder = family(index.pipeline), _with_lender(path, index)
            _refuse_unfit_files(path)
            pipeline = kind.load(folder, getattr(torch, DTYPES[dtype])).to(device)
        except ModelError as error:
            raise ModelError(f"the model {name} cannot be loaded: {error}") from error
        except Exception as error:  # Whatever a damaged file makes diffusers, transformers or safetensors raise.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ModelError(f"the model {name} cannot be loaded: {reason}") from error
        weights = folder_fingerprint(folder)
        file = find_tuned(path, weights, left.FILE_NAME) if tuned else None
        left_inverse = left.LeftInverse.load(file, pipeline.vae, weights) if file else None
        file = find_tuned(path, weights, learned.FILE_NAME) if tuned else None
        reader = learned.Reader.load(file, weights) if file else None
        loaded = kind.model(
            pipeline, str(name), fingerprint=weights, left_inverse=left_inverse, reader=reader, ours=True
        )
        return replace(loaded, usual=index.usual)


def load_restorer(model: LatentDiffusion) -> Restorer:
    """What was trained to restore a model's pictures.

    Arguments:
        model: From :func:`load_model`.

    Raises:
        ModelError: If there is nothing, or it cannot be used.
    """
    from . import restorer

    file = find_tuned(local_folder(model.name), model.fingerprint, restorer.FILE_NAME)
    if file is None:
        raise ModelError(f"the model {model.name} has no restorer: make one with `wmark train restorer {model.name}`")
    found = restorer.Restorer.load(file, model.fingerprint, model.channels)
    found.net.to(model.device)
    return found


def find_device(name: str | None = None) -> torch.device:
    """The torch device of a name; None takes a GPU if there is one.

    Raises:
        ModelError: If it is not available, or does not compute.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).item()  # On `meta` there are no values.
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ModelError(f"the device {name!r} is not available here: try --device cpu") from error
    return torch.device(name)


def local_folder(name: str) -> Path:
    """The folder of a model, downloaded first if the name is a hub id."""
    folder = EMBEDDED.get(name, Path(name))
    if folder.is_dir():
        return folder
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"there is no model {name!r}: give 'tiny', a diffusers folder, or a hub id like owner/name")
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(name))
    except Exception as error:  # Offline, unknown, gated: the hub's client has an exception for each.
        raise ModelError(
            f"the model {name!r} could not be fetched from the hub: check its name and the network, or give a folder"
        ) from error


def _with_lender(path: Path, index: ModelIndex) -> ModelFolder:
    """A model's folder with that of the model that has the parts which it lacks, if there is one.

    Raises:
        ModelError: If the other one cannot be found, or has other weights than it had.
    """
    from .fingerprint import folder_fingerprint

    if index.parts is None:
        return ModelFolder(path)
    lender = local_folder(index.parts)
    if folder_fingerprint(ModelFolder(lender)) != index.fingerprint:
        raise ModelError(f"it takes parts of {index.parts}, which had other weights when it was made: get both again")
    _refuse_unfit_files(lender)
    return ModelFolder(path, lender)


def _refuse_unfit_files(folder: Path) -> None:
    """Refuse what would be waited for or read without end, by whatever library reads a model's files.

    Raises:
        ModelError: If a file is a pipe or a device, or a configuration of more than 64 MiB.
    """
    for file in (*folder.glob("*"), *folder.glob("*/*")):
        try:
            with open_regular(file, LARGEST_JSON if file.suffix == ".json" else sys.maxsize):
                pass
        except UnfitFile as error:
            raise ModelError(f"its {file.relative_to(folder)} {error}: get its files again") from None
        except OSError:  # A folder, or one that whoever needs it will miss.
            continue
