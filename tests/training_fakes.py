"""Pictures and terms like those of a package, and the recipe's commands."""

from __future__ import annotations

import numpy as np
from click.testing import CliRunner
from PIL import Image

from wmark.cli import main

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: art

Files: *
Copyright: 2014, A Group
License: GPL-2+

Files: nature/*
       sea/Wave.png
Copyright: 2020, Ann Author <ann@example.org>
           2021-2022 Ben Builder
License: CC-BY-4.0

Files: debian/*
Copyright: 2022, A Packager
License: GPL-3+

License: CC-BY-4.0
 The text.
"""


def train(*arguments: str) -> str:
    outcome = CliRunner().invoke(main, ["train", *map(str, arguments)], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def drawing(seed: int, size: tuple[int, int] = (640, 520)) -> Image.Image:
    """Smooth colours, different for each seed."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
