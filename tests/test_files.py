from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from wmark import files
from wmark.files import UnfitFile, read_file, shown

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and locks of POSIX")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Bild 1 (Kopie) – ü, 画像, 🦊.png", "Bild 1 (Kopie) – ü, 画像, 🦊.png"),
        ("narrow\u202fspace", "narrow\u202fspace"),
        ("it's.png", "it's.png"),
        ("a\nfound  key 7\r", "a\\nfound  key 7\\r"),
        ("\x1b[31mred\x07\x7f\x9b", "\\x1b[31mred\\x07\\x7f\\x9b"),
        (b"caf\xe9\x80.png", "caf\\xe9\\x80.png"),
        ("turned\u202egnp.exe\u2028\u200b", "turned\\u202egnp.exe\\u2028\\u200b"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_path_is_shown_on_one_line_of_text(name: str | bytes, expected: str):
    assert shown(name) == expected
    assert shown(name).encode("utf-8")


def test_path_objects_are_shown():
    assert shown(Path("folder/a\tb")) == "folder/a\\tb"


def test_reading_refuses_by_size_and_kind_and_never_waits(tmp_path):
    (tmp_path / "text").write_bytes(b"1234")
    assert read_file(tmp_path / "text", 4) == b"1234"
    with pytest.raises(UnfitFile, match="4 bytes"):
        read_file(tmp_path / "text", 3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnfitFile, match="pipe"):
        read_file(tmp_path / "pipe", 4)
    with pytest.raises(UnfitFile, match="device"):
        read_file("/dev/zero", 4)


@pytest.mark.parametrize("links", [True, False])
def test_write_without_overwriting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "folder" / "file"
    files.write_atomically(path, b"old", overwrite=False)
    with pytest.raises(FileExistsError):
        files.write_atomically(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert files.sha256(path) == files.sha256(b"new")


def no_links(*arguments, **options):
    raise PermissionError(1, "Operation not permitted")


@posix
def test_a_lock_is_held_by_one_and_removed(tmp_path: Path):
    """What a killed writer left is taken over, and who waited for a lock that was removed starts over."""
    path = tmp_path / "file"
    (tmp_path / "file.lock").touch()
    (tmp_path / "count").write_text("0")

    def count():
        for _ in range(50):
            with files.exclusive(path):
                value = int((tmp_path / "count").read_text())
                (tmp_path / "count").write_text(str(value + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text() == "200"
    assert {file.name for file in tmp_path.iterdir()} == {"count"}


@posix
def test_device_is_written_to_and_not_replaced():
    files.write_atomically("/dev/null", b"data")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
