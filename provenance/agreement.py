"""A manifest and a mark beside each other: each vouches for what the other cannot.

A manifest that agrees with the mark was signed by somebody who knew which mark the picture carries. One that names
another mark was not made for this picture by whoever marked it. None at all is what most platforms leave of one: then
the mark finds the copy that was kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .binding import Binding
from .reading import Report, read_kept
from .store import ManifestStore

__all__ = ["STATES", "Account", "compare"]

STATES = {
    "none": "there is no manifest",
    "stripped": "there is none, but one was kept for what the mark says",
    "agrees": "valid, and names the mark that was found",
    "differs": "valid, but names another mark than the one that was found",
    "valid": "valid; there is nothing to compare, as it names no mark, or none was found",
    "invalid": "does not hold",
    "unread": "could not be read",
}


@dataclass(frozen=True)
class Account:
    """What manifest and mark say together.

    Attributes:
        state: One of :data:`STATES`.
        report: The manifest in the file; where it was stripped and one alone was kept, that one.
        binding: The binding that was compared, or could not be; None where there is none.
        kept: How many manifests were kept for this mark, where the file has none.
    """

    state: str
    report: Report
    binding: Binding | None = None
    kept: int = 0

    def to_json(self) -> dict:
        """The account as `docs/c2pa.md` describes it."""
        r = self.report
        binding = {"alg": self.binding.alg, "value": self.binding.value} if self.binding else None
        return {
            "state": self.state, "reason": r.reason, "id": r.id, "signer": r.signer, "trusted": r.trusted,
            "time": r.time, "binding": binding, "kept": self.kept,
        }  # fmt: skip

    @property
    def words(self) -> str:
        """The account in a few words for a terminal; nothing where there is no manifest."""
        r, named = self.report, self.binding.value if self.binding else "no mark"
        found_again = f"kept: {r.id}{self.signed}" if r.id else f"{self.kept} kept for this mark"
        return {
            "none": "",
            "stripped": f"manifest stripped, {found_again}",
            "agrees": f"manifest agrees{self.signed}",
            "differs": f"manifest names another mark: {named}{self.signed}",
            "valid": f"manifest valid, names {named}{self.signed}",
            "invalid": f"manifest invalid: {r.reason}",
            "unread": f"manifest not read: {r.reason}",
        }[self.state]

    @property
    def signed(self) -> str:
        trust = "" if self.report.trusted else ", whom no trusted authority vouches for"
        return f", signed by {self.report.signer}{trust}" if self.report.signer else ""


def compare(report: Report, mark: str | None, store: ManifestStore | None = None, anchors: str = "") -> Account:
    """What a manifest and a mark say together.

    Arguments:
        report: The manifest in a picture's file.
        mark: What the mark says (:func:`~wmark.provenance.binding.public_name`); None where none was found.
        store: Where to look for manifests that were stripped; None looks nowhere.
        anchors: Certificates of the authorities that are trusted, PEM.

    Raises:
        ProvenanceError: If the store cannot be read.
    """
    if report.state == "none":
        return looked_up(report, mark, store, anchors)
    named = [binding for binding in report.bindings if binding.value == mark] or list(report.bindings)
    binding = named[0] if named else None
    if report.state != "valid" or mark is None or binding is None:
        return Account(report.state, report, binding)
    return Account("agrees" if binding.value == mark else "differs", report, binding)


def looked_up(report: Report, mark: str | None, store: ManifestStore | None, anchors: str) -> Account:
    """The account of a picture without a manifest, from the copies that were kept for its mark."""
    kept = store.manifests_of(mark) if store and mark is not None else []
    if not kept:
        return Account("none", report)
    if len(kept) > 1:
        return Account("stripped", report, kept=len(kept))
    copy = read_kept(kept[0], anchors)
    if copy.state != "valid" or mark not in {binding.value for binding in copy.bindings}:
        why = copy.reason or "the copy that was kept names another mark"
        return Account("none", replace(report, reason=why), kept=1)
    return Account("stripped", copy, copy.bindings[0], kept=1)
