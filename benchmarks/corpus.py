"""What the benchmarks measure on: images generated from prompts and initial noise that a seed draws.

A latent that was generated once is kept, under a hash of all that it comes from (model, sampling, prompt, noise): an
interrupted run goes on, and benchmarks on the same images share them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..files import sha256, write_atomically
from ..images import to_image, to_tensor
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.noise import initial_noise

__all__ = ["Corpus", "Origin", "pictures", "rounded_images", "unseen_latents"]

UNSEEN = 900_000
"""Added to the seeds of prompts and noise that no tuning has seen."""


@dataclass(frozen=True, eq=False)
class Origin:
    """What an image is generated from.

    Attributes:
        prompt: The prompt.
        noise: Initial noise, with shape (C, h, w).
    """

    prompt: str
    noise: Tensor

    @classmethod
    def draw(cls, model: LatentDiffusion, prompt: str, seed: int, key: Key | None = None) -> Origin:
        """With noise of the model's own size that a seed draws, and that carries a key or none."""
        shape = model.latent_shape(*model.native_size)
        if key:
            return cls(prompt, initial_noise(key, shape=shape, seed=seed)[0])
        return cls(prompt, torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


@dataclass(frozen=True)
class Corpus:
    """Generated latents.

    Arguments:
        model: The model that makes them.
        sampling: How.
        folder: They are kept in its subfolder `corpus`.
        batch_size: Images generated together.
    """

    model: LatentDiffusion
    sampling: Sampling
    folder: Path
    batch_size: int = 8

    def latents(self, origins: Sequence[Origin]) -> Tensor:
        """Clean latents (B, C, h, w) on the CPU, generated unless they were kept."""
        paths = [self._path(origin) for origin in origins]
        missing = [(origin, path) for origin, path in zip(origins, paths, strict=True) if not path.exists()]
        with tqdm(total=len(missing), unit="image", disable=None if missing else True) as bar:
            for start in range(0, len(missing), self.batch_size):
                part = missing[start : start + self.batch_size]
                noise = torch.stack([origin.noise for origin, _ in part])
                made = self.model.sample(noise, [origin.prompt for origin, _ in part], self.sampling).cpu()
                for (_, path), latent in zip(part, made, strict=True):
                    content = io.BytesIO()
                    torch.save(latent.clone(), content)
                    write_atomically(path, content.getvalue())
                bar.update(len(part))
        return torch.stack([torch.load(path, weights_only=True) for path in paths])

    def _path(self, origin: Origin) -> Path:
        model = {"fingerprint": self.model.fingerprint, "dtype": str(self.model.dtype)}
        about = {"model": model, "sampling": asdict(self.sampling), "prompt": origin.prompt}
        digest = sha256(json.dumps(about).encode() + origin.noise.numpy().tobytes())
        return self.folder / "corpus" / f"{digest[:32]}.pt"


def unseen_latents(corpus: Corpus, count: int, seed: int) -> Tensor:
    """Clean latents (count, C, h, w) that carry no key, of prompts that no tuning has seen."""
    prompts = draw_prompts(count, UNSEEN + seed)
    first = UNSEEN + 1000 * seed
    return corpus.latents([Origin.draw(corpus.model, prompt, first + i) for i, prompt in enumerate(prompts)])


@torch.no_grad()
def pictures(model: LatentDiffusion, latents: Tensor) -> list[Image.Image]:
    """The images of latents (B, C, h, w), decoded one by one."""
    return [to_image(model.decode(latent)[0]) for latent in latents.split(1)]


def rounded_images(model: LatentDiffusion, latents: Tensor) -> Tensor:
    """What a PNG of each holds, with shape (B, 3, H, W) in [-1, 1]."""
    return torch.stack([to_tensor(image) for image in pictures(model, latents)])
