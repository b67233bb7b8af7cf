"""From recovered noise to the name: right ones, nobody else's, and p-values that mean what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wmark.attacks import find_damage
from wmark.attacks.warping import UNMOVED
from wmark.benchmarks.simulated import pasted, simulated_reading
from wmark.detectors.geometry import Canvas
from wmark.detectors.identity.addresses import likeliest
from wmark.detectors.identity.identification import identify
from wmark.detectors.identity.places import Place, Places, as_planted, followed
from wmark.detectors.leading import lead, lead_to_parts
from wmark.detectors.looking import Looker
from wmark.detectors.plan import plan
from wmark.detectors.statistic import cosine, hypercone_log10_p
from wmark.inversion.recovery import FAST
from wmark.watermark.keyring import Keyring
from wmark.watermark.layout import IssuerEntry, Layout
from wmark.watermark.names import Names
from wmark.watermark.noise import named_noise
from wmark.watermark.patterns import Pattern

CANVAS = (64, 64)


@pytest.fixture(scope="module")
def names():
    ring = Keyring(bytes(range(32)), Pattern.of())
    ring.add_names()
    return ring.names()


def looked_at(noise, names, canvas=CANVAS, following=False, looks=6):
    """Where one image's noise is read, and what is said of it."""
    if following:
        places = followed(lead(noise, names.pilot, [Canvas(canvas)]), names.layout.pattern)
    else:
        (places,) = as_planted(noise[None], names.pilot, canvas)
    return places, identify(places, names, looks, 1e-6)


def planted(names, number, canvas=CANVAS):
    return named_noise(names, number, 0, (4, *canvas)).float()


def test_addresses_come_by_their_sums():
    scores = np.random.default_rng(0).standard_normal((3, 16))
    sums = (scores[0][:, None, None] + scores[1][:, None] + scores[2]).ravel()
    found = likeliest(scores, 10)
    assert np.allclose(scores[np.arange(3), found].sum(-1), np.sort(sums)[::-1][:10])


@pytest.mark.parametrize("sign", [1, -1])
def test_an_image_is_told_by_its_name(names, sign):
    reading = sign * simulated_reading(planted(names, 123_456_789), UNMOVED, 0.3, 1)
    places, said = looked_at(reading, names)
    assert said.presence.found
    assert said.series.found
    assert said.addressed == 123_456_789
    assert (said.named.number, said.named.issuer) == (123_456_789, "main")
    assert said.identity.log10_p < -100
    assert said.cosine * sign > 0
    assert said.log10_p == pytest.approx(said.identity.log10_p + math.log10(3))
    alone = hypercone_log10_p(abs(said.cosine), len(names.sections.named))
    assert said.identity.log10_p == pytest.approx(alone + math.log10(said.names_tested * 2 * 6))
    block = np.concatenate(names.sections.addressed)
    t = cosine(places.places[0].coordinates[block], names.sections.address(123_456_789)[block])
    own = hypercone_log10_p(sign * t / np.linalg.norm(names.sections.address(123_456_789)), len(block))
    assert said.series.log10_p == pytest.approx(own + math.log10(2.0**40 * 2 * 6))


def test_a_turned_and_cut_image_is_told_by_its_name(names):
    moved = find_damage("rotation:30+crop:60").warp((512, 512), 1)
    reading = simulated_reading(planted(names, 7), moved, 0.6, 1)
    _, said = looked_at(reading, names, following=True)
    assert said.presence.found
    assert said.named.number == 7
    assert said.identity.log10_p < -20
    assert "turned by" in said.placement.words


def test_each_part_of_a_collage_is_told_by_its_own_name(names):
    one, two = (simulated_reading(planted(names, number), UNMOVED, 0.6, number) for number in (7, 8))
    field = pasted([(one, (2, 3)), (two, (2, 70))], (68, 136), 0)
    led = lead_to_parts([field], names.pilot, CANVAS)
    looks = plan([FAST], "auto", 1e-6, patterns={names.layout.pattern}, pilots=True)
    said = Looker(None, looks, None, (512, 512))._named_parts(led, names)
    assert sorted(part.names.named.number for part in said.parts) == [7, 8]
    for part, found in zip(sorted(said.parts, key=lambda p: p.placement.outline[0]), (7, 8), strict=True):
        assert part.names.named.number == found
        assert part.to_json()["names"]["identity"]["number"] == found
    assert said.statements.log10_p == said.parts[0].log10_p
    assert said.statements.presence.log10_p > min(one.log10_p for one in led.found)  # Paid for looks and parts.


def test_a_part_of_the_frequencies_is_enough(names):
    noise = planted(names, 99, (40, 64))
    noise = noise + torch.randn(noise.shape, generator=torch.Generator().manual_seed(0))
    assert looked_at(noise, names, (40, 64))[1].named.number == 99


def test_a_number_of_no_issuer_is_no_identity(names):
    shared, own = names.secrets("main")
    other = Names(names.layout, shared, {IssuerEntry("x", 1 << 30, 9, ""): own}, "")
    noise = planted(other, (1 << 30) + 4)
    said = looked_at(noise, names)[1]
    assert (said.presence.found, said.series.found, said.identity.found) == (True, True, False)
    assert said.to_json()["series"]["number"] == (1 << 30) + 4
    assert said.to_json()["identity"]["number"] is None


def test_a_name_is_told_whose_address_was_pushed_past_zero(names):
    coordinates = names.coordinates(77)
    coordinates[np.concatenate(names.sections.addressed)] *= -1
    said = identify(Places([Place(coordinates, np.ones(len(coordinates), dtype=bool), CANVAS)], 0.0), names, 1, 1e-6)
    assert said.named == names.identity(77)
    assert said.cosine > 0


def test_a_name_without_its_address_is_told_if_its_number_is_given(names):
    coordinates = names.coordinates(77)
    coordinates[np.concatenate(names.sections.addressed)] = 0
    here = Places([Place(-coordinates, np.ones(len(coordinates), dtype=bool), CANVAS)], 0.0)
    assert identify(here, names, 1, 1e-6).named != names.identity(77)
    said = identify(here, names.expecting([5, 77]), 1, 1e-6)
    assert said.names_tested >= 2
    assert said.named == names.identity(77)
    assert said.identity.found


def test_of_unmarked_noise_nothing_is_said_and_p_values_are_uniform():
    ring = Keyring(bytes(32), Pattern.of())
    ring.add_names(Layout.of(Pattern.of("square", radius=9, channels=(0, 1))))
    rng, real = np.random.default_rng(0), ring.names()
    dimension = real.layout.pattern.dimension
    held = np.ones(dimension, dtype=bool)
    found = []
    for i in range(20):
        coordinates = rng.standard_normal(dimension)
        names = real.decoy(i)
        found.append(identify(Places([Place(coordinates, held, (19, 19))], 0.0), names, 1, 1e-6))
    p = np.array([one.identity.log10_p for one in found if one.names_tested])
    assert len(p) > 5
    assert not any(one.identity.found or one.series.found for one in found)
    assert (p > -3).all()
    assert np.mean([one.series.log10_p for one in found]) > -0.5
