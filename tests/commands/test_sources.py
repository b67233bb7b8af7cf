"""`wmark verify`: which images folders, globs and standard input stand for, and what each costs the others."""

from __future__ import annotations

import io
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from wmark.commands.sources import Source, find_sources
from wmark.errors import ImageError

FAST = ["--effort", "fast", "--align", "off"]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.png",
        "a.JPG",
        "notes.txt",
        "sub/c.webp",
        "sub/deep/d.tif",
        ".hidden/e.png",
        "sub/.f.png",
        "x[1].png",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["in"], ["in/a.JPG", "in/b.png", "in/sub/c.webp", "in/sub/deep/d.tif", "in/x[1].png"]),
        (["in/*.png"], ["in/b.png", "in/x[1].png"]),
        (["in/**/*.*p"], ["in/sub/c.webp"]),
        (["in/s*"], ["in/sub/c.webp", "in/sub/deep/d.tif"]),
        (["in/x[1].png"], ["in/x[1].png"]),
        (["-", "in/sub", "in/notes.txt", "-"], ["-", "in/sub/c.webp", "in/sub/deep/d.tif", "in/notes.txt", "-"]),
    ],
)
def test_which_images_are_meant(tree, arguments, expected):
    assert find_sources(arguments) == [Source(name) for name in expected]


def test_what_stands_for_no_image_says_so(tree):
    (tree / "empty").mkdir()
    empty, unmatched = find_sources(["in/empty", "in/*.gif"])
    with pytest.raises(ImageError, match="'in/empty' holds no images"):
        empty.read()
    with pytest.raises(ImageError, match=r"no file matches 'in/\*.gif'"):
        unmatched.read()


def test_a_folder_that_cannot_be_read_is_not_passed_over(tree, monkeypatch):
    scandir = os.scandir

    def forbidden(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    names = {source.name: source.problem for source in find_sources(["in/sub"])}
    assert names["in/sub/c.webp"] is None
    assert "cannot be read (permission denied)" in names["in/sub/deep"]


def test_links_to_folders_are_not_followed_round_and_round(tree):
    (tree / "sub" / "again").symlink_to(tree)
    assert len(find_sources(["in/sub"])) == 2


# through the command line


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_folders_globs_and_standard_input_mixed(run, marked, unmarked, tmp_path):
    for name in ("in/a.png", "in/sub/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        unmarked.save(tmp_path / name)
    result = run("verify", "in", "-", "in/*.png", "--json", *FAST, input=png(marked))
    assert result.exit_code == 1, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["image"], row["found"]) for row in rows] == [
        ("in/a.png", False),
        ("in/sub/b.png", False),
        ("-", True),
        ("in/a.png", False),
    ]


def test_an_empty_folder_is_a_sentence(run, sentence, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no images" in sentence(run("verify", "empty"))


def test_standard_input_that_is_no_image(run, sentence):
    assert "standard input is no image" in sentence(run("verify", "-", input=b"a letter"))
    assert "empty" in sentence(run("verify", "-", input=b""))


def test_standard_input_has_no_place_for_a_plot(run, sentence):
    assert "standard input" in sentence(run("verify", "-", "--plot", "plot.png"))


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_each_file_costs_its_own_line_only_and_names_forge_nothing(run, marked, tmp_path):
    """Unreadable, undecodable, with line breaks and escapes, like an option: one line each, and valid UTF-8."""
    names = [b"good.png", b"caf\xe9.png", b"a\nfound  b.png  key one.png", b"\x1b[31m.png", b"-x.png", b"locked.png"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(png(marked))
    os.chmod(tmp_path / "locked.png", 0)
    (tmp_path / "folder.png").mkdir()
    arguments = [os.fsdecode(name) for name in [*names, b"missing\xff\n.png", b"folder.png"]]
    result = run("verify", *FAST, "--json", "--", *arguments)
    assert result.exit_code == 2
    assert result.stdout_bytes.decode("utf-8")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert json.dumps(rows, ensure_ascii=False).encode("utf-8")
    assert [row["image"] for row in rows[:5]] == ["good.png", "caf\\xe9.png", *arguments[2:5]]
    assert all(row["found"] for row in rows[:5])
    assert [row["image"] for row in rows[-2:]] == ["missing\\xff\n.png", "folder.png"]

    lines = run("verify", *FAST, "--", *arguments)
    assert [line.split()[0] for line in lines.stdout.splitlines()][:5] == ["found"] * 5
    assert not {"\x1b", "\udce9"} & set(lines.output)
    assert lines.stdout.splitlines()[2].startswith("found      a\\nfound  b.png")


def test_a_batch_that_breaks_costs_only_what_breaks_it(run, marked, unmarked, tmp_path, monkeypatch):
    from wmark.detectors.chain import Detector

    whole = Detector.verify_batch

    def breaking(self, images):
        if any(np.asarray(image).max() == 0 for image in images):
            raise RuntimeError("no black")
        return whole(self, images)

    monkeypatch.setattr(Detector, "verify_batch", breaking)
    marked.save(tmp_path / "a.png")
    Image.new("RGB", (512, 512)).save(tmp_path / "b.png")
    unmarked.save(tmp_path / "c.png")
    result = run("verify", "a.png", "b.png", "c.png", "--json", *FAST)
    assert result.exit_code == 70
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row.get("found") for row in rows] == [True, None, False]
    assert "RuntimeError: no black" in rows[1]["error"]
    assert result.stderr == "error: image 'b.png': unexpected RuntimeError: no black\n"
