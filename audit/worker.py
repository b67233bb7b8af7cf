"""The worker: a shard in, a table of rows out. Every engine calls the same one.

    members --read, decode, hash, scale (threads, a few images ahead)--> uint8 pixels
            --batches of one size--> verdicts --> rows, in the order of the shard

At most a few batches are decoded and not looked at yet, whatever the shard holds, and which images are looked at
together depends on the shard alone.
"""

from __future__ import annotations

import io
import json
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import ImageError
from ..files import sha256, shown
from ..images import perceptual_hash, read_image
from ..ledger.account import account_of, known_ledger
from ..ledger.manifests import LedgerManifests
from ..provenance import Report, compare, read_manifest
from ..provenance.credentials import load_certificates, to_pem
from .decoys import decoy_log10_p
from .schema import SCHEMA, arrow_schema, columns_of
from .shards import Shard
from .sources import Member, members
from .specification import Machine, Settings, build, check_same, digest, specification

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from ..detectors.detector import Detector
    from ..detectors.verdict import Verdict

__all__ = ["Hire", "Task", "Worker", "wanted"]

AHEAD = 4
"""Batches that may be decoded and not looked at yet."""


@dataclass(frozen=True)
class Task:
    """A shard to look at.

    Attributes:
        shard: The shard.
        wanted: Its images by their numbers in it, from 0; None for all.
    """

    shard: Shard
    wanted: frozenset[int] | None = None


@dataclass(frozen=True)
class Hire:
    """How to come by a worker: what an engine sends to wherever one is needed.

    Attributes:
        settings: What the verdicts are asked to be.
        machine: What they don't depend on.
        expected: The specification of the run; None for whatever comes of the settings.
    """

    settings: Settings
    machine: Machine
    expected: Mapping[str, Any] | None = None

    def __call__(self) -> Worker:
        """The worker, its model loaded.

        Raises:
            AuditError: If its specification is not that of the run.
            WmarkError: If the model or a key cannot be used.
        """
        detector = build(self.settings, self.machine)
        own = specification(detector, self.settings)
        if self.expected is not None:
            check_same(self.expected, own, "this worker")
        return Worker(detector, self.settings, self.machine, digest(own))


@dataclass
class Looked:
    """One image on its way: its row, its manifest, and its pixels until they were looked at."""

    row: dict[str, Any]
    name: str
    pixels: Tensor | None = field(default=None, repr=False)
    manifest: Report | None = None


class Worker:
    """Looks at shards, one after the other.

    Arguments:
        detector: The detector; with evidence kept if there are decoys.
        settings, machine: Those of the run.
        specification: Digest of what the verdicts rest on.
    """

    def __init__(self, detector: Detector, settings: Settings, machine: Machine, specification: str) -> None:
        self.detector, self.settings, self.machine, self.specification = detector, settings, machine, specification
        self.keys = {key.id: key for key in detector.keys}
        self.ledger = None
        if detector.names:
            self.keys[None] = detector.names.pilot
            self.ledger = known_ledger(machine.ledger, settings.keyring, detector.names)
        self.anchors = to_pem(load_certificates(machine.trust)).decode() if machine.trust else ""

    def __call__(self, task: Task) -> pa.Table:
        """The rows of a shard, or of the images of it that are wanted.

        Raises:
            WmarkError: If the model or a key cannot be used, whatever the image.
        """
        import pyarrow as pa

        begin = time.perf_counter()
        rows = []
        with ThreadPoolExecutor(self.machine.decoders) as pool:
            looked = ahead(pool, self.prepare, wanted(task), AHEAD * self.settings.batch_size)
            for batch in batches(looked, self.settings.batch_size):
                self.judge(batch)
                rows += [one.row for one in batch]
        rows.sort(key=lambda row: row["row"])
        about = {
            "schema": SCHEMA,
            "specification": self.specification,
            "shard": task.shard.digest,
            "seconds": time.perf_counter() - begin,
        }
        schema = arrow_schema().with_metadata({"wmark": json.dumps(about)})
        return pa.Table.from_pylist(rows, schema)

    def prepare(self, row: int, source: str, member: Member) -> Looked:
        """One image read, decoded, hashed and brought to its working size; whatever goes wrong becomes its row."""
        name = source if member.name is None else f"{source}/{member.name}"
        looked = Looked({"row": row, "source": text(source), "member": text(member.name)}, name)
        begin = time.perf_counter()
        try:
            data = member.content()
            looked.row |= {"read_seconds": time.perf_counter() - begin, "bytes": len(data), "sha256": sha256(data)}
            looked.row["format"] = format_of(data)
            looked.manifest = read_manifest(data, self.anchors)
            looked.row["manifest"] = looked.manifest.state
            begin = time.perf_counter()
            image = read_image(io.BytesIO(data), f"image '{shown(name)}'")
            looked.row |= {"width": image.width, "height": image.height, "fingerprint": hexadecimal(image)}
            looked.pixels = self.detector.pixels(image)
        except Exception as error:
            looked.row |= failure(error, name)
        looked.row["decode_seconds"] = time.perf_counter() - begin
        return looked

    def judge(self, batch: list[Looked]) -> None:
        """Put verdicts into the rows of images of one size; those without pixels have failed already."""
        from ..detectors.batches import judge

        batch = [one for one in batch if one.pixels is not None]
        if not batch:
            return
        for one, outcome in zip(batch, judge(self.detector, [one.pixels for one in batch]), strict=True):
            if isinstance(outcome, Exception):
                one.row |= failure(outcome, one.name)
            else:
                one.row |= {**self.columns(outcome), "manifest": self.manifest(one.manifest, outcome)}
                one.row |= self.account(outcome, one.pixels)
            one.pixels = None

    def manifest(self, report: Report, verdict: Verdict) -> str:
        """The state of a manifest beside a verdict; one that was stripped may be in the ledger."""
        kept = LedgerManifests(self.ledger) if self.ledger else None
        return compare(report, verdict.mark, kept, self.anchors).state

    def account(self, verdict: Verdict, pixels: Tensor) -> dict[str, Any]:
        """What the ledger knows of a name that was found."""
        if self.ledger is None or verdict.name is None:
            return {}
        image = Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())
        found = verdict.names.identity
        known = account_of(self.ledger, verdict.name.number, lambda: image, verdict.undoing, found.log10_p)
        return {"ledger_account": json.dumps(known.to_json()), "transplant": known.transplant} if known else {}

    def columns(self, verdict: Verdict) -> dict[str, Any]:
        """What a verdict, its evidence and the decoys beside it put into a row."""
        from ..detectors.agreement import Agreement, spectrum

        families = 2 if verdict.names and verdict.keys_tested else 1
        trials = families * self.detector.plan.trials(verdict.keys_tested, verdict.alignments_tested)
        key, settings = self.keys[verdict.key_id], self.settings
        seen = spectrum(Agreement.of(verdict, key)) if verdict.found and verdict.evidence else None
        return {
            **columns_of(verdict, trials),
            "spectrum": json.dumps(seen) if seen else None,
            "decoy_log10_p": decoy_log10_p(verdict, key.pattern, settings.decoys, settings.decoy_seed),
        }


