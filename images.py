"""Images between files, Pillow and tensors.

Whatever Pillow reads becomes one upright 8-bit RGB image, or an :class:`ImageError` that says why not. Depth and
transparency are settled here, the same for every caller:

    16-bit grey       v -> round(v / 257), which takes 65535 to 255
    float grey        [0, 1] -> [0, 255]; values above 1 count as 8-bit values already
    transparency      dropped where nothing is transparent, otherwise laid over white
    orientation       applied as EXIF states it

Written images state in XMP that they were made by a trained model (IPTC digital source type), and carry no other
metadata.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO
from xml.sax.saxutils import escape

from PIL import Image, ImageFile, UnidentifiedImageError

from .errors import ImageError
from .files import reason
from .version import __version__

if TYPE_CHECKING:
    import torch

__all__ = ["check_suffix", "encode_image", "open_image", "to_image", "to_tensor"]

WRITABLE = (".png", ".jpg", ".jpeg", ".webp")
LARGEST_AREA = 100_000_000
SHORTEST_SIDE = 64

# Formats whose further frames are no pictures of their own but previews or layers of the first.
SINGLE_PICTURE = {"MPO", "PSD"}
# Formats that hold drawing commands; Pillow hands EPS to an external interpreter.
DRAWINGS = {"EPS", "WMF"}

ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

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
TRAINED_ALGORITHM = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def open_image(source: str | os.PathLike | Image.Image) -> Image.Image:
    """Read an image.

    Arguments:
        source: A file in any format that Pillow reads, or an image that Pillow has opened already.

    Returns:
        An upright image of mode RGB, detached from its file and without metadata.

    Raises:
        ImageError: If there is no such file, it is no image, it is damaged or incomplete, it has more than one frame,
            it is larger than 100 megapixels or narrower than 64 pixels, or its values have no 8-bit meaning.
    """
    with warnings.catch_warnings(), strict_decoding:
        # What Pillow warns of, such as size or unreadable EXIF, is either refused below or of no consequence here.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        if isinstance(source, Image.Image):
            return decode(source, "the image")
        name = f"image {os.fspath(source)!r}"
        try:
            with open(source, "rb") as file:
                stream = file if file.seekable() else io.BytesIO(file.read())
                return decode(identify(stream, name), name)
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist: check the path") from None
        except IsADirectoryError:
            raise ImageError(f"{name} is a folder: name the files in it") from None
        except (OSError, ValueError) as error:
            raise ImageError(f"{name} cannot be read ({reason(error)}): check the path and its permissions") from error


def identify(stream: BinaryIO, name: str) -> Image.Image:
    """Open a stream as an image, its pixels not yet decoded."""
    if not stream.read(1):
        raise ImageError(f"{name} is an empty file: get it again from where it came")
    stream.seek(0)
    try:
        return Image.open(stream)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is no image, or of no format that can be read: convert it to PNG or JPEG") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than 100 megapixels: scale it down") from error
    except Exception as error:
        raise damaged(name) from error


def decode(image: Image.Image, name: str) -> Image.Image:
    """Check an opened image, decode it and bring it upright to RGB."""
    width, height = image.size
    if image.format in DRAWINGS:
        raise ImageError(f"{name} is a drawing ({image.format}), not pixels: convert it to PNG")
    if width * height > LARGEST_AREA:
        raise ImageError(f"{name} has {width} x {height} pixels, more than 100 megapixels: scale it down")
    if min(width, height) < SHORTEST_SIDE:
        raise ImageError(f"{name} has {width} x {height} pixels, fewer than {SHORTEST_SIDE} a side: use a larger one")
    # Decoders let many kinds of exceptions out for a broken file: OSError, SyntaxError, ValueError, struct.error, ...
    try:
        frames = 1 if image.format in SINGLE_PICTURE else getattr(image, "n_frames", 1)
        if frames > 1:
            raise ImageError(f"{name} has {frames} frames: extract the frames and pass them one by one")
        image.load()
        orientation = read_orientation(image)
        image = to_rgb(image, name)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory: scale it down") from error
    except Exception as error:
        raise damaged(name) from error
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    image.info = {}
    return image


def damaged(name: str) -> ImageError:
    return ImageError(f"{name} is damaged or incomplete: get it again from where it came")


def read_orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # Unreadable EXIF is no reason to refuse pixels that are whole.
        return 1


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert a decoded image of any mode to a new one of mode RGB."""
    if image.mode.startswith(("I", "F")):
        image = to_8_bit(image, name)
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    straight = image.convert("LA") if image.mode == "La" else image
    straight = straight.convert("RGBA")
    if straight.getchannel("A").getextrema() == (255, 255):
        return straight.convert("RGB")
    white = Image.new("RGBA", straight.size, "white")
    return Image.alpha_composite(white, straight).convert("RGB")


