"""The images of a stretch, each a row whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...errors import WmarkError
from ...files import reason, shown
from .archives import read_tar, read_zip
from .places import content
from .stretch import Member, Stretch
from .tables import read_table

__all__ = ["members"]


def read_file(stretch: Stretch, wanted: range | frozenset[int]) -> Iterator[Member]:
    yield Member(None, lambda: content(stretch.source))


def read_fault(stretch: Stretch, wanted: range | frozenset[int]) -> Iterator[Member]:
    yield Member.broken(None, stretch.problem)


READERS: Mapping[str, Callable[[Stretch, range | frozenset[int]], Iterator[Member]]] = {
    "file": read_file,
    "fault": read_fault,
    "zip": read_zip,
    "tar": read_tar,
    "tarball": read_tar,
    "parquet": read_table,
    "arrow": read_table,
    "lance": read_table,
}


def members(stretch: Stretch, wanted: frozenset[int] | None = None) -> Iterator[Member]:
    """Exactly `stretch.count` images: where the source breaks off, the rest are broken ones that say so.

    Arguments:
        stretch: The stretch.
        wanted: Numbers in the stretch of those that will be read; None for all.
    """
    given, problem = 0, "it holds fewer images than when it was listed"
    try:
        for member in READERS[stretch.kind](stretch, range(stretch.count) if wanted is None else wanted):
            yield member
            given += 1
    except WmarkError as error:
        problem = str(error)
    except Exception as error:  # Whatever a damaged archive or table makes its library raise.
        problem = reason(error)
    for number in range(given, stretch.count):
        which = f"image {stretch.first + number} of '{shown(stretch.source)}'"
        yield Member.broken(None, f"{which} cannot be read ({problem}): get the source again")
