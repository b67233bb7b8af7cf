"""`wmark ledger`: what is printed of rows, its exit codes, and files that are whole and private."""

from __future__ import annotations

import csv
import json
import sqlite3

import pytest
from PIL import Image

from wmark.ledger import Ledger, Row, Seals
from wmark.ledger.likeness import fingerprint
from wmark.ledger.numbers import IssuerState
from wmark.watermark.keyring import Keyring
from wmark.watermark.patterns import Pattern

ISSUER = IssuerState("studio", range(1000, 2000), range(0))


@pytest.fixture
def seals(tmp_path, monkeypatch):
    """Those of a keyring with names, which the command finds."""
    ring = Keyring(bytes(range(32)), Pattern.of())
    ring.add_names()
    for issuer in ("studio", "fleet"):
        ring.add_issuer(issuer, 1000)
    ring.save(tmp_path / "named.json")
    monkeypatch.setenv("WMARK_KEYRING", str(tmp_path / "named.json"))
    return Seals.of(ring.names())


@pytest.fixture
def kept(run, seals, tmp_path, monkeypatch):
    """A ledger of three numbers, one of them never finished, where the command looks for it; its path."""
    path = tmp_path / "my.sqlite"
    monkeypatch.setenv("WMARK_LEDGER", str(path))
    with Ledger(path, seals, create=True) as ledger:
        ledger.reserve(3, ISSUER)
        for i, (day, prompt) in enumerate([("01", "a sea"), ("02", "a tree\nwith leaves")]):
            known = {"prompt_hash": seals.prompt_hash("studio", prompt), "prompt": prompt if i else None}
            time = f"2030-01-{day}T08:00:00Z"
            ledger.register(Row(1000 + i, "studio", "", time, "tiny", file_hash=f"{i}b" * 32, **known))
    return path


def numbers(result):
    return [json.loads(line)["number"] for line in result.stdout.splitlines()]


def change(path, statement):
    with sqlite3.connect(path) as connection:
        connection.execute(statement)


def test_show(run, kept, sentence):
    shown = json.loads(run("ledger", "show", 1001).stdout)
    assert (shown["state"], shown["issuer"], shown["prompt"]) == ("registered", "studio", "a tree\nwith leaves")
    assert shown["genuine"] is True and "fingerprint" not in shown
    assert "1007 was never issued" in sentence(run("ledger", "show", 1007))
    assert "99999999999999" in sentence(run("ledger", "show", 99999999999999))


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([], [1000, 1001, 1002]),
        (["--number", 1001], [1001]),
        (["--file-hash", "1B1"], [1001]),
        (["--since", "2030-01-02", "--until", "2030-01-02T08:00:01Z"], [1001]),
        (["--since", "2030-01-02T10:00:00+02:00", "--issuer", "studio"], [1001]),
        (["--prompt", "a sea"], [1000]),
        (["--unfinished"], [1002]),
        (["--limit", 1], [1000]),
    ],
)
def test_find(run, kept, conditions, found):
    result = run("ledger", "find", "--json", *conditions)
    assert (result.exit_code, numbers(result)) == (0, found)


