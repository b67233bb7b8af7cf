"""Pictures larger than the model's: the sizes they are read at, and tiles that are laid together."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from PIL import Image

from wmark import Detector, Keyring, Pattern
from wmark.detectors.geometry import fit
from wmark.detectors.pyramid import AREAS, Levels, bounded, field, sizes, starts
from wmark.images import to_pixels
from wmark.inversion.chain import Recovered

NATIVE = (512, 512)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ((512, 512), ()),
        ((500, 600), ()),
        ((912, 512), ((912, 512),)),  # A story of 9:16.
        ((1024, 1024), ((1024, 1024),)),
        ((1600, 2560), ((800, 1280), (1600, 2560))),
        ((589, 643), ((592, 640),)),
    ],
)
def test_a_larger_picture_is_read_at_its_own_size_and_at_halves_of_it(image, found):
    assert sizes(image, NATIVE, 8) == found
    assert all(side % 8 == 0 for size in found for side in size)


def test_what_is_larger_than_is_looked_at_is_reduced():
    assert bounded((1000, 900), NATIVE, AREAS) == (1000, 900)
    height, width = bounded((6000, 8000), NATIVE, AREAS)
    assert height * width <= AREAS * 512 * 512 < (height + 2) * (width + 2)
    assert height / width == pytest.approx(0.75, abs=0.001)


def test_tiles_cover_a_side_and_overlap():
    for side in (96, 97, 180, 320):
        begun = list(starts(side, 96))
        assert (begun[0], begun[-1]) == (0, side - 96)
        assert all(0 < after - before <= 80 for before, after in pairwise(begun))


def test_noise_of_tiles_is_laid_together_as_that_of_the_whole():
    pixels = torch.randint(0, 256, (3, 512, 1040), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = []

    def recover(images):
        seen.append(tuple(images.shape))
        noise = torch.nn.functional.avg_pool2d(images.float(), 8)
        return Recovered(noise, 2 * noise, ("in tiles",))

    whole = recover(pixels[None])
    found = field(recover, pixels, NATIVE, 8)
    assert torch.equal(found.noise, whole.noise)
    assert torch.equal(found.reading, whole.reading)
    assert found.fallbacks == ("in tiles",)
    assert {shape[2:] for shape in seen[1:]} == {(512, 768)}


def test_a_level_is_made_when_it_is_asked_for():
    picture = Image.new("RGB", (1024, 600), (200, 100, 50))
    levels = Levels.of(to_pixels(picture), (304, 512), ((600, 1024),))
    assert torch.equal(levels.whole, to_pixels(fit(picture, (304, 512))))
    assert levels.at((304, 512)) is levels.whole
    assert levels.at((600, 1024)) is levels.pixels


def test_large_pictures_are_kept_for_keys_with_a_pilot_alone(model):
    page = Image.new("RGB", (1600, 1200), "grey")
    plain = Keyring(bytes(32), Pattern.of()).add("one")
    piloted = Keyring(bytes(32), Pattern.of("square", strength=0.4), pilot=0.3).add("one")
    for key, options, shape in (
        (plain, {}, (3, 384, 512)),
        (piloted, {}, (3, 1200, 1600)),
        (piloted, {"align": "off"}, (3, 384, 512)),
    ):
        assert Detector(model, key, **options).pixels(page).shape == shape
    huge = Detector(model, piloted).pixels(page.resize((6400, 4800)))
    assert huge.shape[1] * huge.shape[2] <= AREAS * 512 * 512
