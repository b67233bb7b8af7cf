"""What is left of a file without its metadata: the parts that its pixels are decoded from.

Pillow gives up on a picture for a text of more than a megabyte, a broken colour profile or a missing end. Here the
containers are taken apart and put together again from what matters, so that nothing else can stop the decoder:

    PNG    header, palette, transparency, pixels, frames; EXIF if its checksum is right
    JPEG   tables, frame, scans; the JFIF and Adobe markers, which settle the colours; EXIF
    WebP   pixels, alpha; EXIF (an animation is left as it is)
    TIFF   a directory of the tags that describe pixels

A JPEG that breaks off without its end marker is a special case, because its decoder makes up what is missing and says
nothing. It is whole if its scans cover all coefficients to the last bit, all restart intervals have begun, and
**what follows does not matter**: the file decodes to the same picture whatever bits are appended.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

__all__ = ["bare"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT", b"IEND"}
WEBP_PIXELS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}

TIFF_PIXELS = {
    *range(254, 260),  # subfile, size, bits, compression
    262,  # photometric interpretation
    266,  # fill order
    *(273, 274, 277, 278, 279, 284),  # strips, orientation, samples
    *(292, 293),  # fax options
    *(317, 320, 322, 323, 324, 325, 332, 338, 339),  # predictor, palette, tiles, inks, samples
    *(347, *range(512, 522), *range(529, 533)),  # JPEG tables, YCbCr
}

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
EXIF, JFIF, ADOBE = (0xE1, b"Exif\x00\x00"), (0xE0, b"JFIF\x00"), (0xEE, b"Adobe")
METADATA = {*range(0xE0, 0xFF)}  # application segments and comments
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # of a segment, or the end
FILLERS = [pattern * 1024 for pattern in (b"\x00", b"\x5a\xc3\x17", b"\xa5\x3c\x68", b"\xe9\x72\xb4")]

Scan = tuple[bytes, bytes, int]  # its header, its coded data, the restart interval


def bare(data: bytes) -> Iterator[bytes]:
    """Files with the pixels of a file and hardly anything else; none, if there is nothing to be done for it.

    If the pixels are whole, all of these files can be decoded and show the same picture.

    Arguments:
        data: The content of a PNG, JPEG, WebP or TIFF file.

    Raises:
        IndexError, KeyError, ValueError, struct.error: If the file cannot be taken apart.
    """
    if data.startswith(PNG_SIGNATURE):
        yield bare_png(data)
    elif data.startswith(JPEG_START):
        yield from bare_jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield bare_webp(data)
    elif data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        yield bare_tiff(data)


def bare_png(data: bytes) -> bytes:
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        if kind in PNG_PIXELS or (kind == b"eXIf" and chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))):
            kept.append(chunk)
        at += 12 + length
    return b"".join(kept)


def bare_webp(data: bytes) -> bytes:
    kept, at = [b"WEBP"], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind in WEBP_PIXELS or (kind == b"EXIF" and end <= len(data)):
            kept.append(data[at:end])
        at = end
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bare_tiff(data: bytes) -> bytes:
    """The file with a shorter first directory in place of its own: entries refer to places, so nothing may move."""
    order = "<" if data[:2] == b"II" else ">"
    pointer, number, field = ("Q", "Q", 20) if b"+" in data[2:4] else ("I", "H", 12)
    (place,) = struct.unpack_from(order + pointer, data, struct.calcsize(pointer))
    (count,) = struct.unpack_from(order + number, data, place)
    start = place + struct.calcsize(number)
    stop = start + count * field
    if stop > len(data):
        raise ValueError("the directory breaks off")
    entries = [data[i : i + field] for i in range(start, stop, field)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] in TIFF_PIXELS]
    following = data[stop : stop + struct.calcsize(pointer)]
    directory = struct.pack(order + number, len(kept)) + b"".join(kept) + following
    return data[:place] + directory + data[place + len(directory) :]


def bare_jpeg(data: bytes) -> Iterator[bytes]:
    kept: list[bytes] = [JPEG_START]
    scans: list[Scan] = []
    frame, interval, at = b"", 0, 2
    while found := MARKER.search(data, at):
        marker, length = data[found.end() - 1], int.from_bytes(data[found.end() : found.end() + 2], "big")
        at = found.end() + length
        segment = data[found.start() : at]
        if marker == 0xD9:
            yield b"".join([*kept, JPEG_END])
            return
        if length < 2 or at > len(data):
            break
        if marker not in METADATA or settles_colours(segment) or is_exif(segment):
            kept.append(segment)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = segment
        elif marker == 0xDD:
            interval = int.from_bytes(segment[4:6], "big")
        elif marker == 0xDA:
            following = MARKER.search(data, at)
            coded = data[at : following.start()] if following else data[at:].rstrip(b"\xff")
            kept.append(coded)
            scans.append((segment, coded, interval))
            at += len(coded)
    if has_all_scans(frame, scans):
        for filler in FILLERS:
            yield b"".join([*kept, filler, JPEG_END])


def settles_colours(segment: bytes) -> bool:
    """Whether a segment tells the decoder how colours are stored; shorter ones don't count for it either."""
    marker, content = segment[1], segment[4:]
    return (marker == JFIF[0] and content.startswith(JFIF[1]) and len(content) >= 14) or (
        marker == ADOBE[0] and content.startswith(ADOBE[1]) and len(content) >= 12
    )


def is_exif(segment: bytes) -> bool:
    return segment[1] == EXIF[0] and segment[4:].startswith(EXIF[1])


def has_all_scans(frame: bytes, scans: list[Scan]) -> bool:
    """Whether the scans hold every coefficient of every component to its last bit, and as many restarts as it takes.

    Arguments:
        frame: The frame header, a whole segment.
        scans: The scans in the order of the file.
    """
    height, width = struct.unpack_from(">HH", frame, 5)
    sampling = {frame[i]: divmod(frame[i + 1], 16) for i in range(10, len(frame), 3)}
    widest, tallest = (max(factors) for factors in zip(*sampling.values(), strict=True))
    missing_bits = {component: dict.fromkeys(range(64), 16) for component in sampling}
    for header, coded, interval in scans:
        members = header[5 : 5 + 2 * header[4] : 2]
        first, last, lowest = header[-3], header[-2], header[-1] & 15
        for component in members:
            missing_bits[component].update(dict.fromkeys(range(first, last + 1), lowest))
        if interval:
            h, v = sampling[members[0]] if len(members) == 1 else (1, 1)
            units = -(-width * h // (8 * widest)) * -(-height * v // (8 * tallest))
            if len(RESTART.findall(coded)) != (units - 1) // interval:
                return False
    return not any(bits for component in missing_bits.values() for bits in component.values())
