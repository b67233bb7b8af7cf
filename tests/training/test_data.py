"""The recipe's pictures: found, sifted, licensed and captioned."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image
from training_fakes import COPYRIGHT, drawing, train

from wmark.errors import WmarkError
from wmark.models import prompts
from wmark.training import captions
from wmark.training.attribution import notice
from wmark.training.configuration import FOLDER, load_configuration, read_toml
from wmark.training.dataset import Pictures
from wmark.training.licences import UNKNOWN, licence_of
from wmark.training.parts import build_tokenizer
from wmark.training.sources import find_pictures


def test_pictures_are_sifted_deduplicated_and_described(prepared, unpacked):
    pictures = json.loads((prepared / "manifest.json").read_text())["pictures"]
    assert len({picture["hash"] for picture in pictures}) == 11
    by_name = {picture["path"].rpartition("/")[2]: picture for picture in pictures}
    assert "Sea0_large.jpg" in by_name and "Sea0.png" not in by_name
    sea = by_name["Sea3.png"]
    assert (sea["package"], sea["version"], sea["licence"]) == ("budgie-backgrounds", "1.0-1", "CC-BY-4.0")
    assert sea["authors"] == ["Ann Author <ann@example.org>", "Ben Builder"] and sea["subject"] == "sea"
    assert 0 < sum(picture["held_out"] for picture in pictures) < 6
    assert sum(file.stat().st_size for file in prepared.iterdir()) < 1e6


def test_pictures_that_cannot_be_read_here_are_not_left_out_silently(unpacked, tmp_path, monkeypatch):
    shutil.copytree(unpacked, tmp_path, dirs_exist_ok=True)
    (tmp_path / "budgie-backgrounds_1.0-1" / "usr" / "Sea.jxl").write_bytes(b"")
    sources = {"packages": [{"name": "budgie-backgrounds"}], "exclude": []}
    monkeypatch.setattr(Image, "registered_extensions", dict)
    with pytest.raises(WmarkError, match=r"1 pictures are JPEG XL.*wmark\[training\]"):
        find_pictures(sources, tmp_path)


def test_limit_of_a_package(unpacked):
    sources = {"packages": [{"name": "budgie-backgrounds", "limit": 3}], "exclude": []}
    assert len(find_pictures(sources, unpacked)) == 3


def test_terms_and_subjects_stated_for_a_package(unpacked):
    rules = {
        "name": "budgie-backgrounds",
        "drop": ["Sea[12].png", "budgie-backgrounds_1.*/Sea3.png"],
        "licences": [{"files": ["Sea4.png"], "licence": "CC0-1.0", "authors": ["Kay"], "reason": "AUTHORS"}],
        "subjects": {"planet": ["nature/Sea5*", "Sea4.png"]},
        "shortest": 300,
    }
    sources = {"packages": [rules], "exclude": ["*cut-out*"], "licences": ["CC-BY-4.0", "CC0-1.0"]}
    found = {picture.path.rpartition("/")[2]: picture for picture in find_pictures(sources, unpacked)}
    assert not found.keys() & {"Sea1.png", "Sea2.png", "Sea3.png"} and "small.png" in found
    assert (found["Sea4.png"].licence, found["Sea4.png"].authors) == ("CC0-1.0", ["Kay"])
    assert [found[f"Sea{i}.png"].subject for i in (4, 5, 6)] == ["planet", "planet", "sea"]
    assert find_pictures({**sources, "packages": [{**rules, "version": "2.*"}]}, unpacked) == []
    stated = find_pictures({**sources, "licences": ["CC0-1.0"]}, unpacked)
    assert [picture.licence for picture in stated] == ["CC0-1.0"]
    assert find_pictures({**sources, "licences": ["MIT"]}, unpacked) == []


def test_a_picture_is_taken_in_its_largest_size(unpacked, tmp_path):
    """Under the terms of the package that says more of it."""
    shutil.copytree(unpacked, tmp_path, dirs_exist_ok=True)
    large = tmp_path / "high-dpi_2.0" / "usr" / "nature"
    large.mkdir(parents=True)
    drawing(3, (1280, 1040)).save(large / "Sea3@2x.png")
    rules = {"name": "budgie-backgrounds", "larger": {"package": "high-dpi", "suffix": "@2x"}}
    sources = {"packages": [rules], "exclude": ["*cut-out*"], "licences": ["CC-BY-4.0"]}
    (found,) = [picture for picture in find_pictures(sources, tmp_path) if "Sea3" in picture.path]
    assert (found.package, found.version, found.area) == ("high-dpi", "2.0", 1280 * 1040)
    assert (found.licence, found.subject) == ("CC-BY-4.0", "sea")


def test_channels_are_shuffled_where_any_colour_will_do(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    shuffled = {}
    for subject in ("sea", "abstract"):
        told = [picture | {"subject": subject} for picture in manifest["pictures"]]
        (tmp_path / "manifest.json").write_text(json.dumps({"pictures": told}))
        crops, _ = Pictures(tmp_path).crops(30, 64, torch.Generator().manual_seed(0))
        shuffled[subject] = crops
    same = [torch.equal(a, b) for a, b in zip(shuffled["sea"], shuffled["abstract"], strict=True)]
    assert 1 <= sum(same) <= 12
    orders = torch.stack([crops.sort(dim=1).values for crops in shuffled.values()])
    assert torch.equal(orders[0], orders[1])


def test_shipped_sources_are_consistent():
    sources = read_toml(FOLDER / "sources.toml")
    names = [rules["name"] for rules in sources["packages"]]
    assert len(set(names)) == len(names)
    assert sources["subjects"].keys() <= set(captions.SUBJECTS)
    for rules in sources["packages"]:
        known = {"name", "version", "include", "drop", "shortest", "limit", "larger", "licences", "subjects"}
        assert rules.keys() <= known
        assert rules.get("subjects", {}).keys() <= set(captions.SUBJECTS)
        assert all(
            stated["licence"] in sources["licences"] and stated["reason"] for stated in rules.get("licences", [])
        )


def test_notice_names_who_asks_for_it(prepared, tmp_path):
    train("notice", tmp_path / "NOTICE", "--data", prepared)
    text = (tmp_path / "NOTICE").read_text()
    assert "Under CC-BY-4.0, https://creativecommons.org/licenses/by/4.0/:\n  Sea" in text
    assert "Sea3.png, by Ann Author, Ben Builder (Debian package budgie-backgrounds)" in text
    assert "cropped, scaled, mirrored" in text and "MIT" not in text
    entries = [
        {"path": "a/b.jpg", "package": "p", "licence": licence, "authors": [f"{licence} author"]}
        for licence in ("MIT", "CC0-1.0")
    ]
    both = notice(entries)
    assert "b.jpg, by MIT author" in both and "Permission is hereby granted" in both and "CC0-1.0 author." in both


@pytest.mark.parametrize(
    ("path", "licence", "authors"),
    [
        ("usr/share/backgrounds/mate/nature/Dune.png", "CC-BY-4.0", ["Ann Author <ann@example.org>", "Ben Builder"]),
        ("usr/share/backgrounds/mate/sea/Wave.png", "CC-BY-4.0", ["Ann Author <ann@example.org>", "Ben Builder"]),
        ("usr/share/backgrounds/mate/Wave.png", "CC-BY-4.0", ["Ann Author <ann@example.org>", "Ben Builder"]),
        ("usr/share/backgrounds/mate/sea/Other.png", "GPL-2+", ["A Group"]),
    ],
)
def test_licence_of_a_file(path, licence, authors):
    assert licence_of(path, COPYRIGHT) == (licence, authors)


def test_licence_elsewhere():
    metadata = json.dumps({"KPlugin": {"License": "CC-BY-SA-4.0", "Authors": [{"Name": "Kay"}]}})
    assert licence_of("a.png", COPYRIGHT, metadata) == ("CC-BY-SA-4.0", ["Kay"])
    desktop = "[Desktop Entry]\nName=A\nX-KDE-PluginInfo-Author=Kay\nX-KDE-PluginInfo-License=LGPLv3\n"
    assert licence_of("a.png", COPYRIGHT, desktop) == ("LGPL-3.0-only", ["Kay"])
    assert licence_of("a.png", "Copyright: whoever wrote it.") == (UNKNOWN, [])


@pytest.mark.parametrize(
    ("rgb", "caption"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "gray"),
        ((220, 20, 20), "red"),
        ((255, 140, 0), "orange"),
        ((100, 60, 20), "brown"),
        ((250, 240, 30), "yellow"),
        ((20, 150, 30), "green"),
        ((0, 150, 150), "teal"),
        ((20, 60, 220), "blue"),
        ((130, 40, 180), "purple"),
        ((255, 105, 180), "pink"),
    ],
)
def test_colours_have_their_names(rgb, caption):
    image = torch.tensor(rgb).reshape(1, 3, 1, 1).expand(1, 3, 64, 64) / 127.5 - 1
    assert captions.COLOURS[captions.colour_shares(image).argmax()] == caption


def test_captions_speak_the_benchmarks_language():
    spoken = {word for prompt in prompts.draw_prompts(2000, 0) for word in prompt.split()}
    assert spoken <= set(captions.words())
    halves = torch.cat(
        [torch.full((3, 64, 32), -1.0), torch.tensor([-0.9, -0.5, 0.9])[:, None, None].expand(3, 64, 32)], 2
    )
    (caption,) = captions.captions(halves[None], ["sea"], seed=1)
    assert caption.split()[-5:] in (
        ["black", "and", "blue", "sea", "wallpaper"],
        ["blue", "and", "black", "sea", "wallpaper"],
    )
    assert set(caption.split()) <= set(captions.words())


@pytest.mark.parametrize(
    ("path", "subject"),
    [("backgrounds/SeaSunset.jpg", "sunset"), ("x/OceanView/1.png", "sea"), ("x/fossa.jpg", "abstract")],
)
def test_subject_from_a_path(path, subject):
    assert captions.subject_of(path, {"sea": ["ocean"]}) == subject


def test_each_word_is_one_token():
    configuration = load_configuration("tiny")
    tokenizer = build_tokenizer(configuration)
    for word in captions.words():
        assert len(tokenizer(word).input_ids) == 3
    assert len(tokenizer("a word it never saw", padding="max_length").input_ids) == 24
