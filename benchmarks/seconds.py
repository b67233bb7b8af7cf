"""`wmark bench seconds`: where the time of `wmark verify` goes, stage by stage, for one image alone and for a batch.

The images are PNG files of 1.5 times the model's size, so that there is something to resize, and carry the one key that
they are tested against. The decoder inversion and the canvases searched are those of `exact` and of `--align auto`.
Names are told, and a pilot searched, that they do not carry, all 2^40 numbers given out: what an unmarked image costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from ..detectors.detector import Detector
from ..detectors.identity.identification import identify
from ..detectors.identity.places import as_planted
from ..detectors.leading import lead
from ..detectors.reading import read_as_planted, search
from ..detectors.statistic import hypercone_log10_p
from ..images import open_image, to_unit
from ..inversion.chain import invert_decoder, invert_diffusion
from ..inversion.recovery import EXACT
from ..inversion.whitening import whiten
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.numbers import NUMBERS
from ..watermark.patterns import Pattern
from .corpus import Corpus, Origin, pictures
from .identities import LOOKS, issued
from .output import Columns, provenance, tabulate, write_results
from .timing import median_seconds

__all__ = ["run"]

BATCHES = (1, 8)
ENLARGED = 1.5


def columns() -> Columns:
    batches = {f"batch of {n}": lambda r, n=n: f"{r['seconds'][str(n)]:.4f}" for n in BATCHES}
    return {"stage": "{stage}", **batches}


def run(
    model: LatentDiffusion,
    *,
    repeats: int,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `seconds.{csv,json}`; returns what the JSON holds.

    Arguments:
        model: The model to generate and verify with.
        repeats: Measurements of each stage after a first one that does not count; the median counts.
        seed: Seed of prompts and noise.
        out: Folder of the results.
        sampling: How images are generated.
    """
    about = provenance(model, repeats=repeats, seed=seed, size=list(model.native_size))
    key = Key.derive(b"wmark bench seconds".ljust(32, b"\0"), "key-1", Pattern.of())
    images = generate(Corpus(model, sampling, out), key, max(BATCHES), seed)
    with TemporaryDirectory() as folder:
        files = write(images, Path(folder))
        batches = {n: stages(model, key, files[:n]) for n in BATCHES}
        calls = {f"{name}/{n}": call for n, parts in batches.items() for name, call in parts.items()}
        median_seconds(calls, model.device, 1)
        spent = median_seconds(calls, model.device, repeats)
    results = [
        {"stage": name, "seconds": {str(n): spent[f"{name}/{n}"] / n for n in BATCHES}} for name in batches[BATCHES[0]]
    ]
    result = {**about, "results": results}
    write_results(out / "seconds", columns(), results, result)
    print(tabulate(columns(), results))
    return result


def generate(corpus: Corpus, key: Key, count: int, seed: int) -> list[Image.Image]:
    prompts = draw_prompts(count, seed)
    origins = [Origin.draw(corpus.model, prompt, 1000 * seed + i, key) for i, prompt in enumerate(prompts)]
    return pictures(corpus.model, corpus.latents(origins))


def write(images: Sequence[Image.Image], folder: Path) -> list[Path]:
    """The images, enlarged, as PNG files."""
    files = [folder / f"{i}.png" for i in range(len(images))]
    for image, file in zip(images, files, strict=True):
        size = tuple(round(side * ENLARGED) for side in image.size)
        image.resize(size, Image.Resampling.BICUBIC).save(file)
    return files


@torch.no_grad()
def stages(model: LatentDiffusion, key: Key, files: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """What each stage does with the images of some files, handed what the stage before made of them."""
    detector = Detector(model, key)
    (group,) = detector.sought[0].groups
    opened = [open_image(file) for file in files]
    resized = torch.stack([detector.pixels(image) for image in opened])
    images = to_unit(resized.to(model.device))
    latents = invert_decoder(model, EXACT, images).latent
    noise = invert_diffusion(model, EXACT, latents).noise
    white = whiten(noise)
    canvases = detector.canvases(tuple(noise.shape[-2:]), key.pattern)
    standings = read_as_planted(white, group, canvases[0].size)
    cosines = np.array([[standing.cosine for standing in row] for row in standings])
    names = issued(NUMBERS)
    places = as_planted(white, names.pilot, canvases[0].size)
    return {
        "opening": lambda: [open_image(file) for file in files],
        "resizing": lambda: [detector.pixels(image) for image in opened],
        "encoder": partial(model.encode, images),
        **({"reader": partial(model.reader, latents)} if model.reader else {}),
        "decoder inversion": partial(invert_decoder, model, EXACT, images),
        "diffusion inversion": partial(invert_diffusion, model, EXACT, latents),
        "whitening": partial(whiten, noise),
        "reading": partial(read_as_planted, white, group, canvases[0].size),
        "search": partial(search, white, group, canvases),
        "test": partial(hypercone_log10_p, cosines, key.pattern.dimension),
        "telling a name": lambda: [identify(place, names, LOOKS, detector.fpr) for place in places],
        "search by a pilot": lambda: [lead(one, names.pilot, canvases) for one in white],
    }
