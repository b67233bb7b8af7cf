"""What a picture looked like: found again among others, told from a transplant, whatever happened to it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from wmark.attacks import find_damage
from wmark.attacks.warping import affine
from wmark.ledger.likeness import alike, fingerprint, thumbnail
from wmark.ledger.registration import Keep, row_of
from wmark.ledger.row import Row
from wmark.ledger.transplant import is_registered
from wmark.watermark.record import MarkedImage


def painted(seed, size=(384, 384)):
    """Clouds of colour with detail of every size."""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3))
    for side in (3, 6, 12, 24, 48):
        layer = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        total += (np.asarray(layer.resize(size[::-1], Image.Resampling.BICUBIC), dtype=float) - 127) * side**-0.5
    return Image.fromarray((127 + total * 0.8).clip(0, 255).astype(np.uint8))


def row(image, number=1):
    return Row(number, "studio", "", fingerprint=fingerprint(image))


DAMAGES = [
    "none", "jpeg:10", "blur:4", "noise:0.2", "brightness:2", "contrast:0.5", "grey", "sepia", "hue:180", "invert",
    "solarize:128", "posterize:2", "equalise", "swap-channels:2", "cutout:25", "half:30", "sticker:35", "pixelate:8",
    "text:25",
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_picture_is_the_registered_one(damage):
    picture = painted(1)
    found = is_registered(row(picture), find_damage(damage)(picture, seed=3))
    assert found.same, found


@pytest.mark.parametrize(("damage", "back"), [
    ("mirror", [[-1, 0], [0, 1]]), ("quarter-turn:1", [[0, 1], [-1, 0]]), ("stretch:1.5", [[1.5, 0], [0, 1]]),
])  # fmt: skip
def test_a_turned_picture_is_the_registered_one_where_it_was_brought_back(damage, back):
    picture = painted(2)
    turned = find_damage(damage)(picture, seed=0)
    found = is_registered(row(picture), turned, affine(back))
    assert found.same
    assert is_registered(row(picture), turned).same is False
    assert found.compared == pytest.approx(2 / 3 if damage.startswith("stretch") else 1, abs=0.05)


def textured(seed):
    """As a maze or a starry sky: nothing but detail of a cell's size."""
    squares = np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return Image.fromarray(squares).resize((384, 384), Image.Resampling.NEAREST)


def test_fine_detail_is_the_registered_one_where_its_place_is_known_to_a_few_pixels():
    """And another of its kind is not, wherever it is moved to."""
    picture, off = textured(1), affine([[1.008, 0.006], [-0.006, 1.008]], (0.012, -0.01))
    assert is_registered(row(picture), picture, off).same
    assert is_registered(row(picture), find_damage("jpeg:10")(picture, seed=1), off).same
    assert is_registered(row(picture), textured(2), off).same is False


def test_another_picture_is_none_of_it_even_with_its_composition():
    picture, other = painted(3), painted(4)
    assert is_registered(row(picture), other).same is False
    mixed = Image.blend(picture, other, 0.5)
    assert is_registered(row(picture), mixed).same is False


def test_where_there_is_nothing_to_tell_by_nothing_is_told():
    picture = painted(5)
    assert is_registered(row(picture), Image.new("RGB", (256, 256), "white")).same is None
    assert is_registered(row(picture), Image.new("RGB", (256, 256), "#446688")).same is None
    assert is_registered(row(picture), picture, affine([[1, 0], [0, 1]], (5, 0))).same is None
    assert is_registered(Row(1, "studio", ""), picture) is None


def test_a_picture_of_few_colours_is_told_from_another_and_not_from_a_nearly_like_one():
    picture = painted(10)
    for damage in ("posterize:1", "posterize:2", "threshold:128"):
        few = find_damage(damage)
        assert is_registered(row(picture), few(picture, seed=0), log10_p=-400.0).same is not False
        assert is_registered(row(picture), few(painted(11), seed=0), log10_p=-400.0).same is False
    nearly = Image.blend(picture, painted(11), 0.13)
    assert is_registered(row(picture), nearly, log10_p=-400.0).same is False
    assert is_registered(row(picture), find_damage("posterize:1")(nearly, seed=0), log10_p=-400.0).same is None


def test_flat_parts_of_another_picture_are_no_likeness():
    """Six tenths of one colour are a function of anything."""
    other = painted(6)
    other.paste("#88aacc", (0, 0, 384, 240))
    assert is_registered(row(painted(7)), other).same is False
    assert is_registered(row(other), painted(7)).same is False


def test_a_picture_is_found_among_others_mirrored_negative_and_small():
    pictures = {number: painted(number) for number in range(20)}
    rows = [row(picture, number) for number, picture in pictures.items()]
    for change in ("none", "mirror", "invert", "jpeg:10", "quarter-turn:3", "downscale:4", "hue:90"):
        found = alike(iter(rows), find_damage(change)(pictures[7], seed=0), limit=5)
        assert [found_row.number for found_row, _ in found][:1] == [7], change
    assert alike(iter(rows), painted(99), limit=5) == []
    assert alike(iter([]), painted(99), limit=5) == []


def test_a_row_says_what_the_record_says_and_keeps_no_more_than_asked(seals):
    record = {
        "model": {"name": "tiny", "fingerprint": "f" * 16}, "sampler": {"steps": 5}, "prompt": "a sea", "seed": 1,
    }  # fmt: skip
    marked = MarkedImage(painted(1), record)
    plain = row_of(marked, 5, "studio", "ab" * 32, seals)
    assert (plain.model, plain.model_fingerprint, plain.sampler) == ("tiny", "f" * 16, {"steps": 5})
    assert (plain.width, plain.height, len(plain.fingerprint)) == (384, 384, 3072)
    assert plain.prompt is None and plain.thumbnail is None and "a sea" not in plain.content.decode()
    assert plain.prompt_hash == seals.prompt_hash("studio", "a sea")
    full = row_of(marked, 5, "studio", "ab" * 32, seals, Keep(prompt=True, thumbnail=True))
    assert full.prompt == "a sea" and full.thumbnail == thumbnail(marked.image)


def test_more_likeness_is_asked_the_better_a_name_is_read():
    picture = painted(8)
    alike = Image.blend(picture, painted(9), 0.1)
    found = [is_registered(row(picture), alike, log10_p=log10_p) for log10_p in (-20.0, -200.0, -2000.0)]
    assert [one.threshold for one in found] == [0.985, 0.99725, 0.999725]
    assert [one.same for one in found] == [True, True, False], found[0].score
    for damage in ("jpeg:25", "brightness:0.5", "vignette:70", "fade:70", "hue:90"):
        assert is_registered(row(picture), find_damage(damage)(picture, seed=0), log10_p=-1000.0).same, damage
    half = picture.crop((picture.width // 4, 0, picture.width * 3 // 4, picture.height))
    seen = is_registered(row(picture), half, affine([[2, 0], [0, 1]]), log10_p=-300.0)
    assert (seen.threshold, seen.same) == (pytest.approx(1 - 0.55 / 600, abs=1e-5), True)
