"""What the verdicts of a run depend on, and the digest by which shards of one run are known to belong together.

:class:`Settings` is what the user asked for: it names files and can be sent to a worker on another machine, where keys
are loaded from the keyring's file and never travel. The *specification* is what came of it: fingerprints of the model
and of the keyring, the plan of looks, the version. Every worker works it out anew and refuses to take part if its own
is another, so that rows of two models, two keyrings or two releases are never in one run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import AuditError
from ..version import __version__
from .schema import SCHEMA

if TYPE_CHECKING:
    from ..detectors.detector import Detector
    from ..watermark.keys import Key
    from ..watermark.names import Names

__all__ = ["Machine", "Settings", "build", "check_same", "digest", "specification"]


@dataclass(frozen=True)
class Settings:
    """What the verdicts of a run are asked to be.

    Attributes:
        keyring: Path of the keyring's file.
        key_ids: The keys that are tested.
        names: Whether the keyring's names are tested.
        model, dtype, tuned: As of `load_model`.
        effort, align, fpr, size: As of the detector.
        decoys: Keys that nothing carries, tested where the mark stands.
        decoy_seed: What they are drawn from, hexadecimal.
        searched: Keyrings that exist nowhere, searched for like the real one.
        batch_size: Images looked at together.
        threads: Threads of torch in each worker: the last digits of a score depend on them, so they stay.
        column: Column of tables that holds images or paths; None finds it.
    """

    keyring: str
    key_ids: tuple[str, ...]
    names: bool = False
    model: str = "tiny"
    dtype: str = "fp32"
    tuned: bool = True
    effort: str = "auto"
    align: str = "auto"
    fpr: float = 1e-6
    size: tuple[int, int] | None = None
    decoys: int = 20
    decoy_seed: str = ""
    searched: int = 0
    batch_size: int = 8
    threads: int = 1
    column: str | None = None

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Settings:
        """Settings from what `asdict` made of them, after JSON."""
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        return cls(**values)


@dataclass(frozen=True)
class Machine:
    """What verdicts do not depend on.

    Attributes:
        device: Torch device; None takes a GPU if there is one.
        decoders: Threads that read and decode ahead of a model.
        ledger: Where names are looked up; None for the ledger beside the keyring, if there is one.
        trust: File of the certificates of authorities that are trusted to say who signed a manifest; None trusts none.
    """

    device: str | None = None
    decoders: int = 2
    ledger: str | None = None
    trust: str | None = None


def build(settings: Settings, machine: Machine) -> Detector:
    """The detector of a run, on this machine.

    Raises:
        WmarkError: If the model, the keyring or a key cannot be used.
    """
    import torch

    from ..detectors.detector import Detector
    from ..models.registry import load_model
    from ..watermark.keyring import Keyring

    torch.set_num_threads(settings.threads)
    ring = Keyring.load(settings.keyring)
    keys = [ring.key(key_id, allow_revoked=True) for key_id in settings.key_ids]
    model = load_model(settings.model, dtype=settings.dtype, device=machine.device, tuned=settings.tuned)
    return Detector(
        model,
        keys,
        settings.effort,
        align=settings.align,
        fpr=settings.fpr,
        size=settings.size,
        keep_evidence=settings.decoys > 0,
        names=ring.names() if settings.names else None,
        decoys=settings.searched,
    )


def specification(detector: Detector, settings: Settings) -> dict[str, Any]:
    """What every verdict of a run rests on; nothing of it is secret."""
    from ..detectors.plan import write_plan

    basis = asdict(detector.basis)
    del basis["keyring"]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "model": {
            name: basis[name]
            for name in ("model_fingerprint", "left_inverse_fingerprint", "reader_fingerprint", "dtype")
        },
        "keys": sorted(described(key) for key in detector.keys),
        "names": all_of(detector.names) if detector.names else None,
        "looks": write_plan(detector.plan.looks),
        "align": settings.align,
        "fpr": settings.fpr,
        "size": list(detector.size) if detector.size else None,
        "decoys": {"count": settings.decoys, "seed": settings.decoy_seed, "searched": settings.searched},
        "batch_size": settings.batch_size,
        "column": settings.column,
    }


def described(key: Key) -> str:
    """A key by its public names, and where it lives."""
    pilot = key.pilot.pattern.strength if key.pilot else None
    return f"{key.keyring}/{key.id} {key.pattern} pilot {pilot}"


def all_of(names: Names) -> dict[str, Any]:
    """The names of a keyring by what is public of them."""
    issuers = [[entry.name, entry.first, entry.count] for entry in names.issuers]
    return {"keyring": names.keyring, "layout": names.layout.to_json(), "issuers": issuers}


def digest(content: Any) -> str:
    """SHA-256 of JSON, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_same(expected: Mapping[str, Any], found: Mapping[str, Any], where: str) -> None:
    """Refuse to mix verdicts of two specifications.

    Raises:
        AuditError: If they differ; it says in what.
    """
    expected, found = (json.loads(json.dumps(each)) for each in (expected, found))
    if expected != found:
        other = ", ".join(name for name in found if expected.get(name) != found[name])
        raise AuditError(f"{where} has another {other}: rows of two specifications are not mixed, so start a new run")
