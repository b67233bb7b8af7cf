"""From a marked image and its record to the row that it is registered by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .likeness import fingerprint, thumbnail
from .row import Row
from .seals import Seals

if TYPE_CHECKING:
    from ..watermark.record import MarkedImage

__all__ = ["Keep", "row_of"]


@dataclass(frozen=True)
class Keep:
    """What a ledger keeps beyond what it must.

    Attributes:
        prompt: The prompt itself, beside its hash.
        thumbnail: A small picture.
    """

    prompt: bool = False
    thumbnail: bool = False


def row_of(marked: MarkedImage, number: int, issuer: str, file_hash: str, seals: Seals, keep: Keep = Keep()) -> Row:
    """The row of an image, to be registered.

    Arguments:
        marked: The image and its record.
        number: Its number, which was reserved.
        issuer: Name of who reserved it.
        file_hash: SHA-256 of the file that it was saved to.
        seals: What hashes the prompt.
        keep: What is kept beyond that.

    Raises:
        LedgerError: If the secret of the issuer is not here.
    """
    record, image = marked.record, marked.image
    prompt, model = record.get("prompt"), record.get("model") or {}
    return Row(
        number,
        issuer,
        reserved="",
        model=model.get("name"),
        model_fingerprint=model.get("fingerprint"),
        sampler=record.get("sampler"),
        prompt_hash=None if prompt is None else seals.prompt_hash(issuer, prompt),
        prompt=prompt if keep.prompt else None,
        file_hash=file_hash,
        width=image.width,
        height=image.height,
        fingerprint=fingerprint(image),
        thumbnail=thumbnail(image) if keep.thumbnail else None,
    )
