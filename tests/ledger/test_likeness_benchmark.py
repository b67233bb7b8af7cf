"""`wmark bench likeness`: damages are undone by their own maps, and what separates is counted rightly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from wmark.attacks import find_damage
from wmark.attacks.warping import UNMOVED
from wmark.benchmarks.likeness import LAXEST, compared, scores_of, summarised, undone, worst


@pytest.mark.parametrize("damage", ["rotation:30", "crop:60", "perspective:10", "elastic:8", "mirror", "shift:25"])
def test_a_map_is_undone_where_it_can_be(damage):
    moved = find_damage(damage).warp((512, 512), seed=1)
    at = UNMOVED.grid(16, 16)[0] * 0.4
    there = undone(moved)(at)
    inside = (there.abs() <= 1).all(-1)
    assert inside.float().mean() > 0.9
    assert torch.allclose(moved(there)[inside], at[inside], atol=0.05)


def test_a_turned_picture_is_alike_and_another_is_not():
    rng = np.random.default_rng(0)
    a, b = (
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((512, 512), Image.Resampling.BICUBIC)
        for _ in range(2)
    )
    assert compared(a, find_damage("rotation:30+jpeg:25"), rng)["ours"] > 0.99
    assert compared(a, b, rng)["ours"] < 0.9


def test_shares_at_a_rate_of_false_flags():
    rows = [{"what": "jpeg:5", "truth": "same", "scores": {"ours": LAXEST + (50 - i) / 1000}} for i in range(100)]
    rows += [{"what": "replay", "truth": "other", "scores": {"ours": score}} for score in (0.5, 0.99)]
    rows += [{"what": "another picture", "truth": "other", "scores": {"ours": None}}]
    rows.append({"what": "blur:8", "truth": "same", "scores": {"ours": 0.1}})
    rows.append({"what": "avif:5", "truth": "same", "scores": None})
    found = summarised("ours", rows)
    assert (found["same"], found["worst"]) == (101, 0.1)
    assert found["replay"]["0.01"] == 0.5 and found["another picture"]["0.01"] == 0
    assert found["false flags"] == pytest.approx(50 / 101)
    assert worst(rows)["blur:8"] == 1 and scores_of("ours", rows[-4:-2])[-1] == 2
