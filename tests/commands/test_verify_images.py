"""`wmark verify`: images that must be handled, and those that must be refused."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

FAST = ["--effort", "fast", "--align", "off"]


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


@pytest.mark.parametrize(
    ("size", "align"), [((512, 400), "auto"), ((400, 512), "off"), ((700, 650), "off"), ((300, 90), "off")]
)
def test_sizes_that_differ_from_the_models_are_handled(run, unmarked, tmp_path, size, align):
    unmarked.resize(size).save(tmp_path / "odd.png")
    assert run("verify", "odd.png", "--effort", "fast", "--align", align).exit_code == 1


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
    (write_animated, "more than one frame"),
    (write_text, "no image"),
    (write_tiny, "fewer than 64"),
    (write_narrow, "too narrow"),
    (write_folder, "folder"),
]


@pytest.mark.parametrize(("write", "expected"), BAD)
def test_an_unusable_image_gets_one_sentence(run, sentence, unmarked, tmp_path, write, expected):
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
