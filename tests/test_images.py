from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, features

from wmark import images
from wmark.errors import ImageError
from wmark.images import encode_image, open_image, reading

SIZE = (96, 64)


@pytest.fixture
def picture() -> Image.Image:
    """A smooth RGB picture without any symmetry, 96 x 64 pixels."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return Image.fromarray(np.stack([x * 2 + 20, y * 3 + 10, 200 - x - y], axis=-1).astype(np.uint8))


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference in 8-bit levels."""
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


def refusal(path: Path | str) -> str:
    """The one sentence with which an image file is refused."""
    with pytest.raises(ImageError) as refused:
        open_image(path)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert repr(str(path)) in sentence
    return sentence


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = SIZE, bits: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


PIXELS = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * SIZE[0]) * SIZE[1])))


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        (".png", {}, 0),
        (".bmp", {}, 0),
        (".tif", {"compression": "tiff_lzw"}, 0),
        (".tga", {}, 0),
        (".ppm", {}, 0),
        (".webp", {"lossless": True}, 0),
        (".gif", {}, 6),
        (".jpg", {"quality": 95}, 3),
        (".jpg", {"quality": 95, "progressive": True}, 3),
        (".jp2", {}, 3),
        (".avif", {"quality": 95}, 3),
    ],
)
def test_formats(picture: Image.Image, tmp_path: Path, suffix: str, options: dict, tolerance: float):
    if suffix in (".jp2", ".avif") and not features.check({".jp2": "jpg_2000", ".avif": "avif"}[suffix]):
        pytest.skip(f"this Pillow has no {suffix}")
    path = tmp_path / f"picture{suffix}"
    picture.save(path, **options)
    opened = open_image(path)
    assert type(opened) is Image.Image
    assert (opened.mode, opened.size, opened.info) == ("RGB", SIZE, {})
    assert difference(opened, picture) <= tolerance

    noise = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    data = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(data[: len(data) * tenth // 10])
        refusal(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes(picture: Image.Image, mode: str):
    through = {"La": ["LA", "La"], "RGBa": ["RGBA", "RGBa"], "PA": ["P", "PA"]}.get(mode, [mode])
    other = picture
    for step in through:
        other = other.convert(step)
    expected = picture
    if mode in ("L", "LA", "La"):
        expected = picture.convert("L").convert("RGB")
    if mode in ("1", "P", "PA"):
        expected = other.convert("RGB")
    opened = open_image(other)
    assert opened.mode == "RGB"
    assert difference(opened, expected) <= 2


def test_lab(picture: Image.Image):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    other = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    assert difference(open_image(other), picture) < 3


def test_cmyk_jpeg(picture: Image.Image, tmp_path: Path):
    path = tmp_path / "picture.jpg"
    picture.convert("CMYK").save(path, quality=95)
    assert difference(open_image(path), picture) < 4


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I"])
def test_16_bit_grey(mode: str):
    values = np.linspace(0, 65535, SIZE[0] * SIZE[1]).round().astype(np.uint16).reshape(SIZE[::-1])
    data = values.astype({"I;16B": ">u2", "I": "<i4"}.get(mode, "<u2")).tobytes()
    opened = open_image(Image.frombytes(mode, SIZE, data, "raw", {"I": "I;32"}.get(mode, mode)))
    assert np.array_equal(np.asarray(opened)[..., 0], np.rint(values / 257))
    assert np.asarray(opened).max() == 255


def test_16_bit_grey_png(tmp_path: Path):
    values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]) * 10
    path = tmp_path / "grey.png"
    Image.fromarray(values).save(path)
    assert np.array_equal(np.asarray(open_image(path))[..., 1], np.rint(values / 257))


def test_32_bit_grey_beyond_16_bits_is_refused():
    for value in (-1, 65536):
        with pytest.raises(ImageError, match="16 bits"):
            open_image(Image.new("I", SIZE, value))


def test_float_grey(tmp_path: Path):
    values = np.linspace(0, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE[::-1])
    path = tmp_path / "float.tif"
    for scale in (1, 255):
        Image.fromarray(values * np.float32(scale)).save(path)
        assert np.array_equal(np.asarray(open_image(path))[..., 2], np.rint(values * np.float32(255)))
    for wrong in (np.nan, np.inf, -0.5, 300):
        values[3, 4] = wrong
        Image.fromarray(values).save(path)
        assert "scale them to [0, 1]" in refusal(path)


def test_transparency_is_laid_over_white(picture: Image.Image, tmp_path: Path):
    path = tmp_path / "picture.png"
    alpha = Image.new("L", SIZE, 255)
    marked = picture.copy()
    marked.putalpha(alpha)
    marked.save(path)
    assert difference(open_image(path), picture) == 0

    alpha.paste(0, (0, 0, 40, 64))
    alpha.paste(128, (40, 0, 60, 64))
    marked.putalpha(alpha)
    for mode in ("RGBA", "LA"):
        marked.convert(mode).save(path)
        pixels = np.asarray(open_image(path), dtype=float)
        source = np.asarray(picture if mode == "RGBA" else picture.convert("L").convert("RGB"), dtype=float)
        assert (pixels[:, :40] == 255).all()
        assert np.abs(pixels[:, 40:60] - (source[:, 40:60] * 128 + 255 * 127) / 255).max() <= 1
        assert (pixels[:, 60:] == source[:, 60:]).all()


def test_transparent_colours_are_laid_over_white(tmp_path: Path):
    path = tmp_path / "picture.png"
    for mode, colour, transparent in [("P", 5, 5), ("L", 5, 5), ("RGB", (5, 6, 7), (5, 6, 7)), ("1", 0, 0)]:
        other = Image.new(mode, SIZE, colour)
        if mode == "P":
            other.putpalette(range(48))
        other.save(path, transparency=transparent)
        assert (np.asarray(open_image(path)) == 255).all(), mode
    rows = b"".join(b"\x00" + b"\x01\x02" * SIZE[0] for _ in range(SIZE[1]))
    path.write_bytes(png(chunk(b"tRNS", b"\x01\x02"), chunk(b"IDAT", zlib.compress(rows)), bits=16, colour=0))
    assert (np.asarray(open_image(path)) == 255).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(picture: Image.Image, tmp_path: Path, suffix: str, orientation: int):
    """The picture is stored turned, with the EXIF orientation that turns it back."""
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, reading.UPRIGHT.get(orientation))
    stored = picture if turn is None else picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"picture{suffix}"
    stored.save(path, exif=exif)
    opened = open_image(path)
    assert opened.size == SIZE
    assert difference(opened, picture) < 6
    assert 0x0112 not in opened.getexif()


