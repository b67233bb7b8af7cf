"""Keys of one pilot: a search for all of them, a test of each where the pilot stands, and what the verdict says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from wmark import Detector, Keyring, Pattern, Sampling, embed, initial_noise
from wmark.attacks import find_damage
from wmark.benchmarks.simulated import simulated_reading
from wmark.detectors.candidate import guided
from wmark.detectors.geometry import Canvas, canvases
from wmark.detectors.leading import Led, keys_at, lead, lead_to_parts, led, read_again, worth_another
from wmark.detectors.plot import plot_verdict
from wmark.detectors.reading import KeyGroup, group_by_pattern, log10_p
from wmark.detectors.registration.bend import Bend
from wmark.detectors.registration.placement import Placement
from wmark.detectors.registration.search import Found
from wmark.detectors.statistic import corrected, cosine, hypercone_log10_p
from wmark.images.synthetic import synthetic


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


def every_key(group, led):
    """log10 p of each key, uncorrected, at its best place."""
    best = guided(group, led, (64, 64), 1.0, lambda p: p < -6)
    return best, np.min([log10_p(keys_at(group, place)) for place in led.places], axis=0)


def test_every_key_is_tested_where_the_pilot_leads(piloted):
    group = KeyGroup(piloted.active())
    for name, damage in (("two", "rotation:30+mirror"), ("three", "crop:60")):
        led = lead(read(piloted.key(name), damage), group.keys[0].pilot, [Canvas((64, 64))])
        best, p = every_key(group, led)
        assert led.paid == 6
        assert best.key.id == name
        assert sorted(p)[1] > -4 > -20 > best.log10_p == pytest.approx(min(p))
        (part,) = best.parts
        assert (part.key_id, part.log10_p) == (name, best.log10_p)
        if damage == "rotation:30+mirror":
            assert best.standing.alignment.mirror
            assert best.standing.alignment.angle == pytest.approx(330, abs=1)


def test_what_readings_have_in_common_is_left_out_where_the_pilot_leads(piloted):
    """A stain that every reading has hides the keys, unless it is known."""
    group, stain = KeyGroup(piloted.active()), torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(5))
    noise = read(piloted.key("two"), "mirror") + 3 * stain[0]
    place = Placement(Bend(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]), torch.zeros(2), (64, 64)), (64, 64))
    found = [Found(place, None, 20.0, -9.0)]
    hidden, seen = (led({(64, 64): noise}, group.keys[0].pilot, found, 6, known) for known in (None, stain))
    assert every_key(group, seen)[0].key.id == "two"
    assert every_key(group, seen)[0].log10_p < every_key(group, hidden)[0].log10_p - 30


def test_a_wide_picture_that_was_cut_to_a_square_is_searched_on_its_own_canvas(piloted):
    wide, group = (64, 96), KeyGroup(piloted.active())
    noise = initial_noise(piloted.key("one"), seed=0, shape=(4, *wide))[0][:, :, 16:80]
    places = [canvas for canvas in canvases((64, 64), (64, 64), None) if canvas.size in ((64, 64), wide)]
    led = lead(noise, group.keys[0].pilot, places)
    best, _ = every_key(group, led)
    assert led.paid == 6
    assert best.standing.canvas == wide
    assert best.log10_p < -20
    assert "67% of it seen" in best.standing.placement.words


def test_a_picture_that_was_brought_back_is_read_where_it_shows(piloted):
    group, (pilot,) = KeyGroup(piloted.active()), {key.pilot for key in piloted.active()}
    place = Placement(Bend(torch.eye(2) / 1.6, torch.tensor([4.0, -6.0]), (64, 64)), (64, 64))
    noise = initial_noise(piloted.key("two"), seed=0)[0]
    torn = torch.where(place.shown, noise, 9.0)  # Whatever fills the rest.
    best, _ = every_key(group, read_again([torn], pilot, [place]))
    assert 0.3 < float(place.shown.float().mean()) < 0.5
    assert (best.key.id, best.alignments_tested) == ("two", 2)
    assert best.log10_p < -50
    assert worth_another(None) == []
    assert worth_another(Led([], 6, found=[Found(place, None, 5.0, 0.0)])) == []
    assert worth_another(Led([], 6, found=[Found(place, None, -9.0, 0.0)])) == [place]


def chance(led):
    """Share of 400 keys that exist nowhere with a corrected p-value up to 0.05."""
    directions = np.random.default_rng(0).standard_normal((400, 4 * (63**2 - 1)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    t = [cosine(one.coordinates.flatten().numpy(), directions) for place in led.places for one in place]
    p = corrected(hypercone_log10_p(np.abs(t).max(0), directions.shape[1]), 2 * led.paid)
    return float(np.mean(p <= math.log10(0.05)))


def test_p_values_of_unmarked_noise_are_not_too_small(piloted, monkeypatch):
    """Those of keys where a pilot leads, in the whole and in parts, and those of the pilot."""
    monkeypatch.setattr("wmark.detectors.registration.parts.PLAUSIBLE", 0.0)  # Chance does not reach it.
    monkeypatch.setattr("wmark.detectors.registration.search.FOLLOWED", 0.0)
    pilot = piloted.key("one").pilot
    white = torch.randn(4, 64, 100, generator=torch.Generator().manual_seed(0))
    whole, parts = lead(white[..., :64], pilot, [Canvas((64, 64))]), lead_to_parts([white], pilot, (64, 64))
    for found in (whole, parts):
        assert len(found.places) > 0
        assert sum(map(len, found.places)) <= found.paid
        assert chance(found) <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
        assert found.presence > -2


def test_keys_with_a_pilot_and_without_are_kept_apart(piloted):
    other = Keyring(bytes(32), Pattern.of("square", strength=0.4))
    groups = group_by_pattern([*piloted.active(), other.add("four")])
    assert [[key.id for key in group.keys] for group in groups] == [["one", "two", "three"], ["four"]]


@pytest.fixture(scope="module")
def sunset(model, piloted):
    """A picture with the key `two` and its pilot."""
    (made,) = embed(model, piloted.key("two"), "an orange and purple sunset wallpaper", seed=3, sampling=Sampling(10))
    assert made.record["pilot"] == 0.3
    return made.image


def test_every_marked_part_of_a_page_is_found_once_with_its_place(model, piloted, sunset):
    page = Image.new("RGB", (1200, 560), "white")
    page.paste(sunset, (40, 24))
    page.paste(sunset.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (648, 24))
    (verdict,) = Detector(model, piloted.active(), "fast").verify([page])
    assert (verdict.found, verdict.key_id) == (True, "two")
    parts = verdict.to_json()["parts"]
    assert sorted(part["mirror"] for part in parts) == [False, True]
    corners = sorted(tuple(np.min(part["outline"], axis=0) * [1200, 560]) for part in parts)
    assert corners[0] == pytest.approx((40, 24), abs=8)
    assert corners[1] == pytest.approx((648, 24), abs=8)


def test_a_part_at_half_its_size_is_found_where_everything_is_searched(model, piloted, sunset):
    page = synthetic("noise", 3, (512, 512))
    page.paste(sunset.reduce(2), (240, 16))
    (found,) = Detector(model, piloted.active(), "fast", align="full").verify([page])
    assert (found.look, found.key_id) == ("reader/parts", "two")
    assert np.min(found.to_json()["parts"][0]["outline"], axis=0) * 512 == pytest.approx((240, 16), abs=6)


def test_a_verdict_says_where_the_pilot_led_and_draws_it(model, piloted, sunset, tmp_path):
    turned = sunset.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(30, Image.Resampling.BICUBIC)
    inverting = replace(model, reader=None)
    detector = Detector(inverting, piloted.active(), "fast", align="full", size=(512, 512), keep_evidence=True)
    (verdict,) = detector.verify([turned])
    assert verdict.found
    assert verdict.key_id == "two"
    assert (verdict.look, verdict.keys_tested, verdict.alignments_tested) == ("fast/again", 3, 2)
    single = float(hypercone_log10_p(abs(verdict.cosine), 4 * (63**2 - 1)))
    assert verdict.looks_allowed == 3
    assert verdict.log10_p == pytest.approx(single + math.log10(2 * 3 * 2 * 3))
    assert verdict.log10_p < -40
    told = verdict.to_json()["alignment"]
    assert "mirrored, turned by" in told["words"]
    assert told["angle"] == pytest.approx(30, abs=1.5)
    assert len(told["outline"]) == 16
    (part,) = verdict.to_json()["parts"]
    assert (part["key_id"], part["words"], part["log10_p"]) == ("two", told["words"], round(verdict.log10_p, 3))
    surface = verdict.evidence.surface
    assert surface.flat[abs(surface).argmax()] == pytest.approx(verdict.cosine, abs=1e-4)
    assert abs(verdict.evidence.pilot).argmax() == 0  # Everything undone, it stands where it was planted.
    assert abs(verdict.evidence.pilot).max() > 0.06
    turned.save(tmp_path / "turned.png")
    plot_verdict(tmp_path / "turned.png", verdict, piloted.key("two"), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as drawn, Image.open(tmp_path / "turned.png") as picture:
        assert drawn.width > 6 * drawn.height / 2
        assert picture.size == (512, 512)
        green = np.abs(np.asarray(drawn.convert("RGB"), int) - (0, 0xD0, 0x60)).sum(-1) < 30
    assert green.sum() > 300
