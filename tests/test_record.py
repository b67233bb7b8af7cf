"""An image and its record agree, whoever writes and whenever they are killed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import wmark
from wmark import files
from wmark.watermark.record import MarkedImage, check_writable, finished, record_path, recorded_model

KILLS = Path(__file__).parent / "kills.py"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")


@pytest.fixture
def image():
    return MarkedImage(
        Image.new("RGB", (64, 64), "teal"),
        {"schema": "wmark-record/1", "model": {"name": "tiny", "fingerprint": "f"}, "seed": 1},
    )


@pytest.fixture
def other(image):
    return MarkedImage(Image.new("RGB", (64, 64), "red"), {**image.record, "seed": 2})


def seed(path):
    return json.loads(record_path(path).read_text())["seed"]


def test_saving_writes_image_and_record_and_nothing_else(image, tmp_path):
    path = image.save(tmp_path / "folder" / "a.png")
    record = json.loads(record_path(path).read_text())
    assert record["image"] == "a.png"
    assert record["image_sha256"] == files.sha256(path)
    assert finished(path)
    assert recorded_model(path) == {"name": "tiny", "fingerprint": "f"}
    assert {file.name for file in path.parent.iterdir()} == {"a.png", "a.png.json"}


def test_a_pair_is_replaced_only_when_asked(image, other, tmp_path):
    path = image.save(tmp_path / "a.png")
    with pytest.raises(wmark.ImageError, match="exists already"):
        other.save(path)
    with pytest.raises(wmark.ImageError, match="exists already"):
        other.save(path, resume=True)
    assert (seed(path), finished(path)) == (1, True)
    other.save(path, overwrite=True)
    assert (seed(path), finished(path)) == (2, True)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_image_without_a_record_is_not_ours_to_replace(image, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    for resume in (False, True):
        with pytest.raises(wmark.ImageError, match="exists already"):
            image.save(path, resume=resume)
    assert path.read_bytes() == b"mine"
    assert not record_path(path).exists()
    image.save(path, overwrite=True)
    assert finished(path)


def test_what_a_killed_writer_left_is_finished(image, other, tmp_path):
    path = image.save(tmp_path / "a.png")
    path.unlink()
    assert not finished(path)
    other.save(path)
    assert (seed(path), finished(path)) == (2, True)
    path.write_bytes(b"another image")
    with pytest.raises(wmark.ImageError, match="exists already"):
        image.save(path)
    image.save(path, resume=True)
    assert (seed(path), finished(path)) == (1, True)


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"schema": "somebody-else/1"}'])
def test_what_is_no_record_is_never_replaced(image, tmp_path, content):
    path = tmp_path / "a.png"
    record_path(path).write_text(content)
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(wmark.ImageError, match=r"a\.png\.json is in the way"):
            image.save(path, **options)
        with pytest.raises(wmark.ImageError, match=r"a\.png\.json is in the way"):
            check_writable([path], **options)
    assert record_path(path).read_text() == content
    assert recorded_model(path) is None
    assert recorded_model(tmp_path / "none.png") is None


def no_more(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
def test_failing_writes_leave_the_old_pair_or_an_unfinished_one(image, other, tmp_path, monkeypatch, call):
    path = image.save(tmp_path / "a.png")
    with monkeypatch.context() as patch, pytest.raises(wmark.ImageError, match="no space left"):
        patch.setattr(os, call, no_more)
        if call == "link":
            patch.setattr(os, "replace", no_more)
        other.save(path, overwrite=True)
    assert finished(path) or not path.exists()
    assert not [file for file in tmp_path.iterdir() if file.suffix not in (".png", ".json")]
    other.save(path, overwrite=path.exists())
    assert (seed(path), finished(path)) == (2, True)


def test_records_are_strict_json(image, tmp_path):
    wrong = dataclasses.replace(image, record={**image.record, "guidance_scale": float("nan")})
    with pytest.raises(wmark.ImageError, match="json"):
        wrong.save(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@posix
def test_a_name_that_is_not_utf_8_is_escaped_in_the_record(image, tmp_path):
    path = image.save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    assert json.loads(record_path(path).read_text())["image"] == "caf\\xe9.png"


def missing_folder_below_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "a.png"


def folder_in_the_way(folder):
    (folder / "a.png").mkdir()
    return folder / "a.png"


def pipe_in_the_way(folder):
    os.mkfifo(folder / "a.png")
    return folder / "a.png"


@posix
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (missing_folder_below_a_file, "not a directory"),
        (folder_in_the_way, "no regular file"),
        (pipe_in_the_way, "no regular file"),
        (lambda folder: folder / ("x" * 247 + ".png"), "256 bytes is too long"),
        (lambda folder: folder / ("x" * 256) / "a.png", "256 bytes is too long"),
        (lambda folder: folder / ("ü" * 125 + ".png"), "too long"),
        (lambda folder: Path("/proc/a.png"), "cannot be written"),
        (lambda folder: Path("/proc/folder/a.png"), "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_beforehand(tmp_path, path, expected):
    path = path(tmp_path)
    before = list(tmp_path.iterdir())
    with pytest.raises(wmark.ImageError, match=expected) as refused:
        check_writable([path], overwrite=True)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == before


@posix
@pytest.mark.parametrize("length", [246, 250])
def test_what_can_be_written_is_let_through(image, tmp_path, length):
    path = tmp_path / "folder" / "below" / ("x" * (length - 4) + ".png")
    check_writable([path])
    assert not list(tmp_path.iterdir())
    assert finished(image.save(path))


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_not_writable_is_refused_beforehand(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(wmark.ImageError, match="permission denied"):
        check_writable([tmp_path / "folder" / "a.png"])


@posix
def test_killed_and_racing_writers_leave_pairs_that_agree(tmp_path):
    command = [sys.executable, KILLS, "pairs", "--kills", "20", "--races", "6", "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
