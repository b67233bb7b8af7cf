from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from wmark import images
from wmark.errors import ImageError
from wmark.images import encode_image


@pytest.fixture
def picture() -> Image.Image:
    """A smooth RGB picture without any symmetry, 96 x 64 pixels."""
    y, x = np.mgrid[:64, :96]
    return Image.fromarray(np.stack([x * 2 + 20, y * 3 + 10, 200 - x - y], axis=-1).astype(np.uint8))


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference in 8-bit levels."""
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp"])
def test_encoded_image_says_how_it_was_made(picture: Image.Image, suffix: str):
    picture.info.update(comment=b"private", exif=b"Exif\x00\x00private", icc_profile=b"private", dpi=(7, 7))
    data = encode_image(picture, suffix, {"AISystemUsed": 'a <tiny> & "small" model\x00, ü'})
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == {".jpg": "JPEG", ".jpeg": "JPEG"}.get(suffix, suffix[1:].upper())
        assert difference(opened, picture) <= (2 if opened.format == "JPEG" else 0)
        found = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp", "").encode()
    assert b"private" not in data
    packet = data[data.index(b"<?xpacket begin") : data.index(b'<?xpacket end="r"?>') + 19]
    if suffix in (".jpg", ".jpeg"):
        assert b"http://ns.adobe.com/xap/1.0/\x00" + packet in data  # Pillow reads it from 11.0 on.
    else:
        assert found == packet
    properties = {element.tag: element.text for element in ElementTree.fromstring(packet).iter()}
    extension = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert properties[extension + "DigitalSourceType"] == source
    assert properties[extension + "AISystemUsed"] == 'a <tiny> & "small" model, ü'
    assert properties["{http://ns.adobe.com/xap/1.0/}CreatorTool"].startswith("wmark ")


def test_jpeg_keeps_colour_resolution(picture: Image.Image):
    with Image.open(io.BytesIO(encode_image(picture, ".jpg"))) as opened:
        assert {(horizontal, vertical) for _, horizontal, vertical, _ in opened.layer} == {(1, 1)}


def test_png_text_is_one_chunk(picture: Image.Image):
    with Image.open(io.BytesIO(encode_image(picture, ".png"))) as opened:
        assert isinstance(opened, PngImagePlugin.PngImageFile)
        assert list(opened.text) == ["XML:com.adobe.xmp"]


def test_encoding_refusals(picture: Image.Image):
    for suffix in (".gif", "", "png"):
        with pytest.raises(ImageError, match=r"choose \.png, \.jpg, \.jpeg or \.webp"):
            encode_image(picture, suffix)
    assert images.check_suffix(".WebP") == ".webp"
    with pytest.raises(ImageError, match=r"16384 x 64 pixels cannot be written as \.webp"):
        encode_image(Image.new("RGB", (16384, 64)), ".webp")
    with pytest.raises(ImageError, match="letters and digits"):
        encode_image(picture, ".png", {"a><b": ""})
    with pytest.raises(ImageError, match="too long for JPEG"):
        encode_image(picture, ".jpg", {"AIPromptInformation": "x" * 70_000})
