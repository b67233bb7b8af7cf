from __future__ import annotations

import os
from pathlib import Path

import pytest

from wmark.files import UnfitFile, read_file, shown


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
