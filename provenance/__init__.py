"""The signed half of a mark: C2PA manifests, which name the mark as their soft binding.

A manifest says who made a picture, when and with what, is signed, and stands in the picture's file, so anybody can read
it and whoever saves the file anew may lose it. The mark stays in the pixels and says which manifest that was:

    record --binding, manifest--> claim --signing--> picture with a manifest, and a copy of the manifest in a store
    picture --reading--> report --agreement, with what the mark says--> agrees, differs, stripped but kept, ...

    library      c2pa-python, or a sentence that says how to get it
    binding      what names a picture in public, and the algorithm that reads it off the mark
    manifest     a record -> what its manifest says
    credentials  certificate and private key, checked before anything is signed
    authority    certificates for trials
    signing      picture -> signed picture
    reading      picture -> what its manifest says, and whether that holds
    agreement    manifest and mark beside each other
    store        copies of manifests, found again by what the mark says

The extra `wmark[c2pa]` brings what it needs; https://spec.c2pa.org has the specification.
"""

from __future__ import annotations

from .agreement import Account, compare
from .binding import Binding, algorithm, public_name
from .reading import Report, read_kept, read_manifest
from .signing import Signed, Signer
from .store import ManifestFolder, ManifestStore, default_folder

__all__ = [
    "Account",
    "Binding",
    "ManifestFolder",
    "ManifestStore",
    "Report",
    "Signed",
    "Signer",
    "algorithm",
    "compare",
    "default_folder",
    "public_name",
    "read_kept",
    "read_manifest",
]
