"""`wmark embed --image`: a picture that exists is marked, or one sentence says why not."""

import json

import pytest
from PIL import Image

import wmark
from wmark.benchmarks.quality import psnr


@pytest.fixture
def photograph(drawing, tmp_path):
    drawing((320, 240)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_photograph_is_marked_at_its_own_size_and_found(run, photograph, tmp_path):
    result = run("embed", "--image", photograph, "-o", "out.png", "--min-psnr", 36, "--key", "one")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("out.png  key one  PSNR 36.") and "SSIM 0.9" in result.stdout
    marked, record = Image.open(tmp_path / "out.png"), json.loads((tmp_path / "out.png.json").read_text())
    assert marked.size == (320, 240) and 36 <= psnr(Image.open(photograph), marked) < 36.3
    assert record["source"]["name"] == "photo.png" and record["psnr"] >= 36 and record["way"] == "direct"
    assert b"algorithmicallyEnhanced" in (tmp_path / "out.png").read_bytes()
    assert b"trainedAlgorithmicMedia" not in (tmp_path / "out.png").read_bytes()
    assert run("verify", "out.png", "--align", "off").exit_code == 0


def test_what_cannot_be_had_together_is_refused(run, sentence, photograph, tmp_path):
    line = sentence(run("embed", "--image", photograph, "-o", "out.png", "--min-psnr", 60, "--way", "spectrum"))
    assert "cannot carry the mark at 60" in line and "--min-psnr" in line
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--prompt for pictures to be generated, or --image"),
        (["--image", "photo.png", "--prompt", "a sea"], "--prompt for pictures to be generated, or --image"),
        (["--image", "photo.png", "--steps", 4], "leave --steps out"),
        (["--image", "photo.png", "--seed", 1], "leave --seed out"),
        (["--image", "missing.png"], "'missing.png' does not exist"),
        (["--image", "photo.png", "--min-psnr", 5], "20<=x<=60"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, sentence, photograph, options, said):
    assert said in sentence(run("embed", "-o", "out.png", *options))


def test_what_is_in_the_way_stays(run, sentence, photograph, tmp_path):
    (tmp_path / "out.png").write_bytes(b"precious")
    assert "exists already" in sentence(run("embed", "--image", photograph, "-o", "out.png"))
    assert (tmp_path / "out.png").read_bytes() == b"precious"


def test_a_model_is_sampled_as_it_is_meant_to_be(run, tmp_path, monkeypatch):
    from dataclasses import replace

    from wmark.models import registry

    loaded = registry.load_model("tiny", dtype="fp32", device=None)
    usual = replace(loaded, usual=wmark.Sampling(1, 1.0))
    monkeypatch.setattr(registry, "load_model", lambda *arguments, **options: usual)
    assert run("embed", "--prompt", "a blue sea wallpaper", "-o", "out.png").exit_code == 0
    sampler = json.loads((tmp_path / "out.png.json").read_text())["sampler"]
    assert (sampler["steps"], sampler["guidance_scale"]) == (1, 1.0)


def test_a_photograph_gets_a_name_of_its_own(run, photograph, tmp_path, monkeypatch):
    monkeypatch.setenv("WMARK_KEYRING", str(tmp_path / "named.json"))
    assert run("keys", "create", "--id", "unused").exit_code == 0
    for name in ("first", "second"):
        result = run("embed", "--image", photograph, "-o", f"{name}.png", "--min-psnr", 36)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{name}.png  image ")
    records = [json.loads((tmp_path / f"{name}.png.json").read_text()) for name in ("first", "second")]
    assert records[0]["number"] != records[1]["number"] and records[0]["log10_p"] < -6
