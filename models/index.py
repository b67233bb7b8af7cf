"""What a model's `model_index.json` says, with an entry of our own that diffusers passes over:

    "_wmark": {"parts": "tiny", "fingerprint": "0123456789abcdef", "steps": 1, "guidance_scale": 1.0}

parts           the model that has the parts which this folder lacks, by its name as for :func:`.registry.load_model`
fingerprint     of that model's weights: with others the parts would not fit together
steps, ...      what the model is meant to be sampled with, in the place of :class:`.sampling.Sampling`'s defaults
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..files import UnfitFile, read_file
from .sampling import Sampling

__all__ = ["FILE_NAME", "LARGEST_JSON", "OWN", "ModelFolder", "ModelIndex"]

FILE_NAME, OWN = "model_index.json", "_wmark"
LARGEST_JSON = 64 << 20


@dataclass(frozen=True)
class ModelIndex:
    """A model's index.

    Attributes:
        pipeline: Class of its pipeline.
        parts: The model that has the parts which it lacks, or None.
        fingerprint: That of the other model's weights, or None.
        usual: What it is meant to be sampled with.
    """

    pipeline: str
    parts: str | None = None
    fingerprint: str | None = None
    usual: Sampling = Sampling()  # noqa: RUF009  A frozen value.

    @classmethod
    def of(cls, folder: Path) -> ModelIndex:
        """The index of a folder.

        Raises:
            ModelError: If it has none, or one that cannot be read.
        """
        try:
            index = json.loads(read_file(folder / FILE_NAME, LARGEST_JSON))
            own = dict(index.get(OWN, {}))
            parts, fingerprint = own.pop("parts", None), own.pop("fingerprint", None)
            return cls(str(index["_class_name"]), parts, fingerprint, Sampling(**own))
        except FileNotFoundError:
            raise ModelError(f"{folder} is not a diffusers model: it has no {FILE_NAME}") from None
        except UnfitFile as error:
            raise ModelError(f"its {FILE_NAME} {error}: get its files again") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"the {FILE_NAME} of {folder} cannot be read") from error


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder, and that of the model which has the parts that it lacks.

    Attributes:
        path: The folder.
        lender: The other one, or None.
    """

    path: Path
    lender: Path | None = None

    def part(self, name: str) -> Path:
        """The folder of a part."""
        own = self.path / name
        return own if self.lender is None or own.is_dir() else self.lender / name