def to_8_bit(image: Image.Image, name: str) -> Image.Image:
    """Scale a grey image of 16-bit, 32-bit or float values to mode L."""
    import numpy as np

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not 0 <= low <= high <= 255:  # False for NaN as well.
            raise ImageError(f"{name} has values from {low:g} to {high:g}: scale them to [0, 1]")
        grey = np.rint(values * (255 if high <= 1 else 1))
    else:
        if not 0 <= low <= high <= 65535:
            raise ImageError(f"{name} has values from {low} to {high}: scale them to 16 bits")
        grey = (values.astype(np.int64) + 128) // 257
        if isinstance(image.info.get("transparency"), int):
            grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey.astype(np.uint8))


def to_tensor(image: Image.Image) -> torch.Tensor:
    """The pixels of an RGB image as a float32 tensor in [-1, 1], with shape (3, H, W)."""
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels.permute(2, 0, 1).contiguous().float() / 127.5 - 1


def to_image(pixels: torch.Tensor) -> Image.Image:
    """The 8-bit RGB image of a tensor, values rounded and those outside [-1, 1] clipped.

    Arguments:
        pixels: An image in [-1, 1], with shape (3, H, W).

    Raises:
        ImageError: If the shape is another, or a value is not finite.
    """
    if pixels.ndim != 3 or len(pixels) != 3:
        raise ImageError(f"a tensor of shape {tuple(pixels.shape)} is no image: pass one of shape (3, H, W)")
    pixels = pixels.detach().float().cpu()
    if not pixels.isfinite().all():
        raise ImageError("the image has values that are not finite: run the model in float32")
    levels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def encode_image(image: Image.Image, suffix: str, description: Mapping[str, str] | None = None) -> bytes:
    """Encode an image for a file, with an XMP packet that says it was made by a trained model.

    PNG and WebP keep every pixel; JPEG is written at quality 95 without chroma subsampling.

    Arguments:
        image: The image, written as RGB.
        suffix: The file's suffix: `.png`, `.jpg`, `.jpeg` or `.webp`.
        description: Further text properties of the IPTC Extension schema, such as `AISystemUsed`; public.

    Raises:
        ImageError: If the suffix is another, the format cannot hold an image of this size, or a name is not one of XML.
    """
    suffix = check_suffix(suffix)
    xmp = xmp_packet(description or {})
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


def xmp_packet(description: Mapping[str, str]) -> str:
    lines = []
    for name, text in {**description, "DigitalSourceType": TRAINED_ALGORITHM}.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            raise ImageError(f"{name!r} is no property of the IPTC Extension schema: use letters and digits")
        allowed = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", str(text))
        lines.append(f"   <Iptc4xmpExt:{name}>{escape(allowed)}</Iptc4xmpExt:{name}>")
    return XMP.format(version=__version__, properties="\n".join(lines))


class StrictDecoding:
    """Lets no decoder pad a truncated image, even in an application that allows it. Safe across threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active = 0
        self.padding = False

    def __enter__(self) -> None:
        with self.lock:
            if not self.active:
                self.padding, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self.active += 1

    def __exit__(self, *exception: object) -> None:
        with self.lock:
            self.active -= 1
            if not self.active:
                ImageFile.LOAD_TRUNCATED_IMAGES = self.padding


strict_decoding = StrictDecoding()
