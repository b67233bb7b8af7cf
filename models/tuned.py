"""Where what was tuned for a model is kept: beside the model, or in the user's data folder."""

from __future__ import annotations

from pathlib import Path

__all__ = ["find_tuned", "user_folder"]


def user_folder(fingerprint: str) -> Path:
    """Where it is kept for a model whose own folder cannot be written to."""
    from platformdirs import user_data_path

    return user_data_path("wmark") / "tuned" / fingerprint


def find_tuned(folder: Path, fingerprint: str, file_name: str) -> Path | None:
    """A file in the user's data folder, or else the one beside the model."""
    return next((path for at in (user_folder(fingerprint), folder) if (path := at / file_name).exists()), None)
