"""`wmark edit` and `wmark restore` as a user meets them."""

import numpy as np
import pytest
from PIL import Image

from wmark.models import registry
from wmark.models.restorer import FILE_NAME, Injector, Restorer


@pytest.fixture(scope="module")
def folder(small_pipeline, tmp_path_factory):
    """A small model with random weights, and a restorer that knows nothing."""
    folder = tmp_path_factory.mktemp("models") / "small"
    small_pipeline("v_prediction").save_pretrained(folder)
    Restorer(Injector(4)).save(folder / FILE_NAME, registry.load_model(folder, device="cpu").fingerprint)
    return folder


@pytest.fixture
def pictures(drawing, tmp_path):
    """A picture of another size than the model's, and a mask."""
    drawing((300, 240)).save(tmp_path / "photo.png")
    mask = np.zeros((240, 300), np.uint8)
    mask[80:160, 100:200] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return mask > 0


def test_an_edit_leaves_the_rest_as_it_was(run, folder, pictures, tmp_path):
    command = ["edit", "photo.png", "--mask", "mask.png", "--prompt", "a red leaf", "--model", folder, "--steps", 3]
    result = run(*command, "-o", "out.png")
    assert result.exit_code == 0, result.output
    first, before, after = result.stdout.splitlines()
    assert first.startswith("out.png  decoded background ") and "before" in before and "after" in after
    old, new = (np.asarray(Image.open(tmp_path / name)) for name in ("photo.png", "out.png"))
    changed = (old != new).any(axis=-1)
    assert new.shape == old.shape and changed[pictures].mean() > 0.9
    assert not changed[:60].any() and not changed[:, :80].any()
    assert b"compositeWithTrainedAlgorithmicMedia" in (tmp_path / "out.png").read_bytes()
    assert run(*command, "-o", "out.png").exit_code == 2


@pytest.mark.parametrize(("colour", "said"), [(0, "all black"), (255, "all white")])
def test_masks_that_say_nothing_are_refused(run, sentence, folder, pictures, tmp_path, colour, said):
    Image.new("L", (300, 240), colour).save(tmp_path / "plain.png")
    command = ["edit", "photo.png", "--mask", "plain.png", "--prompt", "x", "--model", folder, "-o", "out.png"]
    assert said in sentence(run(*command))
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("given", [["--mask", "mask.png"], ["--ratio", 0.25]])
def test_a_picture_is_restored_and_what_is_known_is_kept(run, folder, pictures, tmp_path, given):
    result = run("restore", "photo.png", *given, "--model", folder, "-o", "out.png")
    assert result.exit_code == 0, result.output
    first, before, after = result.stdout.splitlines()
    assert "of the pixels were known" in first and "before" in before and "after" in after
    assert Image.open(tmp_path / "out.png").width == 96


def test_a_model_without_a_restorer_is_named(run, sentence, pictures):
    line = sentence(run("restore", "photo.png", "--ratio", 0.5, "--model", "tiny-flow", "-o", "out.png"))
    assert "tiny-flow has no restorer" in line and "wmark train restorer tiny-flow" in line


def test_the_embedded_model_brings_its_restorer():
    restorer = registry.load_restorer(registry.load_model("tiny", device="cpu", tuned=False))
    curve = restorer.about["curve"]
    assert curve[-1]["restored_db"] < curve[-1]["filled_db"] and restorer.net.out.weight.abs().max() > 0


@pytest.mark.parametrize("given", [[], ["--mask", "mask.png", "--ratio", 0.5]])
def test_what_is_gone_is_said_once(run, sentence, pictures, given):
    assert "--mask, where the picture is gone, or --ratio" in sentence(
        run("restore", "photo.png", *given, "-o", "o.png")
    )
