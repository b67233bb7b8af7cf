"""Images from files and streams.

An image is decoded strictly, so that nobody gets a verdict on half a picture, but for its pixels alone: whatever is
wrong with its metadata is no reason to refuse it.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from ..errors import DamagedImage, ImageError, MissingImage, NoImage, UnfitImage
from ..files import UnfitFile, open_regular, reason, shown
from .pixels import checksum, to_rgb
from .salvage import bare

__all__ = ["explained", "open_image", "read_image"]

LARGEST_FILE = 512  # MiB
LARGEST_AREA = 100_000_000
# Formats whose decoders hold the picture several times over: with these, a gigabyte and a half still does.
LARGEST_AREAS = {"WEBP": 80_000_000, "JPEG2000": 75_000_000}
MOST_SCANS = 1000
SHORTEST_SIDE = 64

# Formats whose further frames are no pictures of their own but previews or layers of the first.
SINGLE_PICTURE = {"MPO", "PSD"}
# Formats that hold drawing commands; Pillow hands EPS to an external interpreter.
DRAWINGS = {"EPS", "WMF"}

UNREADABLE = NoImage, DamagedImage
"""What cannot be decoded, and may be without its metadata."""

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


def open_image(source: str | os.PathLike | Image.Image) -> Image.Image:
    """Read an image.

    Arguments:
        source: A file in any format that Pillow reads, or an image that Pillow has opened already.

    Returns:
        An upright image of mode RGB, detached from its file and without metadata.

    Raises:
        ImageError: If there is no such file or it is no regular one, it is no image, it is damaged or incomplete, it
            has more than one frame, it is larger than 512 MiB or 100 megapixels or narrower than 64 pixels, or its
            values have no 8-bit meaning.
    """
    if isinstance(source, Image.Image):
        return attempt(source, "the image")
    name = f"image '{shown(source)}'"
    with explained(name, OSError, ValueError), open_regular(source, LARGEST_FILE << 20) as file:
        return read(file, name)


@contextlib.contextmanager
def explained(name: str, *unreadable: type[Exception]) -> Iterator[None]:
    """Errors of opening and reading a file as what they mean for an image.

    Arguments:
        name: What errors call it.
        unreadable: Errors that say that it cannot be read.

    Raises:
        ImageError: In place of each of them.
    """
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise MissingImage(f"{name} does not exist: check the path") from None
    except IsADirectoryError:
        raise NoImage(f"{name} is a folder: name the files in it") from None
    except UnfitFile as error:
        raise UnfitImage(f"{name} {error}: save it as a PNG or JPEG file") from None
    except unreadable as error:
        raise ImageError(f"{name} cannot be read ({reason(error)}): check the path and its permissions") from error


def read_image(stream: BinaryIO, name: str = "standard input") -> Image.Image:
    """Read an image from a binary stream, such as standard input, up to its end.

    Arguments:
        stream: The stream. It need not be seekable.
        name: What errors call it.

    Returns:
        An image as from :func:`open_image`.

    Raises:
        ImageError: As :func:`open_image`. After 512 MiB no more is read.
    """
    held = io.BytesIO()
    try:
        while part := stream.read(1 << 20):
            held.write(part)
            if held.tell() > LARGEST_FILE << 20:
                raise UnfitImage(f"{name} goes on for more than {LARGEST_FILE} MiB: pass one image as PNG or JPEG")
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be read ({reason(error)}): pass one image") from error
    return read(held, name)


def read(stream: BinaryIO, name: str) -> Image.Image:
    """Decode the image of a seekable stream, without its metadata if need be."""
    stream.seek(0)
    if not stream.read(1):
        raise NoImage(f"{name} is an empty file: get it again from where it came")
    try:
        return attempt(stream, name)
    except UNREADABLE as error:
        failure = error
        traceback.clear_frames(error.__context__.__traceback__)  # They hold half a picture.
    picture = salvaged(stream, name)
    if picture is None:
        raise failure
    return picture


def salvaged(stream: BinaryIO, name: str) -> Image.Image | None:
    """The picture of a file as its pixels alone make it, if they are whole."""
    picture, pictures = None, set()
    try:
        stream.seek(0)
        for version in bare(stream.read()):
            picture = None  # A second one of 100 megapixels would be too many.
            picture = attempt(io.BytesIO(version), name)
            pictures.add(checksum(picture))
            if len(pictures) > 1:
                return None
    except UNREADABLE:
        return None
    except ImageError:
        raise
    except Exception:  # The container is broken as well.
        return None
    return picture


def attempt(source: BinaryIO | Image.Image, name: str) -> Image.Image:
    """Decode an image, and whatever stops Pillow becomes one sentence."""
    try:
        with warnings.catch_warnings(), strict_decoding:
            # What Pillow warns of, such as size or unreadable EXIF, is either refused below or of no consequence here.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            return decode(source if isinstance(source, Image.Image) else Image.open(source), name)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise NoImage(f"{name} is no image, or of no format that can be read: convert it to PNG or JPEG") from None
    except Image.DecompressionBombError as error:
        raise UnfitImage(f"{name} has more than 100 megapixels: scale it down") from error
    except MemoryError as error:
        raise UnfitImage(f"{name} does not fit into memory: scale it down") from error
    # Decoders let many kinds of exceptions out for a broken file: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        raise DamagedImage(f"{name} is damaged or incomplete: get it again from where it came") from error


def decode(image: Image.Image, name: str) -> Image.Image:
    """Check an opened image, decode it and bring it upright to RGB."""
    width, height = image.size
    if image.format in DRAWINGS:
        raise UnfitImage(f"{name} is a drawing ({image.format}), not pixels: convert it to PNG")
    largest = LARGEST_AREAS.get(image.format, LARGEST_AREA)
    if width * height > largest:
        megapixels = f"{largest // 1_000_000} megapixels"
        raise UnfitImage(f"{name} has {width} x {height} pixels, more than {megapixels}: scale it down")
    if min(width, height) < SHORTEST_SIDE:
        raise UnfitImage(f"{name} has {width} x {height} pixels, fewer than {SHORTEST_SIDE} a side: use a larger one")
    if image.format not in SINGLE_PICTURE and getattr(image, "is_animated", False):
        raise UnfitImage(f"{name} has more than one frame: extract the frames and pass them one by one")
    if image.info.get("progressive") and count_scans(image) > MOST_SCANS:
        raise UnfitImage(f"{name} has more than {MOST_SCANS} scans, which takes forever to decode: save it as PNG")
    image.load()
    turn = upright(image)
    picture = to_rgb(image, name)
    del image
    return picture if turn is None else picture.transpose(turn)


def count_scans(image: Image.Image) -> int:
    """The scans of a JPEG that is not decoded yet. An empty one takes 200 bytes, and a walk over all blocks."""
    if (file := getattr(image, "fp", None)) is None:
        return 0
    file.seek(0)
    return file.read().count(b"\xff\xda")


def upright(image: Image.Image) -> Image.Transpose | None:
    """What brings an image upright, as its EXIF states."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION))
    except Exception:  # Unreadable EXIF is no reason to refuse pixels that are whole.
        return None


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