def test_unreadable_exif_is_ignored(picture: Image.Image, tmp_path: Path, recwarn: pytest.WarningsRecorder):
    path = tmp_path / "picture.png"
    for exif in (
        b"Exif\x00\x00nonsense",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09",
    ):
        picture.save(path, exif=exif)
        assert difference(open_image(path), picture) == 0
    assert not recwarn.list


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_animation_is_refused(picture: Image.Image, tmp_path: Path, suffix: str):
    path = tmp_path / f"picture{suffix}"
    turned = [picture.transpose(Image.Transpose.ROTATE_180), picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    picture.save(path, save_all=True, append_images=turned)
    assert "more than one frame" in refusal(path)
    with Image.open(path) as opened, pytest.raises(ImageError, match="the image has more than one frame"):
        open_image(opened)


def test_photograph_with_preview_is_accepted(picture: Image.Image, tmp_path: Path):
    path = tmp_path / "photograph.jpg"
    picture.save(path, "MPO", save_all=True, append_images=[picture.resize((48, 32))], quality=95)
    with Image.open(path) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    assert difference(open_image(path), picture) < 3


@pytest.mark.parametrize("size", [(10_001, 10_000), (10_000_000, 11), (100_000, 100_000)])
def test_too_large_image_is_refused_before_decoding(tmp_path: Path, size: tuple[int, int]):
    path = tmp_path / "large.png"
    path.write_bytes(png(PIXELS, size=size))
    assert "100 megapixels" in refusal(path)


@pytest.mark.parametrize("suffix", [".webp", ".jp2"])
def test_decoders_that_hold_a_picture_several_times_get_smaller_ones(tmp_path: Path, suffix: str):
    path = tmp_path / f"large{suffix}"
    with patch.dict("wmark.images.reading.LARGEST_AREAS", {"WEBP": 80_000, "JPEG2000": 75_000}):
        Image.new("RGB", (400, 250)).save(path)
        assert "megapixels" in refusal(path)
    assert open_image(path).size == (400, 250)


def test_large_image_raises_no_warning(tmp_path: Path, monkeypatch, recwarn: pytest.WarningsRecorder):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    path = tmp_path / "picture.png"
    path.write_bytes(png(PIXELS))
    assert open_image(path).size == SIZE
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "megapixels" in refusal(path)


def test_tiny_image_is_refused(tmp_path: Path):
    path = tmp_path / "tiny.png"
    Image.new("RGB", (63, 640)).save(path)
    assert "63 x 640 pixels" in refusal(path)
    Image.new("RGB", (64, 64)).save(path)
    assert open_image(path).size == (64, 64)


BROKEN = {
    "empty.png": b"",
    "text.png": b"this is no image\n",
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"><rect width="9" height="9"/></svg>',
    "document.pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
    "page.html": b"<!doctype html><title>404</title>",
    "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\n%%EndComments\nshowpage\n",
    "signature.png": b"\x89PNG\r\n\x1a\n",
    "checksum.png": png(PIXELS).replace(b"IHDR\x00", b"IHDR\x01"),
    "adler.png": png(PIXELS[:-5] + b"\x00" + PIXELS[-4:]),
    "chunk.png": png(PIXELS[:20], b"\x00\x00\x00\x04\x00\x00\x00\x00junk"),
    "no-pixels.png": png(),
    "few-pixels.png": png(chunk(b"IDAT", zlib.compress(bytes(100)))),
    "not-zlib.png": png(chunk(b"IDAT", b"junk" * 100)),
    "bad-header.png": png(PIXELS, bits=3),
    "animation.png": png(chunk(b"acTL", b"\x00\x00\x00\x02\x00\x00\x00\x00"), PIXELS),
    "zero.png": png(PIXELS, size=(0, 64)),
    "start.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "header.bmp": b"BM" + bytes(20),
    "header.tif": b"II*\x00\x08\x00\x00\x00\xff\xff",
    "header.gif": b"GIF89a\x60\x00\x40\x00\x80\x00\x00",
    "header.webp": b"RIFF\x20\x00\x00\x00WEBPVP8 ",
    "header.ico": b"\x00\x00\x01\x00\x01\x00\x60\x40" + bytes(14),
    "stub.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "film.mpg": b"\x00\x00\x01\xb3\x06\x00\x40" + bytes(100),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused(tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    refusal(path)
    assert not recwarn.list


def test_whole_file_of_the_same_making_is_accepted(tmp_path: Path):
    path = tmp_path / "whole.png"
    path.write_bytes(png(PIXELS))
    assert open_image(str(path)).size == SIZE


def test_missing_folder_and_forbidden_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert "does not exist" in refusal(tmp_path / "none.png")
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be read" in refusal(str(tmp_path / "null\x00byte"))
    assert "cannot be read" in refusal(tmp_path / ("long" * 100))
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(PIXELS))
    monkeypatch.setattr(os, "open", forbidden)
    assert "permission denied" in refusal(secret)


def forbidden(*arguments):
    raise PermissionError(13, "Permission denied")


def test_truncated_image_is_refused_where_pillow_would_pad(picture, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"picture{suffix}"
        data = encode_image(picture, suffix)
        path.write_bytes(data[: len(data) - 200])
        assert "damaged or incomplete" in refusal(path)
        assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_opened_image_is_left_as_it_was(picture: Image.Image):
    picture.info["comment"] = "mine"
    opened = open_image(picture)
    assert opened is not picture
    assert opened.info == {}
    assert picture.info == {"comment": "mine"}


def test_tensors():
    torch = pytest.importorskip("torch")
    levels = np.arange(256, dtype=np.uint8).repeat(3 * 16).reshape(64, 64, 3)
    tensor = images.to_tensor(Image.fromarray(levels))
    assert (tensor.shape, tensor.dtype) == ((3, 64, 64), torch.float32)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(np.asarray(images.to_image(tensor)), levels)
    assert np.asarray(images.to_image(tensor * 3)).max() == 255
    pixels = images.to_pixels(Image.fromarray(levels))
    assert (pixels.shape, pixels.dtype) == ((3, 64, 64), torch.uint8)
    assert torch.equal(images.to_unit(pixels), tensor)
    assert torch.equal(images.to_unit(pixels.expand(2, 1, 3, 64, 64)), tensor.expand(2, 1, 3, 64, 64))
    assert torch.equal(tensor, torch.from_numpy(levels).permute(2, 0, 1).float() / 127.5 - 1)
    for wrong in (tensor[None], tensor[:1], tensor / 0):
        with pytest.raises(ImageError):
            images.to_image(wrong)


def test_import_is_light():
    check = "import sys, wmark.images; sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", check], env=environment).returncode == 0
