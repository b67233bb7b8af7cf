"""What a ledger says of a picture that a name was found in: its row, and whether it is the picture registered by it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from ..errors import ImageError
from .likeness import SIDE
from .place import Place, default_place
from .seals import Seals
from .store import Ledger
from .transplant import Likeness, is_registered

if TYPE_CHECKING:
    from PIL import Image

    from ..attacks.warping import Warp
    from ..watermark.names import Names
    from .row import Row

__all__ = ["Account", "account_of", "known_ledger"]


@dataclass(frozen=True)
class Account:
    """What a ledger says of a picture that a name was found in.

    Attributes:
        row: The row of its number.
        likeness: How alike the picture is to the one that was registered; None if the row says nothing of it.
    """

    row: Row
    likeness: Likeness | None = None

    @property
    def transplant(self) -> bool | None:
        """Whether another picture was registered under this name; None if that cannot be told."""
        return None if self.likeness is None or self.likeness.same is None else not self.likeness.same

    @property
    def picture(self) -> Image.Image | None:
        """The registered picture as the ledger keeps it: a thumbnail, or 32x32 colours."""
        if self.row.thumbnail:
            return PIL.Image.open(io.BytesIO(self.row.thumbnail)).convert("RGB")
        if self.row.fingerprint:
            return PIL.Image.frombytes("RGB", (SIDE, SIDE), self.row.fingerprint)
        return None

    @property
    def words(self) -> str:
        """A remark for a line."""
        row = self.row
        if row.genuine is False:
            return "the ledger's row of it was changed: do not rely on it"
        if not row.registered:
            return f"by the ledger reserved {row.reserved}, never finished"
        made = " ".join(word for word in ("made", row.registered, row.model and f"with {row.model}") if word)
        if self.transplant:
            return f"TRANSPLANT: the ledger has another picture under this name, {made}"
        if self.transplant is None:
            compared = self.likeness and self.likeness.score is not None
            return f"{made}, {'too few colours to tell by looks' if compared else 'looks not compared'}"
        return made

    def to_json(self) -> dict[str, Any]:
        likeness = self.likeness
        compared = likeness and {
            "score": likeness.score and round(likeness.score, 5),
            "compared": round(likeness.compared, 3),
            "threshold": round(likeness.threshold, 5),
            "unsure": round(likeness.unsure, 5),
        }
        return {**self.row.to_json(), "likeness": compared, "transplant": self.transplant}


def account_of(
    ledger: Ledger, number: int, image: Callable[[], Image.Image], undoing: Warp | None, log10_p: float
) -> Account | None:
    """What a ledger says of an image that the name of a number was found in; None if it does not know the number.

    Arguments:
        ledger: The ledger.
        number: The number.
        image: Reads the image; an `ImageError` of it, as where standard input is gone, leaves looks uncompared.
        undoing: From positions in the marked picture to those in this one (`Placement.undoing`); None if it stands
            where it stood.
        log10_p: Evidence of the identity.
    """
    row = ledger.find(number)
    if row is None:
        return None
    try:
        return Account(row, is_registered(row, image(), undoing, log10_p))
    except ImageError:
        return Account(row)


def known_ledger(place: str | None, keyring: str | os.PathLike, names: Names) -> Ledger | None:
    """The ledger that was named, or the one beside a keyring; None if there is none there.

    Arguments:
        place: The ledger; None for the usual place.
        keyring: The keyring's file.
        names: Its names, which tell whether rows are genuine.

    Raises:
        LedgerError: If it cannot be opened, is another keyring's, or was named and does not exist.
    """
    usual = default_place(Path(keyring))
    file = Place.of(usual).file
    if place is None and file and not file.exists():
        return None
    return Ledger(place or usual, Seals.of(names))
