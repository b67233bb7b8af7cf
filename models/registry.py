"""From a name to a model: `tiny` is embedded, anything else is a diffusers folder or a hub id."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from .quiet import quiet

__all__ = ["DTYPES", "EMBEDDED", "load_model"]

EMBEDDED = {"tiny": Path(__file__).parent / "tiny"}
DTYPES = ("fp32", "bf16", "fp16")


def load_model(name: str | Path = "tiny", *, dtype: str = "fp32", device: str | None = None):
    """Load a latent diffusion model.

    Arguments:
        name: `tiny`, a folder in diffusers' format, or a hub id such as `stabilityai/stable-diffusion-2-1`.
        dtype: `fp32`, `bf16` or `fp16` (GPUs only).
        device: Torch device; None takes a GPU if there is one.

    Returns:
        A :class:`~wmark.models.latent_diffusion.LatentDiffusion`.

    Raises:
        ModelError: If the model cannot be found, reached or used.
    """
    import torch

    if dtype not in DTYPES:
        raise ModelError(f"unknown precision {dtype!r}: choose one of {', '.join(DTYPES)}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        kind = torch.device(device).type
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {device!r} is not available here: try --device cpu") from error
    if dtype == "fp16" and kind == "cpu":
        raise ModelError("fp16 needs a GPU: on the CPU choose bf16 or fp32")

    folder = EMBEDDED.get(str(name), Path(name))
    local = folder.is_dir()
    if local and not (folder / "model_index.json").is_file():
        raise ModelError(f"{name} is not a diffusers model: it has no model_index.json")
    if not local and (folder.exists() or str(name).count("/") != 1 or str(name).startswith((".", "/", "~"))):
        raise ModelError(
            f"there is no model {str(name)!r}: give 'tiny', a diffusers folder, or a hub id like owner/name"
        )

    with quiet():
        from .latent_diffusion import LatentDiffusion, StableDiffusionPipeline, fingerprint

        pipeline = _load_pipeline(
            StableDiffusionPipeline, folder if local else name, local, getattr(torch, _torch_name(dtype))
        )
        weights = Path(pipeline.config._name_or_path) if not local else folder
        return LatentDiffusion(pipeline, str(name), fingerprint(weights) if weights.is_dir() else None, device)


def _load_pipeline(pipeline_class, source: str | Path, local: bool, dtype):
    from diffusers import DiffusionPipeline

    try:
        config = DiffusionPipeline.load_config(str(source), local_files_only=local)
        if config.get("_class_name") != "StableDiffusionPipeline":
            raise ModelError(
                f"{source} is a {config.get('_class_name')}: wmark works with StableDiffusionPipeline models"
            )
        return pipeline_class.from_pretrained(
            str(source), torch_dtype=dtype, local_files_only=local, safety_checker=None, requires_safety_checker=False
        )
    except ModelError:
        raise
    except Exception as error:
        if local:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"the model folder {source} cannot be loaded: {reason}") from error
        raise ModelError(
            f"the model {source!r} could not be fetched from the hub: check its name and the network, or give a folder"
        ) from error


def _torch_name(dtype: str) -> str:
    return {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype]
