"""Captions computed from pictures: a [dark|bright] [smooth|soft|detailed|rough] COLOUR [and COLOUR] SUBJECT wallpaper.

Colours, brightness and texture are measured on each crop; the subject comes from words of the picture's path.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.prompts import COLOURS
from ..models.prompts import SUBJECTS as PROMPTED

__all__ = [
    "ANY_COLOUR",
    "BRIGHTNESS",
    "COLOURS",
    "SUBJECTS",
    "TEXTURES",
    "captions",
    "colour_shares",
    "subject_of",
    "words",
]

SUBJECTS = [*PROMPTED, "planet", "desert", "canyon", "snow", "city", "building", "tunnel", "bird"]
BRIGHTNESS = ["dark", "bright"]
TEXTURES = ["smooth", "soft", "detailed", "rough"]

ANY_COLOUR = {"abstract", "waves", "pattern", "painting", "lights", "ribbon", "planet", "tunnel"}
"""Subjects that may have any colour: training shuffles their pictures' channels."""

DARK, BRIGHT = 0.25, 0.65
"""Mean luma below and above which a picture is called so."""

ROUGHNESS = [0.006, 0.015, 0.05, 0.09]
"""Mean luma gradients: smooth below the first, soft below the second, detailed above the third, rough above all."""

SECOND_COLOUR = 0.2
"""Share of a picture above which its second colour is named."""

HUES = torch.tensor([15.0, 45, 70, 160, 200, 255, 290, 345])
HUE_NAMES = ["red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "red"]


def words() -> list[str]:
    """Every word that a caption may hold."""
    return ["a", *BRIGHTNESS, *TEXTURES, *COLOURS, "and", *SUBJECTS, "wallpaper"]


def subject_of(path: str, synonyms: Mapping[str, Sequence[str]] | None = None) -> str:
    """The subject of a picture, from the last word of its path that names one; `abstract` if none does.

    Arguments:
        path: Path of the picture in its package; words end at punctuation, digits and inner capitals.
        synonyms: Further words of each subject.
    """
    names = {name: name for name in SUBJECTS}
    for subject, others in (synonyms or {}).items():
        names.update(dict.fromkeys(others, subject))
    stem, _, _ = path.rpartition(".")
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", stem or path)
    lowered = [word.lower() for word in [*re.findall(r"[A-Za-z]+", stem or path), *found]]
    known = [names[word] for word in lowered if word in names and word not in ("wallpaper", "abstract")]
    return known[-1] if known else "abstract"


def colour_shares(images: Tensor) -> Tensor:
    """Share of each of the `COLOURS`: images (B, 3, H, W) in [-1, 1] to (B, 12)."""
    rgb = (images.float().clamp(-1, 1) + 1) / 2
    high, low = rgb.amax(1), rgb.amin(1)
    chroma = high - low
    r, g, b = rgb.unbind(1)
    safe = chroma.clamp_min(1e-6)
    hue = torch.where(high == r, (g - b) / safe % 6, torch.where(high == g, (b - r) / safe + 2, (r - g) / safe + 4))
    by_hue = torch.tensor([COLOURS.index(name) for name in HUE_NAMES], device=rgb.device)
    names = by_hue[torch.bucketize((60 * hue) % 360, HUES.to(rgb.device))]
    brown = ((names == COLOURS.index("orange")) & (high < 0.65)) | ((names == COLOURS.index("red")) & (r - b < 0.25))
    names = torch.where(brown & (high < 0.65), COLOURS.index("brown"), names)
    grey = torch.where(high > 0.8, COLOURS.index("white"), COLOURS.index("gray"))
    names = torch.where(chroma < 0.12 * high.clamp_min(0.5), grey, names)
    names = torch.where(high < 0.16, COLOURS.index("black"), names)
    return F.one_hot(names.flatten(1), len(COLOURS)).float().mean(1)


def captions(images: Tensor, subjects: Sequence[str], seed: int) -> list[str]:
    """One caption for each image.

    Arguments:
        images: Images with shape (B, 3, H, W) in [-1, 1].
        subjects: Subject of each.
        seed: Words for brightness and texture, where they apply, are left out of three captions in ten.
    """
    small = F.interpolate(images.float(), size=(32, 32), mode="area")
    shares, order = colour_shares(small).sort(dim=1, descending=True)
    luma = (images.float() * torch.tensor([0.299, 0.587, 0.114], device=images.device)[:, None, None]).sum(1) / 2 + 0.5
    brightness = luma.mean((1, 2))
    gradient = (luma.diff(dim=1).abs().mean((1, 2)) + luma.diff(dim=2).abs().mean((1, 2))) / 2
    textures = torch.bucketize(gradient, torch.tensor(ROUGHNESS, device=images.device))
    rng = random.Random(seed)
    rows = zip(order.tolist(), shares.tolist(), brightness.tolist(), textures.tolist(), subjects, strict=True)
    result = []
    for ranked, share, light, texture, subject in rows:
        light_word = "dark" if light < DARK else "bright" if light > BRIGHT else ""
        texture_word = ["smooth", "soft", "", "detailed", "rough"][texture]
        spoken = ["a", *(word for word in (light_word, texture_word) if rng.random() < 0.7), COLOURS[ranked[0]]]
        if share[1] > SECOND_COLOUR:
            spoken += ["and", COLOURS[ranked[1]]]
        result.append(" ".join(word for word in [*spoken, subject, "wallpaper"] if word))
    return result
