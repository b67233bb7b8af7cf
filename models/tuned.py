"""What was tuned for a model, as a file: beside the model, or in the user's data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["find_tuned", "read_tuned", "user_folder"]


def user_folder(fingerprint: str) -> Path:
    """Where it is kept for a model whose own folder cannot be written to."""
    from platformdirs import user_data_path

    return user_data_path("wmark") / "tuned" / fingerprint


def find_tuned(folder: Path, fingerprint: str, file_name: str) -> Path | None:
    """A file in the user's data folder, or else the one beside the model."""
    return next((path for at in (user_folder(fingerprint), folder) if (path := at / file_name).exists()), None)


def read_tuned(
    path: Path, format: str, fingerprint: str | None, command: str = "wmark tune"
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file that was trained for a model.

    Arguments:
        path: The file.
        format: What its metadata call its format.
        fingerprint: That of the model's weights.
        command: What makes such a file.

    Raises:
        ModelError: If it cannot be read, is of another format, or belongs to other weights.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: delete it, or make it again with `{command}`") from error
    if metadata.get("format") != format:
        raise ModelError(f"{path} was not written by `{command}`, or by another version: make it again")
    if metadata["model"] != str(fingerprint):
        raise ModelError(f"{path} was tuned for other weights than this model's: make it again with `{command}`")
    return metadata, tensors
