"""Training a model's learned reader.

1. Sample pictures from noise that is kept (:mod:`.samples`), damage them in every way that moves nothing or moves
   points, and encode them (:mod:`.readings`). No key and no marked picture is among them.
2. Fit the network of :mod:`wmark.models.reader` to the noise n behind each, by

    - log(cos(r, n) + .1)  +  .05 ||r - n||^2 / d

   A key's log10 p goes with the square of the cosine, so the first term is the logarithm of the decades that a picture
   gives: one whose evidence grows by a tenth counts as much whether it has three hundred decades or three. (The mean
   squared error alone reads clean pictures worse and damaged ones no better; the decades themselves, clean ones better
   and the worst damaged ones worse.) The second term keeps the scale.
3. With what is held out, see which further looks pay (:mod:`.looks`).

What the curve shows is what the reader is for: log10 p of a random direction, had it been planted in the held-out
noise. With `rho` the cosine between a reading and the true noise, a direction planted at strength s stands at about
s rho, so nothing has to be generated with a key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..detectors.statistic import hypercone_log10_p
from ..models.latent_diffusion import LatentDiffusion
from ..models.reader import Reader, ReaderNet, Shape
from .precision import autocast
from .readings import Readings, Versions, damaged_pictures, encoded
from .samples import Samples
from .timed import Progressed, TimedFit

STRENGTH = 0.5

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TESTS", "ReaderSettings", "draw_curve", "evidence", "train_reader"]

TESTS = ("none", "jpeg:25", "noise:0.2", "brightness:2", "hue:180", "rotation:30", "crop:60")
"""Damages that a reader is evaluated after, read where the picture went."""


@dataclass(frozen=True)
class ReaderSettings:
    """How a reader is trained.

    Arguments:
        versions: Damaged versions of each picture.
        width, dilations: Of the network.
        learning_rate: Peak.
        batch: Readings in a step.
        seed: Seed of prompts, noise, damage and order.
    """

    versions: Versions = field(default_factory=Versions)
    width: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 2, 1)
    learning_rate: float = 2e-3
    batch: int = 8
    seed: int = 0


def train_reader(
    model: LatentDiffusion,
    readings: Readings,
    held_out: Samples,
    *,
    minutes: float,
    folder: Path,
    settings: ReaderSettings,
    callback: Progressed | None = None,
) -> Reader:
    """Train a reader; a run with the same folder goes on where the last one stopped.

    Arguments:
        model: The model; its encoder and decoder are used as they are.
        readings: What it learns from, of :func:`~.readings.drawn_readings`.
        held_out: Samples that none of them comes from.
        minutes: Time to train for, that of earlier runs counted in, evaluations not.
        folder: Where checkpoints are kept.
        settings: How.
        callback: Called after each step with the share of the time that has passed and the curve so far.
    """
    shape = Shape(model.channels, settings.width, settings.dilations)
    tests = {name: encoded(model, damaged_pictures(model, held_out, name, settings.seed)) for name in TESTS}

    def make() -> ReaderNet:
        torch.manual_seed(settings.seed)
        return ReaderNet(shape).to(model.device)

    def loss(net: ReaderNet, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(readings.latents), (settings.batch,), generator=generator)
        latents, noise = (tensor[chosen].to(model.device).float() for tensor in readings)
        with autocast(model.device):
            found = net(latents)
        return log_loss(found.float(), noise)

    def evaluate(net: ReaderNet) -> dict[str, float]:
        net = net.eval()
        return {
            name: float(np.median(evidence(Reader(net)(test.latents.to(model.device)), test.noise)))
            for name, test in tests.items()
        }

    fit = TimedFit(make, peak=settings.learning_rate, seed=settings.seed, checkpoint=folder / "reader.pt")
    fit.run(loss, evaluate, minutes, callback)
    about = {"minutes": minutes, **asdict(settings), "curve": fit.curve}
    return Reader(fit.average, about=about).to(model.device)


def log_loss(found: Tensor, noise: Tensor) -> Tensor:
    """What a reader is trained down, for readings and true noise (B, C, h, w)."""
    cosine = torch.cosine_similarity(found.flatten(1), noise.flatten(1))
    return -torch.log(cosine.clamp_min(-0.05) + 0.1).mean() + 0.05 * (found - noise).square().mean()


def evidence(reading: Tensor, noise: Tensor) -> np.ndarray:
    """log10 p of a random direction, had it been planted in all of noise (B, C, h, w) of which this was read."""
    seen, true = (values.double().cpu().flatten(1) for values in (reading, noise))
    rho = torch.cosine_similarity(seen, true).numpy()
    return hypercone_log10_p(STRENGTH * rho, seen.shape[1])


def draw_curve(axis: Axes, reader: Reader) -> None:
    """Draw the evidence on held-out pictures against the minutes of training."""
    curve = reader.about["curve"]
    for name in TESTS:
        axis.plot([p["minutes"] for p in curve], [p[name] for p in curve], marker="o", markersize=3, label=name)
    axis.set_xlabel("minutes of training")
    axis.set_ylabel("log10 p of a random direction, median")
    axis.set_title("reader", fontsize=10)
    axis.legend(title="damage", fontsize=8)
    axis.grid(alpha=0.3)
