"""Key and prompt -> watermarked image: plant the key in the initial noise, then generate as usual."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError
from ..files import sha256, write_atomically
from ..images import encode_image, to_image
from ..models.sampling import Sampling
from ..version import __version__
from .keys import Key
from .spectrum import plant

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["MarkedImage", "embed", "initial_noise", "record_path", "recorded_model"]


@dataclass(frozen=True)
class MarkedImage:
    """A generated image and what is known of how it was made; neither holds a secret.

    Attributes:
        image: The image, RGB.
        record: Model, key id, pattern, seed, prompt and sampler settings.
    """

    image: Image.Image
    record: dict = field(repr=False)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the record and then the image, marked as AI-generated in its metadata, each atomically.

        A record that an interrupted run left without its image is replaced.

        Raises:
            ImageError: If a file stands in the way or the format is none of PNG, JPEG and WebP.
        """
        path = Path(path)
        data = encode_image(self.image, path.suffix)
        record = {**self.record, "image": path.name, "image_sha256": sha256(data)}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        try:
            if path.exists() and not overwrite:
                raise FileExistsError
            orphan = recorded_model(path) is not None and not path.exists()
            write_atomically(record_path(path), text.encode(), overwrite=overwrite or orphan)
            write_atomically(path, data, overwrite=overwrite)
        except FileExistsError as error:
            raise ImageError(
                f"{path} or its record exists already: choose another name, or overwrite it with --force"
            ) from error
        except OSError as error:
            raise ImageError(f"{path} cannot be written: {error.strerror or error}") from error
        return path


def record_path(image: str | Path) -> Path:
    """Where the record of an image stands: beside it, with `.json` after its name."""
    image = Path(image)
    return image.with_name(image.name + ".json")


def recorded_model(image: str | Path) -> dict | None:
    """Name and fingerprint of the model in the record beside an image; None without a readable record."""
    try:
        model = json.loads(record_path(image).read_text())["model"]
        return {"name": str(model["name"]), "fingerprint": model["fingerprint"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def initial_noise(
    key: Key,
    batch: int = 1,
    *,
    shape: tuple[int, int, int] = (4, 64, 64),
    seed: int | Sequence[int] = 0,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Initial noise that carries a key, for the `latents=` of any diffusers pipeline.

    Arguments:
        key: The key to plant.
        batch: Number of noises.
        shape: Latent shape (C, h, w); (4, H/8, W/8) for Stable Diffusion.
        seed: One seed for each noise, or the first of `batch` consecutive ones. A noise depends on its own seed alone
            and is drawn on the CPU, so it is the same in every batch.
        dtype, device: Of the result.

    Returns:
        Noise with shape (batch, C, h, w), as normal as unmarked noise over the draw of the key.

    Raises:
        KeyringError: If the key does not fit the shape.
    """
    white = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in _seeds(seed, batch)]
    return plant(torch.stack(white), key).to(device, dtype)


def embed(
    model: LatentDiffusion,
    key: Key,
    prompts: Sequence[str],
    *,
    seed: int | Sequence[int] = 0,
    steps: int = 50,
    guidance_scale: float = 7.5,
    scheduler: str = "ddim",
    size: tuple[int, int] | None = None,
    batch_size: int = 4,
    callback: Callable[[int, int], None] | None = None,
) -> Iterator[MarkedImage]:
    """Generate images that carry a key.

    Arguments:
        model: The model to generate with.
        key: The key to plant.
        prompts: One prompt for each image.
        seed: One seed for each image, or the first of consecutive ones.
        steps, guidance_scale, scheduler: As in :meth:`LatentDiffusion.sample`.
        size: Height and width in pixels; None takes the model's own.
        batch_size: Images generated together.
        callback: Called with the number of finished images and of finished steps of the current batch.

    Yields:
        Marked images, in the order of the prompts.
    """
    height, width = size or model.native_size
    shape = model.latent_shape(height, width)
    seeds = _seeds(seed, len(prompts))
    for start in range(0, len(prompts), batch_size):
        batch = list(prompts[start : start + batch_size])
        noise = initial_noise(key, len(batch), shape=shape, seed=seeds[start : start + batch_size])
        on_step = (lambda step, done=start: callback(done, step)) if callback else None
        latents = model.sample(noise, batch, Sampling(steps, guidance_scale, scheduler), callback=on_step)
        for i, (latent, prompt) in enumerate(zip(latents, batch, strict=True)):
            record = {
                "schema": "wmark-record/1",
                "generator": f"wmark {__version__}",
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "model": {"name": model.name, "fingerprint": model.fingerprint},
                "key_id": key.id,
                "pattern": key.pattern.to_json(),
                "prompt": prompt,
                "seed": seeds[start + i],
                "sampler": {"scheduler": scheduler, "steps": steps, "guidance_scale": guidance_scale},
                "size": [width, height],
                "digital_source_type": "trainedAlgorithmicMedia",
            }
            with torch.no_grad():  # Closed before the image is handed over: the mode is the caller's.
                image = to_image(model.decode(latent[None])[0])
            yield MarkedImage(image, record)


def _seeds(seed: int | Sequence[int], count: int) -> list[int]:
    seeds = [seed + i for i in range(count)] if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds do not fit {count} images")
    return seeds
