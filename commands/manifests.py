"""Options for manifests, each command's gathered into one value: who signs, and what manifests are read and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, wraps
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ..errors import ProvenanceError
from ..files import shown
from .options import Text, with_options
from .sources import STANDARD_INPUT
from .terminal import complain

if TYPE_CHECKING:
    from ..detectors.verdict import Verdict
    from ..provenance import Account, ManifestFolder, Signer
    from ..provenance.store import ManifestStore
    from ..watermark.record import MarkedImage
    from .registering import Registered

__all__ = [
    "Manifests",
    "keep_unsigned",
    "manifests_option",
    "note_unsigned",
    "reads_manifests",
    "signs",
    "trust_option",
]

manifests_option = click.option(
    "--manifests",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="WMARK_MANIFESTS",
    help="Folder of the copies of manifests; one in your user data folder if not given.  [env: WMARK_MANIFESTS]",
)
signing_options = [
    click.option(
        "--sign",
        "certificate",
        type=click.Path(path_type=Path),
        help="Sign a C2PA manifest into each image with this certificate (PEM, followed by those above it).",
    ),
    click.option("--key-file", type=click.Path(path_type=Path), help="Private key of the certificate (PEM)."),
    click.option(
        "--domain",
        type=Text(),
        envvar="WMARK_DOMAIN",
        help="Your internet domain, after which manifests name the algorithm of the mark.  [env: WMARK_DOMAIN]",
    ),
    click.option(
        "--tsa", type=Text(), help="Time-stamping authority (RFC 3161) that confirms when, such as http://..."
    ),
    manifests_option,
]
trust_option = click.option(
    "--trust",
    type=click.Path(path_type=Path),
    envvar="WMARK_TRUST",
    help="Certificates of the authorities that you trust to say who signed a manifest (PEM).  [env: WMARK_TRUST]",
)


def signs(command: Callable) -> Callable:
    """Add the options to sign with; the command gets a `signer`, tried out, or None."""

    @wraps(command)
    def with_signer(*args, certificate, key_file, domain, tsa, manifests, **options):
        signer = open_signer(certificate, key_file, domain, tsa, manifests)
        return command(*args, signer=signer, **options)

    return with_options(signing_options)(with_signer)


def open_signer(
    certificate: Path | None, key_file: Path | None, domain: str | None, tsa: str | None, manifests: Path | None
) -> Signer | None:
    """Who signs, by the options; None where nobody is asked to.

    Raises:
        UsageError: If an option is missing.
        ProvenanceError: If one of the files cannot be used.
    """
    if certificate is None:
        for option, value in (("--key-file", key_file), ("--tsa", tsa)):
            if value is not None:
                raise click.UsageError(f"{option} signs nothing by itself: name the certificate with --sign")
        return None
    if key_file is None:
        raise click.UsageError("--sign needs the private key of the certificate: name its file with --key-file")
    if domain is None:
        raise click.UsageError(
            "--sign needs a domain to name the mark's algorithm after: give yours with --domain or WMARK_DOMAIN"
        )
    from ..provenance import Signer

    return Signer(certificate, key_file, domain=domain, authority=tsa, store=folder_of(manifests))


def note_unsigned(signer: Signer | None, paths: Iterable[Path]) -> None:
    """Say which images that exist already have no manifest, where new ones get one."""
    from ..watermark.record import read_record

    for path in paths if signer else ():
        if not (read_record(path) or {}).get("manifest"):
            complain(f"note: {path} exists already and is not signed: it was made without --sign")


def keep_unsigned(image: MarkedImage, path: Path, error: ProvenanceError, registered: Registered) -> NoReturn:
    """Keep an image that could not be signed, under a name that says so, write it down, and end.

    Raises:
        ProvenanceError: Always; it says where the image is.
    """
    names = (f"{path.stem}-unsigned{i or ''}{path.suffix}" for i in count())
    kept = image.save(next(path.with_name(name) for name in names if not path.with_name(name).exists()))
    registered.finished(kept, image)
    raise ProvenanceError(
        f"{shown(path)} is not written but {shown(kept.name)}, without a manifest: {error}"
    ) from error


def folder_of(manifests: Path | None) -> ManifestFolder:
    from ..provenance import ManifestFolder, default_folder

    return ManifestFolder(manifests or default_folder())


def reads_manifests(command: Callable) -> Callable:
    """Add the options to read manifests with; the command gets `manifests`."""

    @wraps(command)
    def with_manifests(*args, trust, manifests, **options):
        return command(*args, manifests=Manifests(trust, manifests), **options)

    return with_options([trust_option, manifests_option])(with_manifests)


@dataclass(frozen=True)
class Manifests:
    """What manifests are read with.

    Attributes:
        trust: PEM file of the authorities that are trusted; None trusts none.
        folder: Where copies are kept; None for the usual place.
    """

    trust: Path | None
    folder: Path | None

    def check(self) -> None:
        """Refuse what is no file of certificates, before anything is looked at.

        Raises:
            ProvenanceError: If so.
        """
        _ = self.anchors

    @cached_property
    def anchors(self) -> str:
        """The certificates that are trusted, PEM."""
        if self.trust is None:
            return ""
        from ..provenance.credentials import load_certificates, to_pem

        return to_pem(load_certificates(self.trust)).decode()

    def beside(self, name: str, verdict: Verdict, further: ManifestStore | None) -> Account:
        """What the manifest of an image says beside its verdict, its copies looked for in a further store, too."""
        from ..provenance import Report, compare, read_manifest
        from ..provenance.store import ManifestStores

        if name == STANDARD_INPUT:
            report = Report("unread", "standard input is gone: name a file")
        else:
            report = read_manifest(name, self.anchors)
        try:
            stores = ManifestStores((folder_of(self.folder), *([further] if further else [])))
            return compare(report, verdict.mark, stores, self.anchors)
        except ProvenanceError as error:
            return compare(Report("unread", str(error)), verdict.mark)
