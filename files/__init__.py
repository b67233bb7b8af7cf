"""Files: read without waiting, written whole, and spoken of so that no name forges output.

reading   regular files of a size that is meant; their SHA-256
writing   whole or not at all, one writer at a time
display   paths and errors of the system in words
"""

from __future__ import annotations

from .display import reason, shown
from .reading import UnfitFile, open_regular, read_file, sha256
from .writing import exclusive, make_folder, staged, write_atomically

__all__ = [
    "UnfitFile",
    "exclusive",
    "make_folder",
    "open_regular",
    "read_file",
    "reason",
    "sha256",
    "shown",
    "staged",
    "write_atomically",
]
