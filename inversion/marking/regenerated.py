"""A picture regenerated from a noise near its own that carries a key.

    z = the picture's latent,    n = its noise, by exact inversion at w = 1,    n' = plant(n)
    change = D(sample(n')) - D(sample(n))

Planting alone takes the picture elsewhere. What is free in n', all but the key's direction, is moved until the sampled
latent comes close to z again, by Adam through the sampling chain with the graph of one step kept at a time
(:mod:`..shortcut`); after each move the key is planted anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...models.latent_diffusion import LatentDiffusion
from ...models.multistep import ddim
from ...models.schedule import Grid
from ...models.wired import blocks
from ..chain import invert_decoder
from ..diffusion import Correction, invert
from ..recovery import EXACT, Recovery
from ..shortcut import optimise, through
from .towards import Carried, planted, wanted

__all__ = ["Regeneration", "regenerated"]


@dataclass(frozen=True)
class Regeneration:
    """How a picture is regenerated.

    Arguments:
        steps: Sampling steps.
        iterations: Updates of the noise; 0 only plants.
        learning_rate: Of Adam.
        decoder: How the picture's latent is found.
    """

    steps: int = 12
    iterations: int = 30
    learning_rate: float = 0.03
    decoder: Recovery = EXACT


def regenerated(
    model: LatentDiffusion,
    mark: Carried,
    image: Tensor,
    least: float,
    callback: Callable[[int], None] | None = None,
    how: Regeneration = Regeneration(),
) -> Tensor:
    """The change of a picture that regeneration with a key in its noise makes.

    Arguments:
        model, mark, image, least, callback: As of :func:`.ways.change_of`.
        how: Settings.
    """
    wanted(mark, tuple(side // model.downsampling for side in image.shape[1:]))
    latent = invert_decoder(model, how.decoder, image[None]).latent
    predict = partial(model.denoiser.predict, condition=model.unprompted)
    grid = Grid.of(model.denoiser.schedule, how.steps)
    noise = invert(predict, ddim(grid), latent, Correction(iterations=10)).noise
    run = through(blocks(predict, grid, 0.0))

    def marked(free: Tensor) -> Tensor:
        return free + (planted(mark, free.detach()).to(free) - free).detach()

    start = marked(noise)
    found = optimise(
        lambda free: run(marked(free)),
        start,
        lambda z: (z - latent).flatten(1).square().mean(dim=1),
        iterations=how.iterations,
        learning_rate=how.learning_rate,
        callback=(lambda k, _: callback(k)) if callback else None,
    )
    with torch.no_grad():
        with_key, without = (model.decode(run(n))[0] for n in (marked(found.value), noise))
    return (with_key - without).cpu()
