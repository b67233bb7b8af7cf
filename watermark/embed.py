"""Key or issuer and prompt -> watermarked image: plant in the initial noise, then generate as usual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import torch

from ..errors import ArgumentError
from ..images import to_image
from ..models.sampling import Sampling
from ..version import __version__
from .issuer import Issuer
from .keys import Key, check_key
from .layout import Identity
from .noise import initial_noise, seeds_of
from .record import SCHEMA, MarkedImage

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["embed"]


def embed(
    model: LatentDiffusion,
    key: Key | Issuer,
    prompts: str | Sequence[str],
    *,
    seed: int | Sequence[int] | None = None,
    sampling: Sampling | None = None,
    size: tuple[int, int] | None = None,
    batch_size: int = 4,
    callback: Callable[[int, int], None] | None = None,
) -> Iterator[MarkedImage]:
    """Generate images that carry a key, or a name each.

    Arguments:
        model: The model to generate with.
        key: The key to plant; or an issuer, which gives each image a name that no other has or will have. A name is
            issued before its batch is generated, and is not issued again if that fails.
        prompts: One prompt for each image; a single text makes one image.
        seed: One seed for each image, the first of consecutive ones, or `None` for fresh ones. The records name them.
        sampling: How; None takes what the model is meant for, most often `Sampling()`.
        size: Height and width in pixels; None takes the model's own.
        batch_size: Images generated together.
        callback: Called with the number of finished images and of finished steps of the current batch.

    Returns:
        Marked images, in the order of the prompts, each generated when its batch is asked for.

    Raises:
        ArgumentError: If the key is none, a prompt is no text, the seeds do not fit the prompts, or the size is none.
        ModelError: If the model does not make images of this size.
    """
    if not isinstance(key, Issuer):
        check_key(key)
    prompts = list(prompts) if isinstance(prompts, Iterable) and not isinstance(prompts, str | bytes) else [prompts]
    for prompt in prompts:
        if not is_text(prompt):
            raise ArgumentError(f"prompt {prompt!r} is not a text: give one for each image")
    if batch_size < 1:
        raise ArgumentError(f"batches of {batch_size!r} images make none: choose 1 or more")
    seeds = seeds_of(seed, len(prompts))
    shape = model.latent_shape(*model.meant_size(size))
    return generate(model, key, prompts, seeds, shape, sampling or model.usual, batch_size, callback)


def generate(
    model: LatentDiffusion,
    key: Key | Issuer,
    prompts: list[str],
    seeds: list[int],
    shape: tuple[int, int, int],
    sampling: Sampling,
    batch_size: int,
    callback: Callable[[int, int], None] | None,
) -> Iterator[MarkedImage]:
    for start in range(0, len(prompts), batch_size):
        batch = slice(start, start + batch_size)
        noise = initial_noise(key, len(prompts[batch]), shape=shape, seed=seeds[batch])
        if isinstance(key, Issuer):
            noise, identities = noise
            marks = [of_name(one, key) for one in identities]
        else:
            marks = [of_key(key)] * len(noise)
        on_step = (lambda step, done=start: callback(done, step)) if callback else None
        latents = model.sample(noise, prompts[batch], sampling, callback=on_step)
        for latent, mark, prompt, seed in zip(latents, marks, prompts[batch], seeds[batch], strict=True):
            with torch.no_grad():  # Closed before the image is handed over: the mode is the caller's.
                image = to_image(model.decode(latent[None])[0])
            record = {
                "schema": SCHEMA,
                "generator": f"wmark {__version__}",
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "model": {"name": model.name, "fingerprint": model.fingerprint},
                **mark,
                "prompt": prompt,
                "seed": seed,
                "sampler": asdict(sampling),
                "size": [image.width, image.height],
                "digital_source_type": "trainedAlgorithmicMedia",
            }
            yield MarkedImage(image, record)


def of_key(key: Key) -> dict:
    """What a record says of a key."""
    pilot = {"pilot": key.pilot.pattern.strength} if key.pilot else {}
    return {"keyring": key.keyring, "key_id": key.id, "pattern": key.pattern.to_json(), **pilot}


def of_name(identity: Identity, issuer: Issuer) -> dict:
    """What a record says of a name."""
    return {**asdict(identity), "layout": issuer.names.layout.to_json()}


def is_text(prompt: object) -> bool:
    """Whether a prompt is text that a tokenizer and a record can hold: no bytes, no halves of characters."""
    try:
        return bool(prompt.encode() or True) if isinstance(prompt, str) else False
    except UnicodeEncodeError:
        return False
