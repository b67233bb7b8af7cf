"""Pictures that exist, marked: how much is changed, and that the key is then read."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import wmark
from wmark.errors import ArgumentError, KeyringError
from wmark.images import to_tensor
from wmark.inversion.marking.blending import blended, psnr
from wmark.inversion.marking.compression import soft_jpeg
from wmark.inversion.marking.direct import Ascent, direct
from wmark.inversion.marking.regenerated import Regeneration, regenerated
from wmark.inversion.marking.towards import closeness, wanted
from wmark.inversion.marking.ways import WAYS, change_of
from wmark.inversion.whitening import whiten


@pytest.fixture(scope="module")
def small(small_pipeline):
    return wmark.LatentDiffusion.from_pipeline(small_pipeline("v_prediction"), "small")


@pytest.fixture(scope="module")
def key():
    ring = wmark.Keyring(bytes(range(32)), wmark.Pattern.of("disc", 8))
    return ring.add("one")


@pytest.mark.parametrize("least", [30.0, 40.0])
@pytest.mark.parametrize("size", [(96, 96), (150, 110)])
def test_as_much_is_blended_as_the_psnr_allows(least, size, drawing):
    image, change = drawing(size), torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(0))
    found = psnr(to_tensor(blended(image, change, least)), to_tensor(image))
    assert least <= found < least + 0.2


def test_nothing_is_blended_of_no_change(drawing):
    image = drawing((64, 64))
    assert blended(image, torch.zeros(3, 64, 64), 35.0).tobytes() == image.tobytes()


@pytest.mark.parametrize("quality", [30, 75])
def test_soft_compression_is_close_to_that_of_files(quality, drawing):
    image, file = drawing((96, 80)), io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    before, real = to_tensor(image), to_tensor(Image.open(file))
    soft = soft_jpeg(before[None], quality)[0]
    assert psnr(soft, real) > psnr(before, real) + 3


def test_what_compression_rounds_away_has_no_gradient():
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    rows = torch.arange(16)[:, None].expand(16, 16)
    fast, slow = (torch.cos(np.pi * (2 * (rows % 8) + 1) * k / 16).expand(1, 3, 16, 16) for k in (7, 0))
    (slope,) = torch.autograd.grad((soft_jpeg(x, 30) * fast).sum() + (soft_jpeg(x, 30) * slow).sum(), x)
    assert (slope * fast).sum().abs() < 0.1 * (slope * slow).sum().abs()


def turned(model, key, image, way):
    """The change, and how close the reading of the picture stands to the key before and after."""
    change = change_of(way, model, key, image, 30.0)
    pattern, direction = wanted(key, tuple(side // model.downsampling for side in image.shape[1:]))
    with torch.no_grad():
        seen = [whiten(model.encode(x[None])) for x in (image, image + change)]
    return change, *(closeness(noise, pattern, direction).item() for noise in seen)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_changes_a_picture(small, key, way, drawing):
    image = to_tensor(drawing((96, 96)))
    change, before, after = turned(small, key, image, way)
    assert change.shape == image.shape and change.isfinite().all() and change.norm() > 0
    assert way != "direct" or after > before + 0.1


def test_a_marked_spectrum_is_read_again(model, key, drawing):
    _, before, after = turned(model, key, to_tensor(drawing((192, 192))), "spectrum")
    assert after > before + 0.05


def test_more_steps_come_closer_to_the_key(small, key, drawing):
    image = to_tensor(drawing((96, 96)))
    pattern, direction = wanted(key, (24, 24))
    found = []
    for iterations in (1, 12):
        change = direct(small, key, image, 35.0, how=Ascent(iterations=iterations))
        with torch.no_grad():
            found.append(closeness(whiten(small.encode((image + change)[None])), pattern, direction).item())
        assert change.norm() <= 1.001 * 2 * 10 ** (-35 / 20) * image.numel() ** 0.5
    assert found[1] > found[0]


class Pooled:
    """A codec whose latents are means of 4x4 pixels, and a channel of nothing."""

    channels, downsampling, left_inverse = 4, 4, None

    def encode(self, image, note=None, *, tuned=False):
        return torch.nn.functional.pad(torch.nn.functional.avg_pool2d(image, 4), (0, 0, 0, 0, 0, 1))

    def decode(self, latent, note=None):
        return torch.nn.functional.interpolate(latent[:, :3], scale_factor=4.0)


def test_optimising_the_noise_brings_the_regenerated_picture_closer(small, key, drawing):
    image, pooled = to_tensor(drawing((96, 96))), replace(small, codec=Pooled())
    plain, closer = (
        regenerated(pooled, key, image, 30.0, how=Regeneration(3, iterations, 0.05)).norm() for iterations in (0, 15)
    )
    assert closer < 0.9 * plain


def test_a_picture_is_marked_and_judged(small, key, drawing):
    image = drawing((150, 120))
    marked = wmark.mark_picture(small, key, image, min_psnr=33.0)
    assert marked.image.size == image.size and 33 <= marked.psnr < 33.3
    assert marked.verdict.found and marked.verdict.key_id == "one"
    kept = []

    def to_jpeg(picture):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=95, subsampling=0)
        kept.append(Image.open(file).convert("RGB"))
        return kept[-1]

    marked = wmark.mark_picture(small, key, image, min_psnr=33.0, keep=to_jpeg)
    assert psnr(to_tensor(kept[-1]), to_tensor(image)) == pytest.approx(marked.psnr) and marked.psnr >= 33
    with pytest.raises(wmark.ImageError, match="format alone"):
        wmark.mark_picture(small, key, image, min_psnr=58.0, keep=to_jpeg)


def test_a_pilot_is_marked_with_its_key():
    key = wmark.Keyring(bytes(range(32)), wmark.Pattern.of("disc", 8), pilot=0.3).add("one")
    pattern, direction = wanted(key, (24, 24))
    near = [(pattern.lift(part.direction) * direction).sum().item() for part in (key, key.pilot)]
    assert near[0] == pytest.approx(0.857, abs=0.05) and near[1] == pytest.approx(0.514, abs=0.05)


def test_a_picture_larger_than_the_model_is_marked_where_it_is_read(small, drawing):
    key = wmark.Keyring(bytes(range(32)), wmark.Pattern.of("disc", 8), pilot=0.3).add("one")
    image = drawing(tuple(3 * side for side in small.native_size))
    marked = wmark.mark_picture(small, key, image, min_psnr=33.0)
    assert marked.found and marked.image.size == image.size


def test_what_cannot_be_marked_is_refused(small, drawing):
    ring = wmark.Keyring(bytes(range(32)), wmark.Pattern.of("ring", 8))
    with pytest.raises(KeyringError, match="only generated"):
        change_of("direct", small, ring.add("ring"), to_tensor(drawing((96, 96))), 30.0)
    with pytest.raises(ArgumentError, match="'magic'"):
        change_of("magic", small, None, None, 30.0)
