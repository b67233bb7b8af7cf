"""`wmark verify`: keys, models, options, and what is printed."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from PIL import Image

from wmark.models.registry import EMBEDDED

FAST = ["--effort", "fast", "--align", "off"]


def test_exit_codes_and_lines(run, marked, unmarked, tmp_path):
    marked.save(tmp_path / "a.png")
    unmarked.save(tmp_path / "b.png")
    found = run("verify", "a.png", *FAST)
    assert (found.exit_code, found.stdout.split()[:4]) == (0, ["found", "a.png", "key", "one"])
    both = run("verify", "a.png", "b.png", *FAST)
    assert both.exit_code == 1
    assert both.stdout.splitlines()[1].startswith("not found  b.png")


def test_another_key_of_the_ring_is_not_found(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert run("verify", "a.png", "--key", "one", *FAST).exit_code == 0
    assert run("verify", "a.png", "--key", "two", *FAST).exit_code == 1


def test_wrong_key_name(run, sentence, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert "'nobody'" in sentence(run("verify", "a.png", "--key", "nobody"))


def test_missing_keyring(run, sentence, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert "wmark keys create" in sentence(run("verify", "a.png", "--keyring", tmp_path / "none.json"))


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data.replace(b'"two"', b'"owt"'), lambda data: b"\xff\0"],
)
def test_corrupted_keyring(run, sentence, keyring, tmp_path, damage):
    bad = tmp_path / "bad.json"
    bad.write_bytes(damage(keyring.read_bytes()))
    bad.chmod(0o600)
    line = sentence(run("verify", "a.png", "--keyring", bad))
    assert "damaged" in line
    secret = json.loads(keyring.read_text())["secret"]
    assert secret not in line


@pytest.mark.parametrize(
    ("name", "expected"),
    [("no-such-model", "there is no model"), ("./nowhere", "there is no model"), ("empty", "model_index.json")],
)
def test_wrong_model(run, sentence, marked, tmp_path, name, expected):
    (tmp_path / "empty").mkdir()
    marked.save(tmp_path / "a.png")
    assert expected in sentence(run("verify", "a.png", "--model", name))


def test_hub_model_without_network(run, sentence, marked, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    marked.save(tmp_path / "a.png")
    assert "hub" in sentence(run("verify", "a.png", "--model", "nobody-here/no-such-model"))


def cut_weights(folder):
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def take_the_tokenizer_away(folder):
    shutil.rmtree(folder / "tokenizer")


def state_another_autoencoder(folder):
    (folder / "vae" / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')


def nest_the_index(folder):
    (folder / "model_index.json").write_text("[" * 100_000)


@pytest.mark.parametrize("damage", [cut_weights, take_the_tokenizer_away, state_another_autoencoder, nest_the_index])
def test_damaged_model_folder(run, sentence, tmp_path, damage):
    shutil.copytree(EMBEDDED["tiny"], tmp_path / "broken")
    damage(tmp_path / "broken")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert "cannot be loaded" in sentence(run("verify", "a.png", "--model", tmp_path / "broken"))


def test_model_of_another_kind(run, sentence, marked, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    marked.save(tmp_path / "a.png")
    assert "FluxPipeline" in sentence(run("verify", "a.png", "--model", tmp_path / "other"))


def test_a_record_of_another_model_is_pointed_out(run, sentence, unmarked, tmp_path):
    unmarked.save(tmp_path / "a.png")
    record = {"schema": "wmark-record/1", "model": {"name": "somebody/else", "fingerprint": "0" * 16}}
    (tmp_path / "a.png.json").write_text(json.dumps(record))
    assert "somebody/else" in sentence(run("verify", "a.png", *FAST), code=1)


def test_a_ring_too_plain_for_the_test_is_refused(run, sentence, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert run("keys", "create", "--keyring", "plain.json", "--id", "z", "--pattern", "zeros").exit_code == 0
    assert "'zeros'" in sentence(run("verify", "a.png", "--keyring", "plain.json"))


def test_alternatives_of_the_chain(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    for options in (
        ["--decoder-inversion", "adam", "--iterations", "2", "--inversion-steps", "4"],
        ["--decoder-inversion", "encoder", "--diffusion-inversion", "dpmsolver++", "--inversion-steps", "8"],
        ["--decoder-inversion", "encoder", "--dtype", "bf16", "--inversion-steps", "2"],
    ):
        result = run("verify", "a.png", "--effort", "fast", "--align", "off", "--json", *options)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["log10_p"] < -10


def test_plot(run, sentence, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert run("verify", "a.png", "--plot", "spectrum.png", *FAST).exit_code == 0
    assert Image.open("spectrum.png").width > 1000
    assert os.stat("spectrum.png").st_mode & 0o077 == 0
    assert "one image" in run("verify", "a.png", "a.png", "--plot", "spectrum.png").output


def test_a_key_of_more_frequencies_than_a_picture_has_marks_it_and_is_found(run, tmp_path):
    at = ["--keyring", "own.json"]
    assert run("keys", "create", *at, "--id", "wide", "--radius", 31, "--no-names").exit_code == 0
    command = ["embed", "--prompt", "a blue sea wallpaper", "-o", "a.png", "--size", "512x384", "--steps", 10]
    made = run(*command, "--seed", 1, *at)
    assert made.exit_code == 0, made.output
    assert Image.open("a.png").size == (512, 384)
    result = run("verify", "a.png", "--json", "--plot", "spectrum.png", *at, *FAST)
    assert result.exit_code == 0, result.output
    verdict = json.loads(result.stdout)
    assert verdict["log10_p"] < -20
    assert verdict["alignment"]["canvas"] == [48, 64]
    assert Image.open("spectrum.png").width > 1000
    with Image.open("a.png") as image:
        image.crop((0, 0, 512, 320)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("b.png")
    assert run("verify", "b.png", *at, "--effort", "fast", "--size", "512x384").exit_code == 0


def test_a_key_that_was_pushed_past_zero_is_found_and_said_to_be_inverted(run, inverted, tmp_path):
    inverted.save(tmp_path / "a.png")
    inverted.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "b.png")
    seen = [
        json.loads(line) for line in run("verify", "a.png", "b.png", "--effort", "fast", "--json").stdout.splitlines()
    ]
    for verdict in seen:
        assert (verdict["found"], verdict["key_id"], verdict["inverted"]) == (True, "one", True)
        assert verdict["cosine"] < 0
        assert verdict["tested"]["signs"] == 2
    assert [verdict["look"] for verdict in seen] == ["reader/identity", "reader/search"]
    shown = run("verify", "a.png", "--plot", "spectrum.png", *FAST)
    assert shown.exit_code == 0
    assert "  key one  (inverted)  p " in shown.stdout
    assert Image.open("spectrum.png").width > 1000


def test_plots_that_cannot_be_written_are_refused_before_anything_is_looked_at(run, sentence, keyring, tmp_path):
    Image.new("RGB", (512, 512)).save(tmp_path / "a.png")
    os.symlink("a.png", tmp_path / "link.png")
    os.symlink(keyring, tmp_path / "ring.png")
    before = [path.read_bytes() for path in (tmp_path / "a.png", keyring)]
    for plot, expected in (
        ("spectrum.xyz", "'spectrum.xyz' does not end in .png"),
        ("spectrum", "does not end in .png"),
        ("/proc/missing/spectrum.png", "'/proc/missing/spectrum.png' cannot be written"),
        ("a.png", "would replace 'a.png'"),
        ("link.png", "would replace 'link.png'"),
        ("ring.png", "would replace 'ring.png'"),
    ):
        result = run("verify", "a.png", "--plot", plot, *FAST)
        assert expected in sentence(result)
        assert not result.stdout
    assert [path.read_bytes() for path in (tmp_path / "a.png", keyring)] == before


def test_a_plot_of_an_image_whose_name_looks_like_mathematics(run, marked, tmp_path):
    marked.save(tmp_path / "a$\\frac{$.png")
    assert run("verify", "a$\\frac{$.png", "--plot", "spectrum.png", *FAST).exit_code == 0


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--fpr", "0"], "0.0 is not in the range"),
        (["--fpr", "2"], "2.0 is not in the range"),
        (["--fpr", "nan"], "not a finite number"),
        (["--size", "12"], "not a size"),
        (["--size", "5²x512"], "not a size"),
        (["--size", "0x512"], "not a size"),
        (["--size", "500x500"], "multiple of 8"),
        (["--size", "80000x80000"], "8192"),
        (["--size", "8192x8192"], "more than 16 times"),
        (["--size", "16x16"], "too few frequencies"),
        (["--size", "9" * 5000 + "x8"], "8192"),
        (["--effort", "x"], "'x'"),
        (["--key", ""], "no key ''"),
        (["--device", "meta"], "'meta' is not a device"),
        (["--plot", "."], "'.' is a folder"),
        (["--plot", "a.png/plot.png"], "'a.png' is a file, not a folder"),
        (["--plot", "a\nb.png"], "'a\\nb.png' has a line break"),
    ],
)
def test_bad_options(run, sentence, marked, tmp_path, option, expected):
    marked.save(tmp_path / "a.png")
    assert expected in sentence(run("verify", "a.png", *option))


def test_scores_of_unmarked_images_are_for_whoever_holds_the_key(run, judged_by_colour, tmp_path):
    Image.new("RGB", (64, 64), "black").save(tmp_path / "a.png")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "b.png")
    unmarked, marked = run("verify", "a.png", "b.png").stdout.splitlines()
    assert unmarked == "not found  a.png  no key  p 1e-2  0.0 s"
    assert marked == "found      b.png  key one  p 3.7e-31  cos 0.12  0.0 s"
    unmarked, marked = map(json.loads, run("verify", "a.png", "b.png", "--json").stdout.splitlines())
    assert [unmarked[name] for name in ("log10_p", "cosine", "alignment", "look")] == [-2, None, None, None]
    assert "closest_key_id" not in unmarked
    assert [marked[name] for name in ("log10_p", "cosine")] == [-30.432, 0.12]

    unmarked, marked = run("verify", "a.png", "b.png", "--debug-scores").stdout.splitlines()
    assert unmarked == "not found  a.png  no key  p 3.7e-3  cos 0.1235  0.0 s"
    assert "cos 0.1235" in marked
    unmarked, _ = map(json.loads, run("verify", "a.png", "b.png", "--json", "--debug-scores").stdout.splitlines())
    assert [unmarked[name] for name in ("log10_p", "cosine", "closest_key_id")] == [-2.432, 0.123456, "one"]


def test_a_revoked_key_is_found_with_the_time_of_its_revocation(run, keyring, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    (tmp_path / "ring.json").touch(0o600)
    (tmp_path / "ring.json").write_bytes(keyring.read_bytes())
    at = ["--keyring", "ring.json", "--key", "one"]
    assert json.loads(run("verify", "a.png", *at, "--json", *FAST).stdout)["key_revoked"] is None
    run("keys", "revoke", "one", "--keyring", "ring.json")
    time = json.loads(run("keys", "show", "one", "--keyring", "ring.json").stdout)["revoked"]
    result = run("verify", "a.png", *at, *FAST)
    assert result.exit_code == 0
    assert f"key one  (revoked {time})" in result.stdout
    assert json.loads(run("verify", "a.png", *at, "--json", *FAST).stdout)["key_revoked"] == time
