"""Images between files, Pillow and tensors.

Whatever Pillow reads becomes one upright 8-bit RGB image, or an :class:`~wmark.errors.ImageError` that says why not.

    reading   a file or a stream -> an image; what is wrong with a file
    salvage   a file whose metadata is beyond Pillow, or that lacks only its end -> its pixels alone
    pixels    any mode -> RGB; RGB <-> tensors
    writing   an image -> the bytes of a file that says how it was made
    likeness  an image -> a hash by which the same picture is known again
    suffixes  names of files that are images
"""

from __future__ import annotations

from .likeness import SAME, perceptual_hash
from .pixels import rounded, to_image, to_pixels, to_tensor, to_unit
from .reading import open_image, read_image
from .suffixes import is_image
from .writing import check_suffix, encode_image

__all__ = [
    "SAME",
    "check_suffix",
    "encode_image",
    "is_image",
    "open_image",
    "perceptual_hash",
    "read_image",
    "rounded",
    "to_image",
    "to_pixels",
    "to_tensor",
    "to_unit",
]
