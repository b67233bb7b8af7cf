"""`wmark verify`: which images folders, globs and standard input stand for, and what each costs the others."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest
from PIL import Image

from wmark.commands.sources import Source, find_sources
from wmark.errors import ImageError


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


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


MARKED, UNMARKED = png("white"), png("black")


def test_folders_globs_and_standard_input_mixed(run, judged_by_colour, tmp_path):
    for name in ("in/a.png", "in/sub/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(UNMARKED)
    result = run("verify", "in", "-", "in/*.png", "--json", input=MARKED)
    assert result.exit_code == 1, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    expected = [("in/a.png", False), ("in/sub/b.png", False), ("-", True), ("in/a.png", False)]
    assert [(row["image"], row["found"]) for row in rows] == expected


def test_an_empty_folder_is_a_sentence(run, sentence, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no images" in sentence(run("verify", "empty"))


def test_standard_input_that_is_no_image(run, sentence):
    assert "standard input is no image" in sentence(run("verify", "-", input=b"a letter"))
    assert "empty" in sentence(run("verify", "-", input=b""))


def test_standard_input_has_no_place_for_a_plot(run, sentence):
    assert "standard input" in sentence(run("verify", "-", "--plot", "plot.png"))


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_each_file_costs_its_own_line_only_and_names_forge_nothing(run, judged_by_colour, tmp_path):
    """Undecodable names, line breaks, escapes, names like options, what is unreadable or missing."""
    names = [b"good.png", b"caf\xe9.png", b"a\nfound  b.png  key one.png", b"\x1b[31m.png", b"-x.png"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(MARKED)
    (tmp_path / "empty.png").touch()
    arguments = [os.fsdecode(name) for name in [*names, b"missing\xff\n.png", b"empty.png"]]
    result = run("verify", "--json", "--", *arguments)
    assert result.exit_code == 2
    rows = [json.loads(line) for line in result.stdout_bytes.decode("utf-8").splitlines()]
    assert json.dumps(rows, ensure_ascii=False).encode("utf-8")
    shown = ["good.png", "caf\\xe9.png", *arguments[2:5], "missing\\xff\n.png", "empty.png"]
    assert [row["image"] for row in rows] == shown
    assert [row.get("found") for row in rows] == [True] * 5 + [None] * 2

    lines = run("verify", "--", *arguments)
    assert [line.split()[0] for line in lines.stdout.splitlines()] == ["found"] * 5
    assert lines.stdout.splitlines()[2].startswith("found      a\\nfound  b.png")
    assert len(lines.stderr.splitlines()) == 2
    assert not {"\x1b", "\udce9"} & set(lines.output)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a file that is not readable")
def test_a_file_that_is_not_readable_costs_its_own_line_only(run, judged_by_colour, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(MARKED)
    os.chmod(tmp_path / "a.png", 0)
    result = run("verify", "a.png", "b.png")
    assert result.exit_code == 2
    assert result.stdout.startswith("found      b.png")
    assert "'a.png' cannot be read" in result.stderr


def test_a_batch_that_breaks_costs_only_what_breaks_it(run, judged_by_colour, tmp_path, monkeypatch):
    from wmark.detectors.detector import Detector

    whole = Detector.judge

    def breaking(self, images):
        if any(image.max() == 0 for image in images):
            raise RuntimeError("no black")
        return whole(self, images)

    monkeypatch.setattr(Detector, "judge", breaking)
    for name, content in (("a.png", MARKED), ("b.png", UNMARKED), ("c.png", png("red"))):
        (tmp_path / name).write_bytes(content)
    result = run("verify", "a.png", "b.png", "c.png", "--json")
    assert result.exit_code == 70
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row.get("found") for row in rows] == [True, None, False]
    assert "RuntimeError: no black" in rows[1]["error"]
    assert result.stderr == "error: image 'b.png': unexpected RuntimeError: no black\n"
    traced = run("--debug", "verify", "a.png", "b.png").stderr
    assert "Traceback" in traced and "in breaking" in traced
