import json

import pytest
import torch

import wmark
from wmark.watermark.embed import record_path, recorded_model


@pytest.fixture
def image(marked, ring):
    from wmark.watermark.embed import MarkedImage

    return MarkedImage(marked, {"schema": "wmark-record/1", "model": {"name": "tiny", "fingerprint": "f"}})


def test_saving_writes_image_and_record(image, tmp_path):
    path = image.save(tmp_path / "a.png")
    record = json.loads(record_path(path).read_text())
    assert record["image"] == "a.png"
    assert len(record["image_sha256"]) == 64
    assert recorded_model(path) == {"name": "tiny", "fingerprint": "f"}


def test_saving_never_overwrites_unasked(image, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(wmark.ImageError, match="exists already"):
        image.save(path)
    assert path.read_bytes() == b"mine"
    assert not record_path(path).exists()
    image.save(path, overwrite=True)
    assert path.read_bytes() != b"mine"


def test_a_record_without_its_image_is_replaced(image, tmp_path):
    path = image.save(tmp_path / "a.png")
    path.unlink()
    image.save(path)
    assert path.exists()


def test_unreadable_records_are_no_record(tmp_path):
    assert recorded_model(tmp_path / "none.png") is None
    record_path(tmp_path / "a.png").write_text("{")
    assert recorded_model(tmp_path / "a.png") is None


def test_images_do_not_depend_on_their_batch(model, ring):
    import numpy as np

    prompts = ["a blue sea wallpaper", "a red leaf wallpaper", "a green tree wallpaper"]
    together = [m.image for m in wmark.embed(model, ring.key("one"), prompts, seed=1, steps=2, batch_size=3)]
    (alone,) = wmark.embed(model, ring.key("one"), prompts[2:], seed=3, steps=2)
    assert np.abs(np.asarray(together[2]).astype(int) - np.asarray(alone.image)).max() <= 2


def test_seeds_must_fit_the_prompts(model, ring):
    with pytest.raises(ValueError, match="seeds"):
        list(wmark.embed(model, ring.key("one"), ["a"], seed=[1, 2]))


def test_images_are_handed_over_in_the_gradient_mode_of_the_caller(model, ring):
    images = wmark.embed(model, ring.key("one"), ["", ""], steps=2, batch_size=1)
    with torch.enable_grad():
        next(images)
        assert torch.is_grad_enabled()
