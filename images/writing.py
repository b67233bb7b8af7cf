"""Images as the bytes of a file.

Written images state in XMP where they come from (IPTC digital source type): from a trained model unless something else
is said. They carry no other metadata.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from PIL import Image

from ..errors import ImageError
from ..version import __version__

__all__ = ["check_suffix", "encode_image"]

WRITABLE = (".png", ".jpg", ".jpeg", ".webp")

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <xmp:CreatorTool>wmark {version}</xmp:CreatorTool>
{properties}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def encode_image(
    image: Image.Image,
    suffix: str,
    description: Mapping[str, str] | None = None,
    source: str = "trainedAlgorithmicMedia",
) -> bytes:
    """Encode an image for a file, with an XMP packet that says where it comes from.

    PNG and WebP keep every pixel; JPEG is written at quality 95 without chroma subsampling.

    Arguments:
        image: The image, written as RGB.
        suffix: The file's suffix: `.png`, `.jpg`, `.jpeg` or `.webp`.
        description: Further text properties of the IPTC Extension schema, such as `AISystemUsed`; public.
        source: Its digital source type, a term of IPTC's.

    Raises:
        ImageError: If the suffix is another, the format cannot hold an image of this size, or a name is not one of XML.
    """
    suffix = check_suffix(suffix)
    xmp = xmp_packet(description or {}, source)
    clean = image.convert("RGB")
    clean.info = {}
    file = io.BytesIO()
    try:
        if suffix == ".png":
            from PIL.PngImagePlugin import PngInfo

            chunks = PngInfo()
            chunks.add_itxt("XML:com.adobe.xmp", xmp)
            clean.save(file, "PNG", pnginfo=chunks)
        elif suffix != ".webp":
            payload = b"http://ns.adobe.com/xap/1.0/\x00" + xmp.encode()
            if len(payload) > 65533:
                raise ImageError("the description of the image is too long for JPEG: shorten it or write .png")
            # Pillow before 11 has no `xmp` for JPEG; every release writes the marker as it stands here.
            segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
            clean.save(file, "JPEG", quality=95, subsampling=0, extra=segment)
        else:
            clean.save(file, "WEBP", lossless=True, xmp=xmp.encode())
    except (OSError, ValueError) as error:
        size = f"{clean.width} x {clean.height} pixels"
        raise ImageError(f"an image of {size} cannot be written as {suffix}: choose .png") from error
    return file.getvalue()


def check_suffix(suffix: str) -> str:
    """The suffix in lower case, or an :class:`ImageError` if images are not written in its format."""
    if suffix.lower() not in WRITABLE:
        raise ImageError(f"images are not written as {suffix!r}: choose {', '.join(WRITABLE[:-1])} or {WRITABLE[-1]}")
    return suffix.lower()


def xmp_packet(description: Mapping[str, str], source: str) -> str:
    lines = []
    for name, text in {**description, "DigitalSourceType": SOURCE_TYPES + source}.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            raise ImageError(f"{name!r} is no property of the IPTC Extension schema: use letters and digits")
        allowed = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", str(text))
        lines.append(f"   <Iptc4xmpExt:{name}>{escape(allowed)}</Iptc4xmpExt:{name}>")
    return XMP.format(version=__version__, properties="\n".join(lines))
