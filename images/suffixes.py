"""What names of files say that they are images."""

from __future__ import annotations

__all__ = ["is_image"]

SUFFIXES = (
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".jpx", ".jxl", ".mpo", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip


def is_image(name: str) -> bool:
    """Whether a folder or an archive is taken to hold an image under this name; hidden files are left out."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)
