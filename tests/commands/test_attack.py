import numpy as np
import pytest
from PIL import Image

from wmark.attacks import KINDS, damaged


@pytest.fixture
def picture(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    image.save(tmp_path / "picture.png")
    return image


def test_each_damage_becomes_a_file(run, picture):
    done = run("attack", "picture.png", "jpeg-25", "noise:0.2", "jpeg:30+rotation:7", "-o", "out/further", "--seed", 3)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "out/further/picture-jpeg-25.png  jpeg:25",
        "out/further/picture-noise-0.2.png  noise:0.2",
        "out/further/picture-jpeg-30+rotation-7.png  jpeg:30+rotation:7",
    ]
    for line in done.stdout.splitlines():
        path, name = line.split("  ")
        with Image.open(path) as written:
            assert np.array_equal(written, damaged(name, picture, 3)) and not written.info


def test_without_names_every_kind_is_done(run, picture, tmp_path, monkeypatch):
    monkeypatch.setattr("wmark.attacks.KINDS", {name: KINDS[name] for name in ("jpeg", "mirror", "regeneration")})
    assert run("attack", "picture.png", "-o", "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"picture-jpeg-{quality}.png" for quality in (10, 25, 5, 50, 75)),
        "picture-mirror.png",
    ]


def test_files_are_overwritten_on_demand_only(run, picture, sentence, tmp_path):
    arguments = ("attack", "picture.png", "mirror", "blur:2", "-o", "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "picture-blur-2.png").write_text("mine")
    assert "--force" in sentence(run(*arguments))
    assert not (tmp_path / "out" / "picture-mirror.png").exists()
    assert run(*arguments, "--force").exit_code == 0
    assert Image.open(tmp_path / "out" / "picture-blur-2.png").size == picture.size


def test_the_list_has_units_ranges_and_defaults(run):
    listed = run("attack", "--list")
    assert listed.exit_code == 0
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert KINDS.keys() <= lines.keys()
    assert "1 to 100 quality; 5, 10, 25, 50, 75" in lines["jpeg"]
    assert "jpeg-25 = jpeg:25" in lines["also:"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("picture.png", "bang", "-o", "out"), "wmark attack --list"),
        (("picture.png", "jpeg:500", "-o", "out"), "1 to 100"),
        (("absent.png", "jpeg", "-o", "out"), "absent.png"),
        (("picture.png", "jpeg", "-o", "picture.png"), "picture.png"),
        (("picture.png", "jpeg"), "--output"),
        (("picture.png", "regeneration", "-o", "out", "--model", "absent"), "absent"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, picture, sentence, arguments, words):
    assert words in sentence(run("attack", *arguments))