def test_a_picture_is_found_by_what_it_looks_like(run, kept, seals, tmp_path, sentence):
    pictures = [Image.effect_noise((9, 9), 90).resize((256, 256), Image.Resampling.BICUBIC) for _ in range(2)]
    with Ledger(kept, seals) as ledger:
        numbers = ledger.reserve(2, ISSUER)
        for number, picture in zip(numbers, pictures, strict=True):
            ledger.register(Row(number, "studio", "", fingerprint=fingerprint(picture)))
    pictures[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("RGB").save("found.jpg", quality=30)
    (line,) = run("ledger", "find", "--picture", "found.jpg", "--json").stdout.splitlines()
    assert json.loads(line)["number"] == numbers[1] and json.loads(line)["likeness"] > 0.9
    Image.new("RGB", (256, 256)).save("black.png")
    assert run("ledger", "find", "--picture", "black.png").output == ""
    assert "does not exist" in sentence(run("ledger", "find", "--picture", "none.png"))


def test_of_what_is_not_there_nothing_is_printed(run, kept):
    for conditions in (["--number", 5], ["--issuer", "x"], ["--prompt", "a lake"], ["--since", "2031-01-01"]):
        result = run("ledger", "find", *conditions)
        assert (result.exit_code, result.output) == (0, "")


def test_find_prints_lines(run, kept):
    first, *_ = run("ledger", "find").stdout.splitlines()
    assert first.split() == ["1000", "registered", "2030-01-01T08:00:00Z", "studio", "tiny", "file", "0b0b0b0b0b0b"]


@pytest.mark.parametrize(
    "options", [["--file-hash", "xyz"], ["--file-hash", ""], ["--since", "soon"], ["--number", -1]]
)
def test_conditions_that_cannot_be_meant_are_refused(run, kept, sentence, options):
    assert "Invalid value" in sentence(run("ledger", "find", *options))


def test_a_changed_row_is_warned_of(run, kept):
    change(kept, "UPDATE wmark_images SET model = 'x' WHERE number = 1000")
    result = run("ledger", "show", 1000)
    assert json.loads(result.stdout)["genuine"] is False and "1000 was changed or swapped" in result.stderr
    assert "CHANGED SINCE" in run("ledger", "find", "--number", 1000).stdout


def test_check(run, kept):
    sound = run("ledger", "check")
    assert sound.exit_code == 0 and "3 numbers issued, sound" in sound.stdout
    assert "1 images were never finished" in sound.stdout
    change(kept, "DELETE FROM wmark_images WHERE number = 1001")
    broken = run("ledger", "check", "--json")
    assert broken.exit_code == 2
    assert [json.loads(line)["kind"] for line in broken.stdout.splitlines()] == ["missing", "unfinished"]


def test_without_the_keyring_rows_are_read_and_their_seals_not_tested(run, kept, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("WMARK_KEYRING", str(tmp_path / "none.json"))
    assert "does not exist" in sentence(run("ledger", "show", 1000))  # Who names a keyring means it.
    monkeypatch.delenv("WMARK_KEYRING")
    result = run("ledger", "show", 1000)
    assert json.loads(result.stdout)["genuine"] is None and "not tested" in result.stderr
    checked = run("ledger", "check")
    assert checked.exit_code == 0 and "3 rows were not tested" in checked.stdout
    assert "name the keyring" in run("ledger", "find", "--prompt", "a sea").stderr


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_export(run, kept, tmp_path, form):
    path = tmp_path / f"out.{form}"
    path.write_text("old")
    assert run("ledger", "export", "-o", path, "--since", "2030-01-02").exit_code == 0
    assert path.stat().st_mode & 0o077 == 0
    if form == "csv":
        rows = list(csv.DictReader(path.open(newline="")))
    elif form == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        from pyarrow import parquet

        rows = parquet.read_table(path).to_pylist()
    assert [int(row["number"]) for row in rows] == [1001]
    assert rows[0]["prompt"] == "a tree\nwith leaves"
    assert str(rows[0]["genuine"]) == "True"
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_export_to_standard_output(run, kept, sentence):
    assert numbers(run("ledger", "export")) == [1000, 1001, 1002]
    assert run("ledger", "export", "--format", "csv").stdout.startswith("number,state,issuer,reserved,")
    assert "Parquet" in sentence(run("ledger", "export", "--format", "parquet"))


def test_merge(run, kept, seals, tmp_path):
    with Ledger(tmp_path / "other.sqlite", seals, create=True) as other:
        other.reserve(2, IssuerState("fleet", range(10), range(0)))
    merged = run("ledger", "merge", "other.sqlite")
    assert (merged.exit_code, merged.stdout) == (0, "2 rows added, 0 finished, 0 known, 0 conflicts\n")
    moved = run("ledger", "merge", kept, "--ledger", "new.sqlite")
    assert (moved.exit_code, moved.stdout) == (0, "5 rows added, 0 finished, 0 known, 0 conflicts\n")
    change(tmp_path / "other.sqlite", "UPDATE wmark_images SET model = 'x' WHERE number = 1")
    again = run("ledger", "merge", "other.sqlite")
    assert (again.exit_code, again.stdout) == (2, "0 rows added, 0 finished, 1 known, 1 conflicts\n")
    assert again.stderr == "conflict: number 1: its row there does not carry its seal\n"


def test_a_ledger_that_is_not_there_is_not_made(run, seals, sentence, tmp_path, monkeypatch):
    monkeypatch.setenv("WMARK_LEDGER", str(tmp_path / "none.sqlite"))
    for command in (["check"], ["find"], ["show", 1], ["export"]):
        assert "does not exist: `wmark embed` begins one" in sentence(run("ledger", *command))
    assert not (tmp_path / "none.sqlite").exists()
    assert "sesame" not in sentence(run("ledger", "find", "--ledger", "postgresql://me:sesame@127.0.0.1:1/x"))
