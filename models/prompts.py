"""Prompts in the form that the embedded model was trained on."""

from __future__ import annotations

import random

__all__ = ["COLOURS", "SUBJECTS", "draw_prompts"]

COLOURS = ["black", "gray", "white", "red", "pink", "brown", "orange", "yellow", "green", "teal", "blue", "purple"]
SUBJECTS = [
    "abstract",
    "waves",
    "sky",
    "clouds",
    "sunset",
    "mountain",
    "water",
    "sea",
    "flower",
    "leaf",
    "garden",
    "grass",
    "meadow",
    "wood",
    "pattern",
    "painting",
    "lights",
    "ribbon",
    "fog",
    "night",
    "forest",
    "tree",
]
BRIGHTNESS = ("", "", "dark ", "bright ")
TEXTURES = ("", "", "smooth ", "soft ", "detailed ", "rough ")


def draw_prompts(count: int, seed: int) -> list[str]:
    """`count` prompts, the same for the same seed."""
    rng = random.Random(seed)
    prompts = []
    for _ in range(count):
        first, second = rng.sample(COLOURS, 2)
        colour = first if rng.random() < 0.5 else f"{first} and {second}"
        prompts.append(f"a {rng.choice(BRIGHTNESS)}{rng.choice(TEXTURES)}{colour} {rng.choice(SUBJECTS)} wallpaper")
    return prompts
