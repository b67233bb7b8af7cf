"""What somebody does who holds a marked picture and a model, and no key.

    noise     what the picture is inverted to, prompt unknown: sampled with another prompt it is a *replay*
    imprint   z = E(cover);  min over d of ||I(z + d) - target||^2 / ||target||^2,  I a naive DDIM inversion;
              change = D(z + d) - D(z)

The imprint is that of Müller et al. (CVPR 2025, arXiv 2412.03283). With the noise of a marked picture as its target it
forges, with the opposite of a picture's own, or any other noise, it removes. The model need not be the one that made
the picture: a proxy, as far as it inverts alike. Only the change is added to the cover, so that what an autoencoder
loses costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..models.latent_diffusion import LatentDiffusion
from ..models.multistep import Predictor
from ..models.schedule import Grid
from ..models.wired import Block
from .chain import Recovered, recover
from .recovery import Recovery
from .shortcut import optimise, through

__all__ = ["ATTACKER", "Imprint", "Imprinting", "climb", "imprint", "stolen"]

ATTACKER = Recovery("attacker", "anderson", 3, tuned=False)
"""How an attacker recovers noise who has the model as it is sold, without what was tuned to it."""


@dataclass(frozen=True)
class Imprinting:
    """How a noise is pressed into a picture.

    Attributes:
        steps: Of the inversion that is optimised through.
        iterations: Updates.
        learning_rate: Of Adam.
        kept: Whose graphs are kept; see :func:`.shortcut.through`.
    """

    steps: int = 3
    iterations: int = 60
    learning_rate: float = 0.03
    kept: str = "all"


@dataclass(frozen=True)
class Imprint:
    """What an imprint does to a picture.

    Attributes:
        change: To be added to the picture, in units of [-1, 1], with shape (3, H, W).
        before, after: Cosine of the picture's noise with the target, by the attacker's own inversion of his latent.
    """

    change: Tensor
    before: float
    after: float


def stolen(model: LatentDiffusion, picture: Tensor) -> Recovered:
    """The initial noise of a picture (3, H, W), uint8, as somebody recovers it who knows neither prompt nor key."""
    return recover(model, ATTACKER, picture[None])


def climb(predict: Predictor, grid: Grid) -> list[Block]:
    """The steps of a naive DDIM inversion, from the clean latent up, each a differentiable function of it."""

    def block(i: int) -> Block:
        middle = (grid.times[i] + grid.times[i + 1]) / 2

        def step(z: Tensor) -> Tensor:
            eps = predict(z, middle)[1]
            return grid.alpha[i] * (z - grid.sigma[i + 1] * eps) / grid.alpha[i + 1] + grid.sigma[i] * eps

        return step

    return [block(i) for i in reversed(range(grid.steps))]


def imprint(
    model: LatentDiffusion,
    cover: Tensor,
    target: Tensor,
    how: Imprinting = Imprinting(),
    callback: Callable[[int], None] | None = None,
) -> Imprint:
    """Change a picture so that its noise becomes another one.

    Arguments:
        model: The attacker's model.
        cover: The picture, with shape (3, H, W), in [-1, 1].
        target: The noise, with shape (1, C, h, w), as his own inversion recovered it.
        how: Settings.
        callback: Called with the number of finished updates.
    """
    predict = partial(model.denoiser.predict, condition=model.unprompted)
    run = through(climb(predict, Grid.of(model.denoiser.schedule, how.steps)), how.kept)
    with torch.no_grad():
        latent = model.encode(cover[None].to(model.device))
    target = target.to(latent)
    found = optimise(
        run,
        latent,
        lambda noise: ((noise - target) / target.std()).flatten(1).square().mean(dim=1),
        iterations=how.iterations,
        learning_rate=how.learning_rate,
        callback=(lambda k, _: callback(k)) if callback else None,
    )
    with torch.no_grad():
        before, after = (float(cosine_similarity(run(z).flatten(), target.flatten(), 0)) for z in (latent, found.value))
        change = (model.decode(found.value) - model.decode(latent))[0].float().cpu()
    return Imprint(change, before, after)
