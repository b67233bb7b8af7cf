"""`wmark bench editing`: how well an edit keeps what is outside its mask, by how the latent was found, and the mark.

The application of Hong et al. (NeurIPS 2024): a marked picture is regenerated inside a mask with another prompt. Its
background is that of the decoded latent, no pixel is pasted back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..detectors.detector import Detector
from ..files import write_atomically
from ..images import encode_image, to_image, to_tensor
from ..inversion.editing import Edit, edit
from ..inversion.recovery import Recovery
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from .corpus import Corpus, Origin, pictures
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["DECODERS", "run"]

DECODERS = {
    "encoder only": Recovery("encoder only", tuned=False),
    "gradient-based": Recovery("gradient-based", "gradient", 10, {"learning_rate": 0.03}, tuned=False),
    "gradient-free": Recovery("gradient-free", "forward", 10, {"rho": 0.5}, tuned=False),
    "exact": Recovery("exact", "anderson", 3),
}

COLUMNS: Columns = {
    "decoder inversion": "{decoder}",
    "images": "{images}",
    "background PSNR dB": "{background_db:.2f}",
    "worst": "{worst_background_db:.2f}",
    "log10 p before": "{before:.0f}",
    "log10 p after": "{after:.0f}",
    "found after": "{found:.0%}",
    "seconds": "{seconds:.2f}",
}

SHOWN = 4
"""Edits of the picture."""


def run(
    model: LatentDiffusion,
    *,
    images: int,
    seed: int,
    out: Path,
    sampling: Sampling = Sampling(20),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `editing.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model that makes and edits the pictures.
        images: Pictures, each with a key and a mask of its own.
        seed: Seed of keys, prompts, noise and masks.
        out: Folder of the results.
        sampling: How pictures are made and edited.
    """
    settings = dict(seed=seed, sampling_steps=sampling.steps, guidance_scale=sampling.guidance_scale)
    settings["pattern"] = repr(Pattern.of())
    about = provenance(model, **settings, images=images)
    rows = Rows(out / "editing.jsonl", {**settings, "model": about["model"]}, ("image", "decoder"))
    prompts = draw_prompts(2 * images, 940_000 + seed)
    secret = f"wmark bench editing {seed}".encode().ljust(32, b"\0")[:32]
    keys = [Key.derive(secret, f"key-{i}", Pattern.of()) for i in range(images)]
    corpus = Corpus(model, sampling, out)
    latents = corpus.latents([Origin.draw(model, prompts[i], 1000 * seed + i, keys[i]) for i in range(images)])
    tiles = []
    for i in tqdm(range(images), unit="image", disable=None):
        wanted = [name for name in DECODERS if (i, name) not in rows or i < SHOWN]
        if wanted:
            (picture,) = pictures(model, latents[i : i + 1])
            tiles.append(measure(model, (rows, i), picture, prompts[images + i], keys[i], sampling))
    summary = [summarise(rows.select(decoder=name, image=range(images))) for name in DECODERS]
    result = {**about, "results": summary}
    write_results(out / "editing", COLUMNS, summary, result)
    write_atomically(out / "editing.png", encode_image(sheet(tiles[:SHOWN]), ".png"))
    print(tabulate(COLUMNS, summary))
    return result


def measure(
    model: LatentDiffusion, place: tuple[Rows, int], picture: Image.Image, prompt: str, key: Key, sampling: Sampling
) -> list[Image.Image]:
    """Edit one picture by every decoder inversion; returns what is shown of it."""
    (rows, image), x = place, to_tensor(picture)
    mask = ellipse(x.shape[-2:], image)
    detector, shown = Detector(model, key, align="off"), [picture]
    (before,) = detector.verify(picture)
    for name, recovery in DECODERS.items():
        begin = time.process_time()
        made = edit(model, x, mask, prompt, Edit(sampling, recovery))
        spent = time.process_time() - begin
        result = to_image(made.image)
        (after,) = detector.verify(result)
        if (image, name) not in rows:
            psnr = 10 * math.log10(4 / max(made.background, 1e-12))
            row = {"image": image, "decoder": name, "background_db": round(psnr, 3), "seconds": round(spent, 3)}
            rows.add(
                {**row, "before": round(before.log10_p, 2), "after": round(after.log10_p, 2), "found": after.found}
            )
        if name in ("encoder only", "exact"):
            error = (made.image - x).abs().mean(dim=0, keepdim=True) * (~mask)
            shown += [result, to_image((20 * error - 1).clamp(-1, 1).expand(3, -1, -1))]
    return shown


def ellipse(size: Sequence[int], seed: int) -> Tensor:
    """A mask of about a sixth of the picture, (H, W), bool."""
    height, width = size
    y, x, tall = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width)[None] / width
    down, across = (rows - 0.3 - 0.4 * y) / (0.18 + 0.1 * tall), (columns - 0.3 - 0.4 * x) / (0.28 - 0.1 * tall)
    return down.square() + across.square() < 1


def summarise(of: Sequence[dict]) -> dict:
    """Means and medians over the pictures."""
    background = np.array([row["background_db"] for row in of])
    return {
        "decoder": of[0]["decoder"],
        "images": len(of),
        "background_db": float(background.mean()),
        "worst_background_db": float(background.min()),
        "found": float(np.mean([row["found"] for row in of])),
        **{name: float(np.median([row[name] for row in of])) for name in ("before", "after", "seconds")},
    }


def sheet(tiles: Sequence[Sequence[Image.Image]], side: int = 192) -> Image.Image:
    """A row for each picture: as it was; edited, and 10 times the error outside the mask, encoder only and exact."""
    columns = max(map(len, tiles), default=1)
    canvas = Image.new("RGB", (columns * side, max(1, len(tiles)) * side), "white")
    for row, shown in enumerate(tiles):
        for column, tile in enumerate(shown):
            canvas.paste(tile.resize((side, side), Image.Resampling.LANCZOS), (column * side, row * side))
    return canvas
