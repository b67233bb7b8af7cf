"""`wmark embed`: images and records, nothing overwritten, nothing half done."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


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
    assert "exists already" in sentence(run("embed", "--prompt", "x", "-o", "out.png", "--steps", 1))
    assert (tmp_path / "out.png.json").read_text() == "[1, 2]"
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-o", "out.bmp"], ".png"),
        (["-o", "out.png", "--size", "500x512"], "multiple of 8"),
        (["-o", "out.png", "--size", "256x256"], "radius"),
        (["-o", "out.png", "--key", "nobody"], "'nobody'"),
        (["-o", "out.png", "--size", "5²2x512"], "not a size"),
        (["-o", "out.png", "--size", "80000x80000"], "8192"),
        (["-o", "out.png", "--guidance", "nan"], "not a finite number"),
        (["-o", "out.png", "--guidance", "inf"], "not a finite number"),
        (["-o", "out.png", "--seed", str(2**64)], "2^64 - 1"),
        (["-o", "out.png", "--seed", "-1"], "2^64 - 1"),
        (["-o", "out.png", "--seed", str(2**64 - 2), "--count", "3"], "2^64 - 1"),
        (["-o", "file.png/out.png"], "'file.png' is a file, not a folder"),
        (["-o", "."], "is a folder"),
        (["-o", "out\n.png"], "'out\\n.png' has a line break"),
    ],
)
def test_embed_refuses_with_one_sentence(run, sentence, tmp_path, options, expected):
    (tmp_path / "file.png").touch()
    assert expected in sentence(run("embed", "--prompt", "x", "--steps", 1, *options))
    assert not list(tmp_path.glob("out*"))


def test_seeds_are_drawn_afresh_unless_given_and_printed(run, tmp_path):
    command = ["embed", "--prompt", "a\nb", "--steps", 1, "--size", "384x384", "-o"]
    lines = [run(*command, name).stdout for name in ("one.png", "two.png")]
    seeds = [json.loads((tmp_path / f"{name}.png.json").read_text())["seed"] for name in ("one", "two")]
    assert seeds[0] != seeds[1]
    assert [line.split()[-1] for line in lines] == [str(seed) for seed in seeds]
    assert run(*command, "last.png", "--seed", 2**64 - 1).exit_code == 0
    assert json.loads((tmp_path / "last.png.json").read_text())["seed"] == 2**64 - 1