def wanted(task: Task) -> Iterator[tuple[int, str, Member]]:
    """The images of a task: number of the row, source and member of each."""
    number = 0
    for stretch in task.shard.stretches:
        mine = range(number, number + stretch.count)
        number += stretch.count
        asked = None if task.wanted is None else frozenset(i - mine.start for i in mine if i in task.wanted)
        if asked is None or asked:
            for i, member in zip(mine, members(stretch, asked), strict=True):
                if asked is None or i - mine.start in asked:
                    yield task.shard.row + i, stretch.source, member


def ahead(
    pool: ThreadPoolExecutor, work: Callable[..., Looked], calls: Iterable[tuple], window: int
) -> Iterator[Looked]:
    """Results of calls in their order, of which so many are begun before the first is asked for."""
    begun: deque[Future[Looked]] = deque()
    for call in calls:
        begun.append(pool.submit(work, *call))
        if len(begun) == window:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def batches(looked: Iterable[Looked], size: int) -> Iterator[list[Looked]]:
    """Images in batches of one size, a batch as soon as it is full; what failed comes alone."""
    waiting: dict[tuple[int, ...], list[Looked]] = {}
    for one in looked:
        if one.pixels is None:
            yield [one]
            continue
        shape = tuple(one.pixels.shape)
        waiting.setdefault(shape, []).append(one)
        if sum(map(len, waiting.values())) >= AHEAD * size:
            shape = max(waiting, key=lambda other: len(waiting[other]))
        elif len(waiting[shape]) < size:
            continue
        yield waiting.pop(shape)
    yield from waiting.values()


def failure(error: Exception, name: str) -> dict[str, str]:
    """The columns of what went wrong."""
    sentence = text(str(error))
    if not isinstance(error, ImageError):
        first = sentence.strip().partition("\n")[0][:200]
        kind = "the memory does not suffice" if isinstance(error, MemoryError) else type(error).__name__
        sentence = f"image '{shown(name)}' could not be looked at ({kind}{': ' * bool(first)}{first}): report it"
    elif shown(name) not in sentence:
        sentence = f"image '{shown(name)}': {sentence}"
    return {"error_class": type(error).__name__, "error": sentence}


def text(name: str | None) -> str | None:
    """A name as Arrow holds it: bytes that are not UTF-8 are escaped."""
    return shown(name) if name and not name.isascii() and has_surrogates(name) else name


def has_surrogates(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def hexadecimal(image: Image.Image) -> str:
    """The perceptual hash as 32 hexadecimal digits."""
    import numpy as np

    return np.packbits(perceptual_hash(image)).tobytes().hex()


def format_of(data: bytes) -> str | None:
    """What Pillow takes a file for, by its header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return image.format
    except Exception:  # What is wrong with it is said when it is decoded.
        return None
