from __future__ import annotations

import numpy as np
import pytest
import torch

import wmark

FEW = wmark.Sampling(steps=2, guidance_scale=2.0)
PROMPTS = ["a blue sea wallpaper", "a red leaf wallpaper", "a green tree wallpaper"]


def pixels(marked):
    return np.asarray(marked.image).astype(int)


def test_images_do_not_depend_on_their_batch(model, ring):
    together = list(wmark.embed(model, ring.key("one"), PROMPTS, seed=1, sampling=FEW, batch_size=3))
    (alone,) = wmark.embed(model, ring.key("one"), PROMPTS[2:], seed=3, sampling=FEW)
    assert np.abs(pixels(together[2]) - pixels(alone)).max() <= 2
    assert [marked.record["seed"] for marked in together] == [1, 2, 3]


def test_one_text_is_one_prompt(model, ring):
    (alone,) = wmark.embed(model, ring.key("one"), "sunset", seed=3, sampling=FEW)
    (listed,) = wmark.embed(model, ring.key("one"), ["sunset"], seed=3, sampling=FEW)
    assert alone.record["prompt"] == "sunset"
    assert np.array_equal(pixels(alone), pixels(listed))


def test_records_say_how_an_image_was_made(model, ring):
    (marked,) = wmark.embed(model, ring.key("one"), "sunset", seed=np.uint32(3), sampling=FEW)
    record = marked.record
    assert record["seed"] == 3
    assert record["sampler"] == {"steps": 2, "guidance_scale": 2.0, "scheduler": "ddim", "negative_prompt": ""}
    assert (record["keyring"], record["key_id"]) == (ring.fingerprint, "one")
    assert record["size"] == [512, 512]


def test_images_without_a_seed_differ_and_can_be_made_again(model, ring):
    key = ring.key("one")
    first, second = wmark.embed(model, key, ["sunset"] * 2, sampling=FEW)
    assert first.record["seed"] != second.record["seed"]
    assert np.abs(pixels(first) - pixels(second)).mean() > 1
    (again,) = wmark.embed(model, key, "sunset", seed=second.record["seed"], sampling=FEW)
    assert np.abs(pixels(again) - pixels(second)).max() <= 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"prompts": ["a"], "seed": [1, 2]}, "2 seeds do not fit 1 images"),
        ({"prompts": "a", "seed": 2**64}, "2\\^64"),
        ({"prompts": [b"sunset"]}, "b'sunset' is not a text"),
        ({"prompts": b"sunset"}, "is not a text"),
        ({"prompts": ["half \ud83d"]}, "is not a text"),
        ({"prompts": 5}, "prompt 5 is not a text"),
        ({"prompts": None}, "prompt None is not a text"),
        ({"prompts": ["a"], "size": (500, 512)}, "multiple of 8"),
        ({"prompts": ["a"], "size": "512x512"}, "'512x512' is not a height and a width"),
        ({"prompts": ["a"], "size": 512}, "512 is not a height and a width"),
        ({"prompts": ["a"], "size": (8192, 8192)}, "8192x8192 is more than 16 times the 512x512"),
        ({"prompts": ["a"], "batch_size": -1}, "batches of -1 images"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_call(model, ring, arguments, expected):
    with pytest.raises(wmark.WmarkError, match=expected):
        wmark.embed(model, ring.key("one"), **arguments)


def test_the_name_of_a_key_is_no_key(model, ring):
    for key in ("one", ring, [ring.key("one")], None):
        with pytest.raises(wmark.ArgumentError, match="is no key: take one from a keyring"):
            wmark.embed(model, key, "a")
        with pytest.raises(wmark.ArgumentError, match="is no key: take one from a keyring"):
            wmark.initial_noise(key)


@pytest.mark.parametrize(
    "settings",
    [{"steps": 2.5}, {"steps": "4"}, {"steps": float("nan")}, {"guidance_scale": "7"}, {"guidance_scale": float("nan")},
     {"scheduler": ["ddim"]}, {"negative_prompt": 5}],
)  # fmt: skip
def test_what_is_no_way_of_sampling_is_refused(settings):
    with pytest.raises(wmark.ModelError, match=r"steps|guidance|scheduler|negative"):
        wmark.Sampling(**settings)


def test_numbers_of_every_library_are_recorded(model, ring, tmp_path):
    sampling = wmark.Sampling(steps=np.int64(1), guidance_scale=np.float32(1))
    (marked,) = wmark.embed(model, ring.key("one"), "a", seed=np.int64(5), sampling=sampling)
    marked.save(tmp_path / "a.png")
    assert '"steps": 1,' in (tmp_path / "a.png.json").read_text()


def test_images_are_handed_over_in_the_gradient_mode_of_the_caller(model, ring):
    images = wmark.embed(model, ring.key("one"), ["", ""], sampling=FEW, batch_size=1)
    with torch.enable_grad():
        next(images)
        assert torch.is_grad_enabled()
