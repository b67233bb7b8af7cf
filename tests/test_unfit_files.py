from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wmark.errors import ImageError
from wmark.images import encode_image, open_image, read_image, reading


@pytest.fixture
def picture() -> Image.Image:
    """A smooth RGB picture without any symmetry, 96 x 64 pixels."""
    y, x = np.mgrid[:64, :96]
    return Image.fromarray(np.stack([x * 2 + 20, y * 3 + 10, 200 - x - y], axis=-1).astype(np.uint8))


def refused(path: Path | str) -> str:
    """The sentence with which an image file is refused."""
    with pytest.raises(ImageError) as error:
        open_image(path)
    return str(error.value)


def test_nothing_but_a_regular_file_is_opened(tmp_path: Path, picture: Image.Image):
    """Opening a pipe without a writer waits for one, and a device may never end."""
    if os.name != "posix":
        pytest.skip("special files of POSIX")
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in refused(tmp_path / "pipe")
    assert "is a device" in refused("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # An address is short.
        assert "is a socket" in refused(tmp_path / "socket")
    picture.save(tmp_path / "picture.png")
    (tmp_path / "link").symlink_to(tmp_path / "picture.png")
    assert open_image(tmp_path / "link") == picture


def test_file_of_20_gigabytes_is_refused_by_its_size(tmp_path: Path):
    path = tmp_path / "sparse.webp"
    path.write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
    os.truncate(path, 20_000_000_000)
    assert "has 20,000,000,000 bytes, more than 536,870,912" in refused(path)


def test_stream_is_read_up_to_its_end(picture: Image.Image, monkeypatch: pytest.MonkeyPatch):
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(encode_image(picture, ".png"))
    with open(reader, "rb", buffering=0) as stream:
        assert read_image(stream) == picture
    with pytest.raises(ImageError, match="standard input is an empty file"):
        read_image(io.BytesIO())
    with pytest.raises(ImageError, match="the upload is no image"):
        read_image(io.BytesIO(b"this is no image"), "the upload")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(stream)
    monkeypatch.setattr(reading, "LARGEST_FILE", 3)
    with open("/dev/zero" if os.name == "posix" else os.devnull, "rb") as zeros:
        with pytest.raises(ImageError, match="goes on for more than 3 MiB"):
            read_image(zeros)
        assert zeros.tell() <= 4 << 20


def test_names_in_messages_are_one_line_of_text(tmp_path: Path):
    name = b"a\nfound \x1b[31mb\xff.png"
    for path in (os.path.join(os.fsencode(tmp_path), name), tmp_path / os.fsdecode(name)):
        with pytest.raises(ImageError) as error:
            open_image(path)
        assert str(error.value) == f"image '{tmp_path}/a\\nfound \\x1b[31mb\\xff.png' does not exist: check the path"


LARGE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from wmark.commands.sources import Source
from wmark.detectors.detector import Detector
from wmark.detectors.batches import verify_files

def memory(line):
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(line))

class Shapes:
    size = None
    model = SimpleNamespace(native_size=(512, 512), downsampling=8)
    align = "auto"
    expected, pixels, _whole = Detector.expected, Detector.pixels, Detector._whole
    def _further(self, size):
        return ()
    def judge(self, images):
        return [tuple(image.shape) for image in images]

before = memory("VmRSS")
assert [shape for _, shape in verify_files([Source(sys.argv[1])] * 3, Shapes)] == [(3, 512, 512)] * 3
print((memory("VmHWM") - before) / 1e6)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux counts it")
def test_batch_of_large_images_is_not_held_at_full_size(tmp_path: Path):
    Image.new("L", (10_000, 10_000)).save(tmp_path / "flat.png", compress_level=1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", LARGE, str(tmp_path / "flat.png")]
    gigabytes = float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert gigabytes < 1.5


@pytest.mark.parametrize("suffix", [".gif", ".tif"])
def test_frames_are_not_counted(picture: Image.Image, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / f"film{suffix}"
    frames = [picture.rotate(i).convert("P") for i in range(1, 40)]
    picture.convert("P").save(path, save_all=True, append_images=frames)
    sought = []
    kind = type(Image.open(path))
    seek = kind._seek
    monkeypatch.setattr(kind, "_seek", lambda self, frame, *rest: (sought.append(frame), seek(self, frame, *rest))[1])
    assert "more than one frame" in refused(path)
    assert max(sought) <= 1
