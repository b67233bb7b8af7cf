import numpy as np
import pytest
import torch

from wmark import Key, Pattern, initial_noise
from wmark.detectors import reading
from wmark.detectors.alignment import IDENTITY, Alignment, AlignmentSearch, padded_spectrum
from wmark.detectors.geometry import Canvas
from wmark.detectors.reading import KeyGroup, Standing, closest
from wmark.detectors.registration.placement import Placement
from wmark.detectors.statistic import corrected, hypercone_log10_p
from wmark.inversion.whitening import whiten

KEY = Key.derive(b"a" * 32, "mine", Pattern.of())
OTHER = Key.derive(b"a" * 32, "other", Pattern.of())


def best(search, noise, *keys):
    (found,) = search.best([padded_spectrum(noise, keys[0].pattern)], KeyGroup(keys).planted, keys[0].pattern)
    return found


SMALL = AlignmentSearch((64, 64), angle_step=45, scale_range=(0.97, 1.03))


@pytest.fixture(scope="module")
def noise():
    return initial_noise(KEY, seed=0)[0]


def test_default_grid_covers_every_turn_and_half_to_full_crops():
    search = AlignmentSearch()
    assert len({p.angle for p in search.placements}) == 200
    scales = sorted({p.scale for p in search.placements})
    assert scales[0] < 0.71
    assert scales[-1] > 1.41
    assert 1.0 in scales
    assert search.count == len(search.placements) * 64 * 64


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda n: n, IDENTITY),
        (lambda n: torch.roll(n, (5, -9), (1, 2)), Alignment(shift=(5 / 64, 55 / 64))),
        (lambda n: n.flip(2), Alignment(mirror=True)),
        (lambda n: torch.rot90(n, 1, (1, 2)), Alignment(angle=90.0)),
        (lambda n: torch.rot90(n.flip(2), 3, (1, 2)), Alignment(angle=270.0, mirror=True)),
    ],
)
def test_exact_symmetries_are_found_without_loss(noise, change, expected):
    ((value, alignment), (stranger, _)) = best(SMALL, change(noise), KEY, OTHER)
    assert value == pytest.approx(0.5, abs=1e-4)
    assert alignment == expected
    assert stranger < 0.12


def test_coordinates_and_surface_agree_with_the_search(noise):
    moved = torch.roll(noise.flip(2), (7, 3), (1, 2))
    ((value, alignment),) = best(SMALL, moved, KEY)
    spectrum = padded_spectrum(moved, KEY.pattern)
    c = SMALL.coordinates(spectrum, KEY.pattern, alignment).flatten().double().numpy()
    assert c @ KEY.direction / np.linalg.norm(c) == pytest.approx(value, abs=1e-5)
    samples = SMALL.samples(spectrum, KEY.pattern, alignment)
    surface = SMALL.surface(samples, KeyGroup([KEY]).planted[0], KEY.pattern)
    assert surface.max().item() == pytest.approx(value, abs=1e-5)
    assert divmod(int(surface.argmax()), 64) == (round(alignment.shift[0] * 64), round(alignment.shift[1] * 64))


@pytest.mark.parametrize(
    ("change", "corner", "words"),
    [
        (lambda n: n, (20, 10), "57% of the picture"),
        (lambda n: n.flip(2), (84, 10), "mirrored, 57% of the picture"),
        (lambda n: torch.rot90(n.flip(2), 3, (1, 2)), (84, 74), "mirrored, turned by -90 degrees, 57% of the picture"),
    ],
)
def test_an_alignment_says_where_in_the_noise_its_canvas_lies(noise, change, corner, words):
    page = torch.randn(4, 80, 96, generator=torch.Generator().manual_seed(5))
    page[:, 10:74, 20:84] = change(noise)
    ((value, alignment),) = best(SMALL, page, KEY)
    placement = Placement.of(alignment, (64, 64), (80, 96))
    edge = np.array(placement.outline) * [96, 80]
    assert edge[0] == pytest.approx(corner, abs=1e-3)
    assert [*edge.min(0), *edge.max(0)] == pytest.approx([20, 10, 84, 74], abs=1e-3)
    assert placement.words == words
    c = placement.coordinates(page, KEY.pattern).flatten().numpy()
    assert c @ KEY.direction / np.linalg.norm(c) > max(value, 0.47)  # What lies beside the canvas is left out.


