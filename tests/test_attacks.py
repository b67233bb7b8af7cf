"""Damages: by name, reproducible, ordinary ones as they always were, and maps that agree with the pixels."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter

from wmark import WmarkError
from wmark.attacks import KINDS, NAMED, Damage, damaged, draw_geometric, draw_photometric, find_damage, sweep, warp
from wmark.attacks.warping import warped
from wmark.benchmarks.quality import psnr, ssim
from wmark.images import to_image, to_tensor
from wmark.models.latent_diffusion import LatentDiffusion

DOCS = Path(__file__).parent.parent / "docs"
PLAIN = [kind for kind in KINDS.values() if not kind.needs_model]
MOVING = [damage for kind in KINDS.values() if kind.moves for damage in sweep(kind)]


def smooth(width, height):
    """A colourful picture without fine detail."""
    seeds = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(seeds).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def picture():
    return smooth(120, 96)


@pytest.fixture(scope="module")
def small(small_pipeline):
    return LatentDiffusion.from_pipeline(small_pipeline("epsilon"), "small")


def difference(one, other):
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def as_jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer).convert("RGB")


def with_noise(image, rng):
    pixels = np.asarray(image) / 255 + rng.normal(0, 0.1, (image.height, image.width, 3))
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def with_a_random_turn(image, rng):
    return image.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC)


def with_a_random_crop(image, rng):
    width, height = round(image.width * 0.8), round(image.height * 0.8)
    x, y = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
    return image.crop((x, y, x + width, y + height)).resize(image.size, Image.Resampling.LANCZOS)


ORDINARY = {
    "none": lambda image, rng: image,
    "jpeg-25": lambda image, rng: as_jpeg(image),
    "blur-4": lambda image, rng: image.filter(ImageFilter.GaussianBlur(4)),
    "noise-0.1": with_noise,
    "brightness-2": lambda image, rng: ImageEnhance.Brightness(image).enhance(2),
    "rotation-75": lambda image, rng: image.rotate(75, Image.Resampling.BICUBIC),
    "rotation-random": with_a_random_turn,
    "mirror": lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "crop-80%": with_a_random_crop,
}


@pytest.mark.parametrize("name", NAMED)
def test_ordinary_damages_are_what_results_were_measured_with(picture, name):
    for seed in (0, 4):
        expected = ORDINARY[name](picture, np.random.default_rng(seed))
        assert np.array_equal(damaged(name, picture, seed), expected)
        assert np.array_equal(damaged(NAMED[name], picture, seed), expected)


def test_there_are_sixty_kinds_and_each_is_described():
    assert len(KINDS) >= 60
    for kind in KINDS.values():
        assert kind.about and len(kind.about) < 110
        assert (kind.unit is None) == (not kind.sweep)
        assert all(kind.checked(f"{strength:g}") == strength for strength in kind.sweep)


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.name)
def test_damages_are_reproducible_change_pixels_and_take_any_size(kind, picture):
    for damage in sweep(kind):
        once, again, other = (damage(picture, seed) for seed in (1, 1, 2))
        assert np.array_equal(once, again)
        assert once.mode == other.mode == "RGB"
        assert once.size != picture.size or not np.array_equal(once, picture)
        if kind.aligned and kind.name != "rescale":
            assert once.size == picture.size
    for strength in kind.span if kind.unit and kind.name != "social" else [kind.middle]:
        for size in ((1, 1), (3, 40)):
            assert Damage(((kind, strength),))(smooth(*size), 0).mode == "RGB"


@pytest.mark.parametrize("damage", MOVING, ids=lambda damage: damage.name)
def test_a_map_says_where_the_pixels_come_from(damage):
    picture = smooth(160, 128)
    moved = damage(picture, 5)
    grid = damage.warp((128, 160), 5).grid(moved.height, moved.width)
    by_map = to_image(warp(to_tensor(picture)[None], grid, fill=-1, mode="bicubic")[0])
    assert moved.size == picture.size or damage.name.startswith(("crop-shape", "quarter-turn"))
    assert difference(moved, by_map) < 2.5
    assert difference(moved.resize(picture.size), picture) > difference(moved, by_map)


def test_one_map_bends_a_picture_and_the_noise_behind_it():
    coarse = torch.nn.functional.interpolate(torch.randn(1, 4, 6, 6), size=(64, 64), mode="bicubic")
    fine = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")
    for name in ("rotation:20", "perspective:10", "elastic:16", "crop:70"):
        moved = find_damage(name).warp((512, 512), 3)
        small = warp(coarse, moved.grid(64, 64))
        large = torch.nn.functional.avg_pool2d(warp(fine, moved.grid(512, 512)), 8)
        assert (small - large).square().mean() < 0.02 * large.square().mean()


@pytest.mark.parametrize("size", [(96, 128), (70, 131)])
def test_what_is_computed_every_few_pixels_is_what_all_of_them_say(size):
    turned, bent = (find_damage(name).warp(size, 1) for name in ("rotation:30", "elastic:8"))
    assert torch.allclose(turned.grid(*size, every=4), turned.grid(*size), atol=1e-5)
    assert (bent.grid(*size, every=4) - bent.grid(*size)).abs().max() * 64 < 0.2


def test_a_chain_is_one_damage_and_one_map(picture):
    chain = find_damage("rotation:30+jpeg:90+stretch:1.5")
    assert chain.name == "rotation:30+jpeg:90+stretch:1.5" and chain.file_name == "rotation-30+jpeg-90+stretch-1.5"
    assert [kind.name for kind, _ in chain.steps] == ["rotation", "jpeg", "stretch"]
    assert not chain.aligned and find_damage("jpeg-25+noise:0.1").aligned
    by_map = warped(picture, chain.warp((96, 120), 0))
    assert (
        difference(chain(picture, 0), by_map)
        < 4
        < difference(find_damage("stretch:1.5+rotation:30")(picture, 0), by_map)
    )
    assert find_damage("none+jpeg-25").name == "jpeg:25"


def test_a_chain_draws_anew_for_each_of_its_steps(picture):
    twice, once = find_damage("noise:0.1+noise:0.1")(smooth(120, 96), 0), find_damage("noise:0.2")(picture, 0)
    assert psnr(picture, twice) == pytest.approx(psnr(picture, once) + 3, abs=0.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sledgehammer", "unknown damage 'sledgehammer'"),
        ("rotatoin:7", "choose one like rotation"),
        ("", "unknown damage ''"),
        ("jpeg:25+", "unknown damage ''"),
        ("jpeg:0", "strength '0' of the damage jpeg is not a whole number from 1 to 100 .quality."),
        ("jpeg:25.5", "not a whole number"),
        ("blur:nan", "not a number from 0.1 to 64"),
        ("noise:much", "'much'"),
        ("noise:-1", "not a number from 0 to 2"),
        ("mirror:3", "mirror has no strength"),
    ],
)
def test_what_is_no_damage_is_one_sentence(name, words):
    with pytest.raises(WmarkError, match=words):
        find_damage(name)


def test_a_name_alone_takes_the_middle_strength():
    assert find_damage("jpeg").name == "jpeg:25"
    assert find_damage("mirror").name == "mirror"


def test_damages_drawn_for_training(picture):
    rng = np.random.default_rng(0)
    for draw, moving in ((draw_photometric, False), (draw_geometric, True)):
        drawn = [draw(rng) for _ in range(200)]
        assert len({damage.name for damage in drawn}) > 100
        for damage in drawn:
            ((kind, strength),) = damage.steps
            assert bool(kind.moves) == moving and not kind.needs_model and kind.category not in ("layout", "chain")
            assert strength is None or kind.training[0] <= strength <= kind.training[1]
            assert find_damage(damage.name) == damage
            if not moving:
                assert damage(picture, 0).size == picture.size
    again = np.random.default_rng(0)
    assert draw_photometric(again).name == draw_photometric(np.random.default_rng(0)).name


def test_regeneration_goes_through_the_model(small):
    picture = smooth(192, 192)
    with torch.no_grad():
        through = to_image(small.decode(small.encode(to_tensor(picture)[None]))[0])
    assert np.array_equal(damaged("autoencoder:1", picture, 0, small), through)
    little, again, much = (damaged(f"regeneration:{t}", picture, 0, small) for t in (0.05, 0.05, 0.6))
    assert np.array_equal(little, again)
    assert difference(little, through) < difference(much, through)
    assert not np.array_equal(damaged("regeneration:0.05", picture, 1, small), little)
    assert damaged("hires-fix:0.2", picture.crop((0, 0, 100, 90)), 0, small).size == (150, 135)
    assert damaged("autoencoder", picture.crop((0, 0, 100, 90)), 0, small).size == (100, 90)
    with pytest.raises(WmarkError, match="regeneration needs a model"):
        damaged("jpeg:30+regeneration:0.1", picture, 0)


def test_picture_quality():
    picture = smooth(64, 64)
    assert psnr(picture, picture) == float("inf") and ssim(picture, picture) == pytest.approx(1)
    darker = Image.fromarray(np.asarray(picture.point(lambda v: max(v, 10))) - np.uint8(10))
    assert psnr(picture.point(lambda v: max(v, 10)), darker) == pytest.approx(20 * np.log10(25.5))
    noisy = damaged("noise:0.1", picture, 0)
    assert ssim(picture, noisy) < ssim(picture, damaged("noise:0.02", picture, 0)) < 1


def test_the_page_of_damages_lists_them_all():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*?) \| (.*?) \|", (DOCS / "attacks.md").read_text(), re.MULTILINE)
    stated = {name: (span, defaults) for name, span, defaults in rows if name in KINDS}
    for kind in KINDS.values():
        low, high = kind.span
        span = f"{low:g} to {high:g} {kind.unit}" if kind.unit else ""
        assert stated[kind.name] == (span, ", ".join(f"{strength:g}" for strength in kind.sweep))
