"""A pilot leads to the picture, wherever it went: on readings that are simulated, without a model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from wmark import Key, Pattern, initial_noise
from wmark.attacks import find_damage
from wmark.attacks.warping import UNMOVED
from wmark.benchmarks import registration
from wmark.benchmarks.simulated import pasted, simulated_reading
from wmark.detectors.geometry import Canvas
from wmark.detectors.registration.bend import Bend, positions
from wmark.detectors.registration.maps import maps
from wmark.detectors.registration.net import STEP, count, decomposed, rounded
from wmark.detectors.registration.parts import apart, parts, strongest
from wmark.detectors.registration.placement import Placement
from wmark.detectors.registration.scores import Workspace, everywhere, nearby, peaks
from wmark.detectors.registration.search import READS, on_its_canvas, search, template_of
from wmark.detectors.registration.template import Template, index, spectrum
from wmark.detectors.statistic import corrected, cosine, hypercone_log10_p
from wmark.watermark.spectrum import mask_coordinates

CANVAS = (64, 64)
WHOLE = [Canvas(CANVAS)]
KEY = Key.derive(b"s" * 32, "mine", Pattern.of("square", strength=0.4), pilot=0.3)


def planted(seed=0, canvas=CANVAS):
    return initial_noise(KEY, seed=seed, shape=(4, *canvas))[0]


def seen(damage, keep=0.6, seed=0):
    moved = find_damage(damage).warp((512, 512), seed)
    return simulated_reading(planted(seed), moved, keep, seed), moved


def log10_p(noise, placement, key=KEY):
    """Of a key, unpaid."""
    pattern = key.pattern.fitted(placement.canvas)
    c = placement.coordinates(noise, key.pattern).flatten().numpy()
    return float(hypercone_log10_p(abs(cosine(c, pattern.restrict(key.direction))), pattern.dimension))


def error(placement, moved):
    """Largest distance from the true place of each latent pixel that the picture shows, in latent pixels."""
    truth = moved.grid(*placement.bend.size)[0] * torch.tensor([32.0, 32.0])
    return float((placement.places - truth).norm(dim=-1)[(truth.abs() < 32).all(-1)].quantile(0.9))


@pytest.mark.parametrize("canvas", [(64, 64), (64, 96), (40, 48)])
def test_where_it_was_planted_a_pilot_scores_as_its_coordinates_say(canvas):
    noise = planted(canvas=canvas)
    template = Template.of(KEY.pilot, canvas)
    found = nearby(spectrum(noise, range(4)), template, torch.eye(2)[None], torch.zeros(1, 2), 2, 0.25)
    assert float(found.z) == pytest.approx(0.3 * math.sqrt(template.dimension), rel=0.01)
    assert found.shift.abs().max() == 0
    placement = Placement(Bend(torch.eye(2), torch.zeros(2), canvas), canvas)
    read, exact = placement.coordinates(noise, KEY.pattern), mask_coordinates(noise[None], KEY.pattern)[0]
    assert torch.cosine_similarity(read.flatten(), exact.flatten(), 0) > 0.99
    assert placement.words == "as it was marked"


@pytest.mark.parametrize("canvas", [(64, 64), (48, 64)])
def test_what_is_sampled_once_serves_every_turn_and_mirror_of_the_canvas(canvas):
    """Scored together as one by one."""
    noise = torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(1))
    template = Template.of(KEY.pilot, canvas).within(18)
    seen, maps_ = spectrum(noise, range(4)), maps(torch.tensor([0.3, 1.1]), torch.tensor([0.2, -0.1]), *NEITHER)
    together = everywhere(seen, template, index(template.frequencies, maps_, seen.length), Workspace(noise.device))
    every = template.symmetries.to(maps_) @ maps_[:, None]
    assert together.shape == ((2, 8) if canvas == (64, 64) else (2, 4))
    assert torch.allclose(peaks(seen, template, every.flatten(0, 1)).z.abs(), together.flatten(), atol=1e-4)


NEITHER = torch.zeros(2) > 0, torch.zeros(2, 2)
"""Not mirrored, not squeezed."""


def test_frequencies_beyond_the_nyquist_are_taken_as_zero():
    noise = planted()
    far = torch.tensor([[0.49, 0.0], [0.6, 0.0], [0.0, -0.7]])
    rows = index(far, torch.eye(2)[None], 256)
    assert spectrum(noise, range(4)).power[rows.flatten().long()].gt(0).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("none", "as it was marked"),
        ("rotation:30+mirror", "mirrored, turned by -30 degrees"),
        ("crop:60", "36% of it seen"),
        ("shift:25", "wrapped around"),
        ("shrink:75", "reduced to 75%, 5"),
        ("stretch:1.5", "stretched by 1.5"),
    ],
)
def test_the_pilot_leads_to_the_key_and_says_what_happened(damage, words):
    noise, moved = seen(damage)
    found = search(noise, KEY.pilot, WHOLE)[0]
    assert found.log10_p < -6
    assert min(log10_p(noise, place) for place in found.placements) < -20
    assert error(found.placement, moved) < 0.7 or found.placement.wrapped
    assert words in found.placement.words


def test_a_key_pays_nothing_for_the_search_and_a_stranger_stays_unseen():
    noise, _ = seen("rotation:30")
    (place, *_) = search(noise, KEY.pilot, WHOLE)[0].placements
    strangers = [Key.derive(b"t" * 32, f"k{i}", KEY.pattern) for i in range(300)]
    c = place.coordinates(noise, KEY.pattern).flatten().numpy()
    p = 10 ** hypercone_log10_p(cosine(c, np.stack([k.direction for k in strangers])), len(c))
    assert kstest(p, "uniform").pvalue > 0.001
    assert READS == 6


def test_a_pilot_that_was_pushed_past_zero_is_found_with_its_sign():
    noise, _ = seen("mirror")
    found = search(-noise, KEY.pilot, WHOLE)[0]
    assert found.z < -10
    assert found.log10_p < -20


@pytest.mark.parametrize("damage", ["perspective:20", "elastic:12"])
def test_bends_are_followed(damage):
    noise, moved = seen(damage)
    found = search(noise, KEY.pilot, WHOLE)[0]
    straight, bent = found.placements
    assert log10_p(noise, bent) < log10_p(noise, straight) - 5
    assert error(bent, moved) < error(straight, moved)


def test_marked_parts_of_a_larger_picture_are_found_once_each_with_their_outlines():
    turned, _ = seen("rotation:30", 0.7, 1)
    size, corners = (64, 136), [(0, 3), (0, 70)]
    field = pasted([(simulated_reading(planted(), UNMOVED, 0.7, 0), corners[0]), (turned, corners[1])], size, 2)
    first, second, *rest = parts(field, KEY.pilot, CANVAS)
    assert abs(second.z) > 10
    assert all(abs(one.z) < 8 and one.log10_p > -3 for one in rest)
    outlines = [np.array(one.placement.outline) * [136, 64] for one in (first, second)]
    assert outlines[0].min(0) == pytest.approx([3, 0], abs=1)
    assert outlines[0].max(0) == pytest.approx([67, 64], abs=1)
    assert outlines[1].mean(0) == pytest.approx([70 + 32, 32], abs=1)
    for one in (first, second):
        assert min(log10_p(field, place) for place in one.placements) < -40
        assert error_of_return(one.placement) < 1e-3
    straight = [one.placement for one in (first, second, first)]
    assert apart(straight) == straight[:2]
    halved = replace(first, placement=replace(first.placement, bend=first.placement.bend.scaled((32, 68))), z=5.0)
    assert strongest([halved, second, first]) == [first, second]
    assert np.allclose(halved.placement.outline, first.placement.outline, atol=1e-3)


def error_of_return(placement):
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    return float((placement.damage(placement.undoing(points)) - points).abs().max())


def test_a_picture_is_warped_back_by_what_was_found():
    noise, moved = seen("perspective:10")
    bent = search(noise, KEY.pilot, WHOLE)[0].bent
    points = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    back = bent.undoing(points)
    assert float((moved(back) - points).norm(dim=-1).median()) < 0.5 / 32
    matrix = torch.tensor(bent.matrix)
    straight = Placement(bent.bend.affine, CANVAS)
    assert straight.damage(points) == pytest.approx(points @ matrix[:2, :2].T + matrix[:2, 2], abs=1e-4)
    assert set(bent.to_json()) == {"angle", "scale", "mirror", "shift", "canvas", "matrix", "words", "outline"}


def test_what_chance_finds_in_unmarked_noise_is_worth_nothing():
    for seed in range(3):
        noise = torch.randn(4, *CANVAS, generator=torch.Generator().manual_seed(seed))
        found = search(noise, KEY.pilot, WHOLE)
        assert len(found) <= 3
        assert min(one.log10_p for one in found) > -2
        best = min(log10_p(noise, place) for one in found for place in one.placements)
        assert corrected(best, 2 * READS) > -3


@pytest.mark.parametrize("colour", [0.0, 0.2])
def test_scores_of_chance_have_a_spread_of_one_whatever_the_colour_of_noise(colour):
    """Else much power at low frequencies, which enlarged pictures are compared in, would pass for a pilot."""
    frequency = torch.hypot(torch.fft.fftfreq(64)[:, None], torch.fft.fftfreq(64))
    white = torch.randn(300, 4, 64, 64, generator=torch.Generator().manual_seed(3))
    noise = torch.fft.ifft2(torch.fft.fft2(white) * torch.exp(-colour * 64 * frequency)).real
    bend = Bend(torch.eye(2) / 2, torch.zeros(2), CANVAS)
    scores = [on_its_canvas(one, template_of(KEY.pilot, CANVAS, one.device), bend)[1] for one in noise]
    assert np.std(scores) == pytest.approx(1, abs=0.15)


def test_placements_are_tested_on_a_net_that_was_laid_before():
    squeeze = torch.tensor([[0.1, -0.05]])
    linear = maps(torch.tensor([2.0]), torch.tensor([0.3]), torch.tensor([True]), squeeze)[0]
    parts = decomposed(linear)
    assert parts.mirrored
    assert (parts.angle, parts.log_scale, *parts.squeeze) == pytest.approx((2.0, 0.3, 0.1, -0.05), abs=1e-5)
    bend = Bend(linear, torch.tensor([3.1, -4.2]), CANVAS)
    similar, every = count(CANVAS, CANVAS)
    (straight, few), (near, many) = rounded(bend, CANVAS)
    assert (few, many) == (2 * similar, 2 * every)
    assert decomposed(straight.linear).squeeze == pytest.approx((0, 0), abs=1e-6)
    x = positions(CANVAS, torch.device("cpu"))
    assert float((near(x) - bend(x)).norm(dim=-1).max()) < 1.0
    assert [one.linear.tolist() for one, _ in rounded(near, CANVAS)][1] == near.linear.tolist()
    assert list(rounded(Bend(linear * 10, bend.shift, CANVAS), CANVAS)) == []
    assert similar > 2 * (2 * math.pi / STEP) * (math.log(8) / STEP) * 192**2


def test_the_benchmark_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registration, "CASES", {"mirror": 0.7})
    result = registration.run(readings=1, compared=1, fpr=1e-6, seed=0, out=tmp_path)
    (row,) = result["results"]
    assert row["key"][0] < -50
    assert row["grid"][0] < -50
    assert row["seconds"] > 0
    assert "| mirror | 0.70 | 100%" in capsys.readouterr().out
    assert (tmp_path / "search.csv").read_text().startswith("case,kept,found at 1e-06")


@pytest.mark.parametrize(
    ("scale", "wrapped", "share"), [(2, True, 0.25), (2, False, 0.25), (1, True, 1), (0.5, True, 1)]
)
def test_of_a_picture_that_repeats_one_copy_counts(scale, wrapped, share):
    placement = Placement(Bend(scale * torch.eye(2), torch.zeros(2), (64, 64)), (64, 64), wrapped)
    assert placement.share == pytest.approx(share, abs=0.03)
