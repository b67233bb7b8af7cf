from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from wmark.errors import ImageError
from wmark.images import read_image

LONG = b"x" * 1_100_000


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    y, x = np.mgrid[:64, :96]
    return Image.fromarray(np.stack([x * 2 + 20, y * 3 + 10, 200 - x - y], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(read_image(io.BytesIO(data)))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


CHUNKS = {
    "workflow": chunk(b"iTXt", b"workflow\x00\x01\x00\x00\x00" + zlib.compress(LONG)),
    "prompt": chunk(b"zTXt", b"prompt\x00\x00" + zlib.compress(LONG)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + zlib.compress(LONG)),
    "70 megabytes of text": chunk(b"tEXt", b"workflow\x00" + LONG * 64),
    "80 texts of a megabyte": 80 * chunk(b"zTXt", b"text\x00\x00" + zlib.compress(LONG[:1_000_000])),
    "text bomb": chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(1 << 26))),
    "profile bomb": chunk(b"iCCP", b"ICC\x00\x00" + zlib.compress(bytes(1 << 26))),
    "unknown compression": chunk(b"zTXt", b"a\x00\x05junk"),
    "no profile": chunk(b"iCCP", b""),
    "no gamma": chunk(b"gAMA", b""),
    "no resolution": chunk(b"pHYs", b""),
    "text of a wrong checksum": chunk(b"tEXt", b"a\x00b")[:-1] + b"?",
    "EXIF of a wrong checksum": chunk(b"eXIf", b"MM\x00*")[:-1] + b"?",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_png_is_read_whatever_its_metadata(picture: Image.Image, name: str):
    data = encoded(picture, "PNG")
    for place in (33, len(data) - 12):  # behind the header, before the end
        assert (pixels(data[:place] + CHUNKS[name] + data[place:]) == picture).all()


def test_png_without_its_metadata_is_still_upright_transparent_and_animated(picture: Image.Image):
    workflow = CHUNKS["workflow"]

    def with_workflow(image: Image.Image, **options: object) -> io.BytesIO:
        data = encoded(image, "PNG", **options)
        return io.BytesIO(data[:33] + workflow + data[33:])

    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(with_workflow(picture, exif=exif)) == picture.transpose(Image.Transpose.ROTATE_270)
    assert np.asarray(read_image(with_workflow(Image.new("L", (64, 64), 5), transparency=5))).min() == 255
    with pytest.raises(ImageError, match="more than one frame"):
        read_image(with_workflow(picture, save_all=True, append_images=[picture.transpose(1)]))


def test_png_that_breaks_off_in_its_metadata_is_whole(picture: Image.Image):
    data = encoded(picture, "PNG")[:-12] + CHUNKS["prompt"]
    assert (pixels(data[:-100]) == picture).all()


@pytest.mark.parametrize("kind", [b"PLTE", b"tRNS"])
def test_png_of_a_wrong_checksum_in_what_shows_is_refused(picture: Image.Image, kind: bytes):
    data = bytearray(encoded(picture.convert("P"), "PNG", transparency=bytes(range(200))))
    data[data.index(kind) + 5] ^= 1
    with pytest.raises(ImageError):
        read_image(io.BytesIO(data))


@pytest.mark.parametrize(
    "metadata",
    [
        segment(0xE0, b"JFIF"),
        segment(0xE2, b"ICC_PROFILE\x00"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04"),
        segment(0xEE, b"Adobe"),
        segment(0xE1, b"Exif\x00\x00junk"),
        segment(0xE2, b"MPF\x00junk"),
        segment(0xFE, LONG[:60_000]) * 40,
    ],
)
def test_jpeg_is_read_whatever_its_metadata(picture: Image.Image, metadata: bytes):
    data = encoded(picture, "JPEG")
    assert (pixels(data[:2] + metadata + data[2:]) == pixels(data)).all()
    assert (pixels(data[:2] + metadata + data[2:-2]) == pixels(data)).all()


ENCODINGS = [
    {"quality": 30},
    {"quality": 95, "subsampling": 0},
    {"progressive": True},
    {"restart_marker_blocks": 5},
    {"restart_marker_rows": 1, "progressive": True},
]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", ENCODINGS)
def test_jpeg_that_breaks_off_is_read_only_if_nothing_is_missing(mode: str, options: dict):
    """Wherever it breaks off, it is refused or shows what the whole file shows; without its end marker it is read."""
    noise = np.random.default_rng(0).integers(0, 256, (72, 100, 3), dtype=np.uint8)
    for image in (Image.fromarray(noise), Image.new("RGB", (100, 72), (200, 30, 7))):
        data = encoded(image.convert(mode), "JPEG", **options)
        whole = pixels(data)
        for end in {*range(2, len(data), 97), *range(len(data) - 30, len(data))}:
            try:
                shown = pixels(data[:end])
            except ImageError as error:
                assert end < len(data) - 2, error
            else:
                assert (shown == whole).all()


@pytest.mark.parametrize("options", ENCODINGS[2:])
def test_jpeg_that_breaks_off_at_a_marker_is_refused(picture: Image.Image, options: dict):
    """Between two scans or restart intervals there is no broken code that a decoder could stumble over."""
    data = encoded(picture, "JPEG", **options)
    first = data.index(b"\xff\xda")
    places = [i for i in range(first, len(data) - 2) if data[i] == 0xFF and data[i + 1] != 0]
    assert len(places) >= 5
    for end in places:
        with pytest.raises(ImageError, match="damaged or incomplete"):
            read_image(io.BytesIO(data[:end]))


def test_jpeg_of_endless_scans_is_refused(picture: Image.Image):
    data = encoded(picture, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert (pixels(data[:-2] + last * 9 + data[-2:]) != 0).any()
    with pytest.raises(ImageError, match="more than 1000 scans"):
        read_image(io.BytesIO(data[:-2] + last * 1000 + data[-2:]))


def test_webp_that_breaks_off_in_its_metadata_is_whole(picture: Image.Image):
    data = encoded(picture, "WEBP", lossless=True, xmp=LONG)
    assert (pixels(data[:-1000]) == picture).all()
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_image(io.BytesIO(data[: -len(LONG) - 20]))


def broken_xmp(picture: Image.Image, **options: object) -> bytes:
    """A TIFF with a further tag, of no values where one is read."""
    data = encoded(picture, "TIFF", **options)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = data[start + 2 : start + 2 + 12 * count] + struct.pack("<HHII", 700, 3, 1, 0)
    data += bytes(len(data) % 2)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", count + 1) + entries + bytes(4)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_is_read_whatever_its_metadata(picture: Image.Image, compression: str | None):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = broken_xmp(picture, compression=compression, exif=exif)
    with pytest.raises(Exception):  # noqa: B017
        Image.open(io.BytesIO(data)).load()
    assert (pixels(data) == picture.transpose(Image.Transpose.ROTATE_270)).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM"])
def test_file_that_breaks_off_is_refused_or_whole(picture: Image.Image, kind: str):
    data = encoded(picture, kind)
    whole = pixels(data)
    for end in {*range(1, len(data), 53), *range(max(1, len(data) - 40), len(data))}:
        with contextlib.suppress(ImageError):
            assert (pixels(data[:end]) == whole).all()


@pytest.mark.parametrize("make", [lambda p: encoded(p, "PNG"), lambda p: encoded(p, "JPEG"), broken_xmp])
def test_applications_limits_stay(picture: Image.Image, make: Callable[[Image.Image], bytes]):
    from PIL import PngImagePlugin

    before = (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, Image.MAX_IMAGE_PIXELS)
    read_image(io.BytesIO(make(picture)))
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, Image.MAX_IMAGE_PIXELS)
