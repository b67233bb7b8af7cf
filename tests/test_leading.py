"""Keys of one pilot: a search for all of them, a test of each where the pilot stands, and what the verdict says."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from wmark import Detector, Keyring, Pattern, Sampling, embed, initial_noise
from wmark.attacks import find_damage
from wmark.benchmarks.simulated import simulated_reading
from wmark.detectors.geometry import Canvas, canvases
from wmark.detectors.leading import lead
from wmark.detectors.reading import KeyGroup, group_by_pattern, log10_p
from wmark.detectors.statistic import hypercone_log10_p


@pytest.fixture(scope="module")
def piloted():
    """Three keys of a fixed secret beside a pilot."""
    ring = Keyring(bytes(range(32)), Pattern.of("square", strength=0.4), pilot=0.3)
    for name in ("one", "two", "three"):
        ring.add(name)
    return ring


def read(key, damage, canvas=(64, 64), size=(64, 64)):
    moved = find_damage(damage).warp(tuple(8 * side for side in canvas), 1)
    return simulated_reading(initial_noise(key, seed=0, shape=(4, *canvas))[0], moved, 0.6, 0, size)


def test_every_key_is_tested_where_the_pilot_leads(piloted):
    group = KeyGroup(piloted.active())
    noise = torch.stack([read(piloted.key("two"), "rotation:30+mirror"), read(piloted.key("three"), "crop:60")])
    found, paid = lead(noise, group, [Canvas((64, 64))])
    rows = [led.standings for led in found]
    assert paid == 6
    p = [log10_p(row) for row in rows]
    assert [values.argmin() for values in p] == [1, 2]
    assert all(sorted(values)[1] > -4 > -20 > min(values) for values in p)
    assert rows[0][1].alignment.mirror
    assert rows[0][1].alignment.angle == pytest.approx(330, abs=1)


def test_a_wide_picture_that_was_cut_to_a_square_is_searched_on_its_own_canvas(piloted):
    wide = (64, 96)
    noise = initial_noise(piloted.key("one"), seed=0, shape=(4, *wide))[0][:, :, 16:80]
    places = [canvas for canvas in canvases((64, 64), (64, 64), None) if canvas.size in ((64, 64), wide)]
    (found,), paid = lead(noise[None], KeyGroup(piloted.active()), places)
    rows = [found.standings]
    assert paid == 6
    assert rows[0][0].canvas == wide
    assert log10_p(rows[0])[0] < -20
    assert "67% of it seen" in rows[0][0].placement.words


def test_keys_with_a_pilot_and_without_are_kept_apart(piloted):
    other = Keyring(bytes(32), Pattern.of("square", strength=0.4))
    groups = group_by_pattern([*piloted.active(), other.add("four")])
    assert [[key.id for key in group.keys] for group in groups] == [["one", "two", "three"], ["four"]]


def test_a_verdict_says_where_the_pilot_led(model, piloted):
    (marked,) = embed(model, piloted.key("two"), "an orange and purple sunset wallpaper", seed=3, sampling=Sampling(10))
    assert marked.record["pilot"] == 0.3
    turned = marked.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(30, Image.Resampling.BICUBIC)
    detector = Detector(model, piloted.active(), "fast", align="full", size=(512, 512), keep_evidence=True)
    (verdict,) = detector.verify([turned])
    assert verdict.found
    assert verdict.key_id == "two"
    assert (verdict.keys_tested, verdict.alignments_tested) == (3, 6)
    single = float(hypercone_log10_p(abs(verdict.cosine), 4 * (63**2 - 1)))
    assert verdict.looks_allowed == 3
    assert verdict.log10_p == pytest.approx(single + math.log10(2 * 3 * 6 * 3 * 2))  # Half of the rate is the pilot's.
    assert verdict.pilot_log10_p < -6
    told = verdict.to_json()["alignment"]
    assert "mirrored, turned by" in told["words"]
    assert told["angle"] == pytest.approx(30, abs=1.5)
    assert len(told["outline"]) == 16
    (part,) = verdict.to_json()["parts"]
    assert (part["key_id"], part["words"], part["log10_p"]) == ("two", told["words"], round(verdict.log10_p, 3))
    surface = verdict.evidence.surface
    assert surface.flat[abs(surface).argmax()] == pytest.approx(verdict.cosine, abs=1e-4)
