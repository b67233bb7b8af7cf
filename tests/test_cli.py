"""The command line as a user meets it: exit codes, one sentence for each thing that is wrong, and nothing lost."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from wmark.cli import main
from wmark.files import sha256

FAST = ["--effort", "fast", "--align", "off"]


@pytest.fixture(scope="module")
def keyring(ring, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keyring.json"
    ring.save(path)
    return path


@pytest.fixture
def run(keyring, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WMARK_KEYRING", str(keyring))
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


def sentence(result, code=2):
    """The one line on standard error, with the expected exit code and no traceback."""
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.strip().splitlines() if line and not line.startswith(("Usage", "Try"))]
    assert "Traceback" not in line
    return line


# verify: images that must be handled ------------------------------------------------------------------------------


def as_cmyk(image, path):
    image.convert("CMYK").save(path, "JPEG", quality=95)


def as_opaque_alpha(image, path):
    image.convert("RGBA").save(path, "PNG")


def as_partly_transparent(image, path):
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 512, 40))
    image = image.convert("RGBA")
    image.putalpha(alpha)
    image.save(path, "PNG")


def as_exif_rotated(image, path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", quality=95, exif=exif)


def as_palette(image, path):
    image.quantize(256).save(path, "PNG")


def as_16_bit(image, path):
    """A 16-bit RGB PNG, which Pillow does not write."""
    pixels = np.asarray(image).astype(">u2") * 257
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def as_webp(image, path):
    image.save(path, "WEBP", quality=90)


def as_tiff(image, path):
    image.save(path, "TIFF", compression="tiff_lzw")


def as_twice_the_size(image, path):
    image.resize((1024, 1024), Image.Resampling.LANCZOS).save(path, "PNG")


def as_a_thumbnail(image, path):
    image.resize((300, 300), Image.Resampling.LANCZOS).save(path, "PNG")


@pytest.mark.parametrize(
    "save",
    [
        as_cmyk,
        as_opaque_alpha,
        as_partly_transparent,
        as_exif_rotated,
        as_palette,
        as_16_bit,
        as_webp,
        as_tiff,
        as_twice_the_size,
        as_a_thumbnail,
    ],
)
def test_a_marked_image_is_found_in_every_guise(run, marked, tmp_path, save):
    path = tmp_path / "image"
    save(marked, path)
    result = run("verify", path, "--json", *FAST)
    assert result.exit_code == 0, result.output
    verdict = json.loads(result.stdout)
    assert (verdict["found"], verdict["key_id"]) == (True, "one")
    assert verdict["log10_p"] < -10


def test_16_bit_grey_is_handled(run, tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (512, 512)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    assert run("verify", "grey.png", *FAST).exit_code == 1


@pytest.mark.parametrize("size", [(512, 400), (400, 512), (700, 650), (300, 90)])
def test_sizes_that_differ_from_the_models_are_handled(run, unmarked, tmp_path, size):
    unmarked.resize(size).save(tmp_path / "odd.png")
    assert run("verify", "odd.png", "--effort", "fast").exit_code == 1


# verify: images that must be refused ------------------------------------------------------------------------------


def write_missing(path, image):
    pass


def write_truncated(path, image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:20000])


def write_truncated_jpeg(path, image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[:9000])


def write_empty(path, image):
    path.write_bytes(b"")


def write_huge(path, image):
    Image.new("1", (20000, 10000)).save(path, "PNG")


def write_bomb(path, image):
    Image.new("1", (30000, 30000)).save(path, "PNG")


def write_animated(path, image):
    frames = [image.resize((128, 128)).rotate(i) for i in (0, 10, 20)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def write_text(path, image):
    path.write_text("this is a letter")


def write_tiny(path, image):
    image.resize((20, 20)).save(path, "PNG")


def write_narrow(path, image):
    image.resize((2000, 70)).save(path, "PNG")


def write_folder(path, image):
    path.mkdir()


BAD = [
    (write_missing, "does not exist"),
    (write_truncated, "damaged or incomplete"),
    (write_truncated_jpeg, "damaged or incomplete"),
    (write_empty, "empty"),
    (write_huge, "100 megapixels"),
    (write_bomb, "100 megapixels"),
    (write_animated, "3 frames"),
    (write_text, "no image"),
    (write_tiny, "fewer than 64"),
    (write_narrow, "too narrow"),
    (write_folder, "folder"),
]


@pytest.mark.parametrize(("write", "expected"), BAD)
def test_an_unusable_image_gets_one_sentence(run, unmarked, tmp_path, write, expected):
    path = tmp_path / "bad.png"
    write(path, unmarked)
    line = sentence(run("verify", path))
    assert expected in line
    assert "bad.png" in line


def test_one_bad_image_costs_only_its_own_line(run, marked, unmarked, tmp_path):
    marked.save(tmp_path / "a.png")
    write_truncated(tmp_path / "b.png", unmarked)
    unmarked.save(tmp_path / "c.png")
    result = run("verify", "a.png", "b.png", "c.png", "--json", *FAST)
    assert result.exit_code == 2
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["image"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert [row.get("found") for row in rows] == [True, None, False]
    assert "damaged" in rows[1]["error"]


def test_exit_codes_and_lines(run, marked, unmarked, tmp_path):
    marked.save(tmp_path / "a.png")
    unmarked.save(tmp_path / "b.png")
    found = run("verify", "a.png", *FAST)
    assert (found.exit_code, found.stdout.split()[:4]) == (0, ["found", "a.png", "key", "one"])
    both = run("verify", "a.png", "b.png", *FAST)
    assert both.exit_code == 1
    assert both.stdout.splitlines()[1].startswith("not found  b.png")


# verify: keys, models and options ----------------------------------------------------------------------------------


def test_another_key_of_the_ring_is_not_found(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert run("verify", "a.png", "--key", "one", *FAST).exit_code == 0
    assert run("verify", "a.png", "--key", "two", *FAST).exit_code == 1


def test_wrong_key_name(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert "'nobody'" in sentence(run("verify", "a.png", "--key", "nobody"))


def test_missing_keyring(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert "wmark keys create" in sentence(run("verify", "a.png", "--keyring", tmp_path / "none.json"))


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data.replace(b'"two"', b'"owt"'), lambda data: b"\xff\0"],
)
def test_corrupted_keyring(run, keyring, tmp_path, damage):
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
def test_wrong_model(run, marked, tmp_path, name, expected):
    (tmp_path / "empty").mkdir()
    marked.save(tmp_path / "a.png")
    assert expected in sentence(run("verify", "a.png", "--model", name))


def test_hub_model_without_network(run, marked, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    marked.save(tmp_path / "a.png")
    assert "hub" in sentence(run("verify", "a.png", "--model", "nobody-here/no-such-model"))


def test_damaged_model_folder(run, marked, tmp_path):
    import shutil

    from wmark.models.registry import EMBEDDED

    shutil.copytree(EMBEDDED["tiny"], tmp_path / "broken")
    weights = tmp_path / "broken" / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    marked.save(tmp_path / "a.png")
    assert "cannot be loaded" in sentence(run("verify", "a.png", "--model", tmp_path / "broken"))


def test_model_of_another_kind(run, marked, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    marked.save(tmp_path / "a.png")
    assert "FluxPipeline" in sentence(run("verify", "a.png", "--model", tmp_path / "other"))


def test_a_record_of_another_model_is_pointed_out(run, unmarked, tmp_path):
    unmarked.save(tmp_path / "a.png")
    record = {"schema": "wmark-record/1", "model": {"name": "somebody/else", "fingerprint": "0" * 16}}
    (tmp_path / "a.png.json").write_text(json.dumps(record))
    assert "somebody/else" in sentence(run("verify", "a.png", *FAST), code=1)


def test_a_ring_too_plain_for_the_test_is_refused(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert run("keys", "create", "--keyring", "plain.json", "--id", "z", "--pattern", "zeros").exit_code == 0
    assert "'zeros'" in sentence(run("verify", "a.png", "--keyring", "plain.json"))


def test_alternatives_of_the_chain(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    for options in (
        ["--decoder-inversion", "adam", "--iterations", "2", "--inversion-steps", "4"],
        ["--decoder-inversion", "encoder", "--diffusion-inversion", "dpmsolver++", "--inversion-steps", "8"],
        ["--decoder-inversion", "encoder", "--dtype", "bf16"],
    ):
        result = run("verify", "a.png", "--effort", "fast", "--align", "off", "--json", *options)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["log10_p"] < -10


def test_plot(run, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    assert run("verify", "a.png", "--plot", "spectrum.png", *FAST).exit_code == 0
    assert Image.open("spectrum.png").width > 1000
    assert os.stat("spectrum.png").st_mode & 0o077 == 0
    assert "one image" in run("verify", "a.png", "a.png", "--plot", "spectrum.png").output
    assert "xyz" in sentence(run("verify", "a.png", "--plot", "spectrum.xyz", *FAST))
    assert "missing" in sentence(run("verify", "a.png", "--plot", "/proc/missing/spectrum.png", *FAST))


@pytest.mark.parametrize(
    "option", [["--fpr", "0"], ["--fpr", "2"], ["--size", "12"], ["--size", "500x500"], ["--effort", "x"]]
)
def test_bad_options(run, marked, tmp_path, option):
    marked.save(tmp_path / "a.png")
    assert run("verify", "a.png", *option).exit_code == 2


# embed -------------------------------------------------------------------------------------------------------------


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


def test_embed_never_overwrites_unasked(run, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "-o", "out.png", "--steps", 1]
    assert run(*command).exit_code == 0
    before = (tmp_path / "out.png").read_bytes()
    assert "exists already" in sentence(run(*command))
    assert (tmp_path / "out.png").read_bytes() == before
    assert run(*command, "--force", "--seed", 5).exit_code == 0
    assert (tmp_path / "out.png").read_bytes() != before


def test_embed_goes_on_where_it_stopped(run, tmp_path):
    command = ["embed", "--prompt", "a blue sea wallpaper", "--count", 3, "--steps", 1, "--seed", 0]
    assert run(*command, "-o", "all.png").exit_code == 0
    assert run(*command, "-o", "all.png", "--skip-existing").stdout.startswith("nothing to do")
    again = tmp_path / "all-002.png"
    pixels = np.asarray(Image.open(again)).astype(int)
    again.unlink()
    result = run(*command, "-o", "all.png", "--skip-existing")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    assert np.abs(np.asarray(Image.open(again)).astype(int) - pixels).max() <= 2


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
        f"all-00{i}.png is unfinished: image and record are made anew" for i in (2, 3)
    ]
    for i in (1, 2, 3, 4):
        record = json.loads((tmp_path / f"all-00{i}.png.json").read_text())
        assert record["image_sha256"] == sha256(tmp_path / f"all-00{i}.png")
        assert (i in (1, 4)) == (before[f"all-00{i}.png"] == (tmp_path / f"all-00{i}.png").read_bytes())
    assert run(*command, "--skip-existing").stdout.startswith("nothing to do")


def test_embed_leaves_other_files_alone(run, tmp_path):
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
        (["-o", "below/a-file/out.png"], "not a directory"),
        (["-o", "folder.png"], "no regular file"),
        (["-o", "x" * 250 + ".png"], "too long"),
        (["-o", "/proc/missing/out.png"], "cannot be written"),
        (["-o", "out.png", "--guidance", "nan"], "nan"),
        (["-o", "out.png", "--guidance", "inf"], "inf"),
        (["-o", "out.png", "--seed", 2**64], "--seed"),
        (["-o", "out.png", "--seed", -1], "--seed"),
        (["-o", "out.png", "--count", 2, "--seed", 2**64 - 1], "2^64"),
    ],
)
def test_embed_refuses_before_anything_is_generated(run, tmp_path, monkeypatch, options, expected):
    monkeypatch.setattr("wmark.models.registry.load_model", lambda *arguments, **options: pytest.fail("generating"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a-file").touch()
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert expected in sentence(run("embed", "--prompt", "x", *options))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-o", "out.bmp"], ".png"),
        (["-o", "out.png", "--size", "500x512"], "multiple of 8"),
        (["-o", "out.png", "--size", "256x256"], "radius"),
        (["-o", "out.png", "--key", "nobody"], "'nobody'"),
    ],
)
def test_embed_refuses_with_one_sentence(run, tmp_path, options, expected):
    assert expected in sentence(run("embed", "--prompt", "x", "--steps", 1, *options))
    assert not list(tmp_path.glob("out*"))


# keys --------------------------------------------------------------------------------------------------------------


def test_life_of_a_key(run, tmp_path):
    at = ["--keyring", "ring.json"]
    assert run("keys", "create", "--id", "a", "--note", "first", *at).exit_code == 0
    assert run("keys", "create", "--id", "b", "--pattern", "ring", "--channels", "0,1", *at).exit_code == 0
    assert (tmp_path / "ring.json").stat().st_mode & 0o077 == 0
    shown = json.loads(run("keys", "show", "b", *at).stdout)
    assert (shown["dimension"], shown["status"]) == (20, "active")
    assert run("keys", "revoke", "a", *at).exit_code == 0
    listed = json.loads(run("keys", "list", "--json", *at).stdout)["keys"]
    assert [(key["id"], key["status"]) for key in listed] == [("a", "revoked"), ("b", "active")]
    assert "revoked" in sentence(run("embed", "--prompt", "x", "-o", "x.png", "--key", "a", *at))
    assert "already" in sentence(run("keys", "create", "--id", "a", *at))
    secret = json.loads((tmp_path / "ring.json").read_text())["secret"]
    assert secret not in run("keys", "list", *at).output + json.dumps(shown)


@pytest.mark.parametrize("options", [["--channels", "a"], ["--strength", "2"], ["--id", "a b"], ["--radius", "0"]])
def test_bad_keys_are_refused(run, tmp_path, options):
    assert run("keys", "create", "--keyring", "ring.json", *options).exit_code == 2
    assert not (tmp_path / "ring.json").exists()


@pytest.mark.parametrize("args", [["--help"], ["keys", "list"]])
def test_light_commands_import_neither_torch_nor_diffusers(keyring, args):
    code = (
        "import sys; from wmark.cli import main; main(sys.argv[1:], standalone_mode=False);"
        "heavy = {'torch', 'diffusers', 'transformers', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, *args]
    environment = {**os.environ, "WMARK_KEYRING": str(keyring)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