def test_cropped_noise_is_found_at_its_magnification(noise):
    cropped = noise[:, 6:58, 4:56]
    search = AlignmentSearch((64, 64), angle_step=90, scale_range=(0.97, 1.03))
    ((value, alignment),) = best(search, cropped, KEY)
    assert alignment.scale == 1.0
    assert corrected(hypercone_log10_p(value, 3184), search.count) < -50


def test_unmarked_noise_is_not_found_at_any_alignment():
    white = torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(9))
    search = AlignmentSearch()
    ((value, _),) = best(search, white, KEY)
    assert corrected(hypercone_log10_p(value, 3184), search.count) > -2


def test_whitening_levels_places_and_frequencies():
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    stained = noise.clone()
    stained[:, :, :20, :20] *= 30
    stained += 2
    white = whiten(stained)
    assert white[:, :, :20, :20].std() / white[:, :, 40:, 40:].std() < 3
    y, x = torch.meshgrid(torch.fft.fftfreq(64, 1 / 64), torch.fft.fftfreq(64, 1 / 64), indexing="ij")
    power = torch.fft.fft2(white, norm="ortho").abs().square()
    for low, high in ((0.5, 4), (8, 12), (20, 24)):
        ring = (torch.hypot(y, x) > low) & (torch.hypot(y, x) < high)
        assert power[..., ring].mean().item() == pytest.approx(1, abs=0.25)


def test_a_key_that_was_pushed_past_zero_is_found_with_its_sign(noise):
    ((value, alignment),) = best(SMALL, torch.roll(-noise.flip(2), (7, 3), (1, 2)), KEY)
    assert value == pytest.approx(-0.5, abs=1e-4)
    assert alignment.mirror


@pytest.mark.parametrize("kind", ["disc", "square"])
def test_a_canvas_smaller_than_the_pattern_is_searched_for_what_it_holds(kind):
    key = Key.derive(b"a" * 32, "mine", Pattern.of(kind, 31))
    canvas = (40, 48)
    moved = torch.roll(initial_noise(key, seed=0, shape=(4, *canvas))[0].flip(2), (5, -9), (1, 2))
    search = AlignmentSearch(canvas, angle_step=90, scale_range=(0.97, 1.03))
    group = KeyGroup([key]).fitted(canvas)
    spectrum = padded_spectrum(moved, key.pattern)
    ((value, alignment),) = search.best([spectrum], group.planted, group.pattern)[0]
    assert value == pytest.approx(0.5, abs=1e-4)
    assert (alignment.mirror, alignment.angle, alignment.scale) == (True, 0, 1)
    c = search.coordinates(spectrum, group.pattern, alignment).flatten().double().numpy()
    assert c @ group.directions[0] / np.linalg.norm(c) == pytest.approx(value, abs=1e-5)
    samples = search.samples(spectrum, group.pattern, alignment)
    assert search.surface(samples, group.planted[0], group.pattern).max().item() == pytest.approx(value, abs=1e-5)


def test_of_canvases_with_different_dimensions_the_one_that_chance_explains_least_counts():
    """A large cosine on a small canvas is worth less than a smaller one in many dimensions."""
    small, large = Standing(-0.3, IDENTITY, (8, 8), 300), Standing(0.25, IDENTITY, (64, 64), 12000)
    assert closest([small, large]) is large


def test_where_low_frequencies_find_a_key_all_of_them_are_read_and_paid_for():
    """A disc of 16 is found whole, at half the trials; of one of 31 some is found, and the rest adds to it."""
    canvas = Canvas((64, 64))
    small, large = Key.derive(b"a" * 32, "mine", Pattern.of("disc", 16)), Key.derive(b"a" * 32, "mine", Pattern.of())
    found = {}
    for key in (small, large):
        moved = torch.roll(initial_noise(key, seed=0)[0].flip(2), (5, -9), (1, 2))
        stranger = KeyGroup([key, Key.derive(b"b" * 32, "theirs", key.pattern)])
        ((mine, theirs),), allowed = reading.search(moved[None], stranger, [canvas])
        found[key.pattern.radius] = mine, allowed
        assert mine.dimension == key.pattern.dimension
        assert mine.alignment.mirror
        assert corrected(reading.log10_p([theirs])[0], allowed) > -2
    assert found[31][1] == 2 * found[16][1]
    assert found[31][0].cosine == pytest.approx(0.5, abs=1e-4)
    assert reading.log10_p([found[31][0]])[0] < 3 * reading.log10_p([found[16][0]])[0]
