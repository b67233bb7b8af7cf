"""`wmark embed`: images and records, nothing overwritten, nothing half done."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from wmark.files import sha256


def test_embed_writes_image_record_and_metadata(run, keyring, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "-o", "sub/out.png"]
    result = run(*command, "--key", "two", "--steps", 2, "--seed", 7)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "sub/out.png.json").read_text())
    assert (record["key_id"], record["seed"], record["sampler"]["steps"]) == ("two", 7, 2)
    assert record["model"]["name"] == "tiny"
    assert len(record["model"]["fingerprint"]) == 16
    data = (tmp_path / "sub/out.png").read_bytes()
    assert b"trainedAlgorithmicMedia" in data
    secret = json.loads(keyring.read_text())["secret"]
    assert secret not in result.output + json.dumps(record)
    assert secret.encode() not in data


def test_embed_never_overwrites_unasked(run, sentence, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "-o", "out.png", "--steps", 1]
    assert run(*command).exit_code == 0
    before = (tmp_path / "out.png").read_bytes()
    assert "exists already" in sentence(run(*command))
    assert (tmp_path / "out.png").read_bytes() == before
    assert run(*command, "--force", "--seed", 5).exit_code == 0
    assert (tmp_path / "out.png").read_bytes() != before


def test_embed_goes_on_where_it_stopped(run, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "--count", 3, "--steps", 1, "--seed", 4]
    assert run(*command, "-o", "all.png").exit_code == 0
    assert run(*command, "-o", "all.png", "--skip-existing").stdout.startswith("nothing to do")
    again = tmp_path / "all-002.png"
    pixels = np.asarray(Image.open(again)).astype(int)
    again.unlink()
    result = run(*command, "-o", "all.png", "--skip-existing")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    assert np.abs(np.asarray(Image.open(again)).astype(int) - pixels).max() <= 2


def test_embed_leaves_other_files_alone(run, sentence, tmp_path):
    (tmp_path / "out.png.json").write_text("[1, 2]")
    command = ["embed", "--prompt", "x", "-o", "out.png", "--steps", 1]
    for options in ([], ["--force"], ["--skip-existing"]):
        assert "out.png.json is in the way" in sentence(run(*command, *options))
    assert (tmp_path / "out.png.json").read_text() == "[1, 2]"
    (tmp_path / "out.png.json").unlink()
    (tmp_path / "out.png").write_bytes(b"mine")
    for options in ([], ["--skip-existing"]):
        assert "exists already" in sentence(run(*command, *options))
    assert (tmp_path / "out.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-o", "out.bmp"], ".png"),
        (["-o", "out.png", "--size", "500x512"], "multiple of 8"),
        (["-o", "out.png", "--size", "16x16"], "too few frequencies"),
        (["-o", "out.png", "--key", "nobody"], "'nobody'"),
    ],
)
def test_embed_refuses_with_one_sentence(run, sentence, tmp_path, options, expected):
    assert expected in sentence(run("embed", "--prompt", "x", "--steps", 1, *options))
    assert not list(tmp_path.glob("out*"))


def test_embed_draws_a_fresh_seed_for_each_image(run, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "--steps", 1, "--count", 2]
    assert run(*command, "-o", "a.png").exit_code == run(*command, "-o", "b.png").exit_code == 0
    seeds = [json.loads((tmp_path / f"{n}-00{i}.png.json").read_text())["seed"] for n in "ab" for i in (1, 2)]
    assert len(set(seeds)) == 4
    again = run(*command[:-2], "-o", "again.png", "--seed", seeds[1])
    assert f"seed {seeds[1]}" in again.stdout
    pixels = [np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("a-002.png", "again.png")]
    assert np.abs(pixels[0] - pixels[1]).max() <= 2


def test_embed_makes_unfinished_pairs_anew_and_says_so(run, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "--count", 4, "--steps", 1, "-o", "all.png"]
    assert run(*command).exit_code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("all*")}
    (tmp_path / "all-002.png").unlink()
    (tmp_path / "all-003.png").write_bytes(before["all-001.png"])
    result = run(*command, "--skip-existing")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["all-002.png", "all-003.png"]
    assert [line for line in result.stderr.splitlines() if "unfinished" in line] == [
        f"note: all-00{i}.png is unfinished: image and record are made anew" for i in (2, 3)
    ]
    for i in (1, 2, 3, 4):
        record = json.loads((tmp_path / f"all-00{i}.png.json").read_text())
        assert record["image_sha256"] == sha256(tmp_path / f"all-00{i}.png")
        assert (i in (1, 4)) == (before[f"all-00{i}.png"] == (tmp_path / f"all-00{i}.png").read_bytes())
    assert run(*command, "--skip-existing").stdout.startswith("nothing to do")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-o", "below/a-file/out.png"], "'below/a-file' is a file, not a folder"),
        (["-o", "folder.png"], "'folder.png' is a folder"),
        (["-o", "x" * 250 + ".png"], "too long"),
        (["-o", "/proc/missing/out.png"], "cannot be written"),
        (["-o", "out.png", "--guidance", "nan"], "not a finite number"),
        (["-o", "out.png", "--guidance", "inf"], "not a finite number"),
        (["-o", "out.png", "--guidance", "1e308"], "from 0 to 100"),
        (["-o", "out.png", "--seed", 2**64], "2^64 - 1"),
        (["-o", "out.png", "--seed", -1], "2^64 - 1"),
        (["-o", "out.png", "--count", 2, "--seed", 2**64 - 1], "2^64"),
        (["-o", "out.png", "--size", "5²2x512"], "not a size"),
        (["-o", "out.png", "--size", "80000x80000"], "8192"),
        (["-o", "out\n.png"], "'out\\n.png' has a line break"),
        (["-o", "out.png", "--prompt", "caf\udce9"], "'caf\\xe9' is not UTF-8"),
        (["-o", "out.png", "--key", ""], "no key ''"),
    ],
)
def test_embed_refuses_before_anything_is_generated(run, sentence, tmp_path, monkeypatch, options, expected):
    monkeypatch.setattr("wmark.models.registry.load_model", lambda *arguments, **options: pytest.fail("generating"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a-file").touch()
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert expected in sentence(run("embed", "--prompt", "x", *options))
    assert sorted(tmp_path.rglob("*")) == before


def test_prompts_that_are_not_read_to_their_end_warn(run, tmp_path):
    long = " ".join(["a blue sea wallpaper"] * 30)
    result = run("embed", "--prompt", long, "--prompt", "a blue sea", "-o", "out.png", "--steps", 1)
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    assert "too long for tiny" in line and "blue sea wallpaper" in line
    assert json.loads((tmp_path / "out-001.png.json").read_text())["prompt"] == long
