"""A run of an audit that no model ever saw: rows by chance and some marked, written as a worker writes them."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from audit_fakes import SPECIFICATION, settings

from wmark.audit.run import Run
from wmark.audit.schema import SCHEMA, arrow_schema
from wmark.audit.shards import divide
from wmark.audit.sources import Stretch
from wmark.audit.worker import Task
from wmark.files import sha256

DECOYS = 20
OUTLINE = [[0.1, 0.2], [0.9, 0.1], [1.1, 0.8], [0.2, 0.9]]
PLACEMENT = {"words": "turned by 8 degrees, enlarged to 125%", "outline": OUTLINE}
NAMES = {
    "series": {"found": True, "number": 7},
    "identity": {"found": True, "number": 7, "issuer": "studio"},
}
PARTS = [
    {"key_id": None, "names": NAMES, "log10_p": -80.0, **PLACEMENT},
    {"key_id": "poster", "log10_p": -30.0, "words": "mirrored", "outline": [[0, 0], [0.3, 0], [0.3, 0.4], [0, 0.4]]},
]
"""Of every tenth marked image."""

SPECTRUM = {"edges": [7.1, 10.0, 16.0], "cells": [[0.4, 0.3], [0.2, 0.3], [-0.1, 0.0]], "chance": 0.04}
ERRORS = ("DamagedImage", "NoImage", "UnfitImage", "RuntimeError")


def synthetic(
    folder: Path, images: int, *, size: int = 8192, finished: bool = True, name: str = "{}.png", picture: bytes = b""
) -> Run:
    """A run of so many images of one archive: a tenth marked, a twentieth failed, decoys beside each.

    Arguments:
        picture: What each image is, as a file; the archive is written if there is any.
    """
    archive = folder.parent / "pictures.zip"
    if picture:
        with zipfile.ZipFile(archive, "w") as file:
            for i in range(images):
                file.writestr(name.format(f"{'deep/' * (i % 4)}picture {i:07}"), picture)
    stretch = Stretch(str(archive), "zip", count=images, version="1")
    specification = {**SPECIFICATION, "keys": ["0123456789abcdef/studio disc"], "decoys": {"count": DECOYS}}
    asked = replace(settings(decoys=DECOYS), names=True)
    run = Run(folder, asked, specification, (stretch.source,), size).begin([*divide([stretch], size)])
    draw = np.random.default_rng(1)
    for shard in run.shards if finished else run.shards[:-1]:
        about = {"schema": SCHEMA, "specification": run.digest, "shard": shard.digest, "seconds": 2.0 * shard.count}
        schema = arrow_schema().with_metadata({"wmark": json.dumps(about)})
        columns = rows(draw, shard.row, shard.count, stretch.source, name)
        columns["sha256"] = [sha256(picture)] * shard.count
        run.write(Task(shard), pa.table([pa.array(columns.get(f.name), f.type) if f.name in columns
                                         else pa.nulls(shard.count, f.type) for f in schema], schema))  # fmt: skip
    return run


def rows(draw: np.random.Generator, first: int, count: int, source: str, name: str) -> dict:
    """Columns of some rows."""
    number = np.arange(first, first + count)
    failed, marked = number % 20 == 7, number % 10 == 3
    p = np.where(marked, -draw.uniform(7, 250, count), np.minimum(0, np.log10(draw.random(count)) + 2))
    looked = ~failed

    def only(where, values, otherwise=None):
        return [value if here else otherwise for here, value in zip(where, values, strict=True)]

    decoys = np.log10(draw.random((count, DECOYS)))
    return {
        "row": number,
        "source": [source] * count,
        "member": [name.format(f"{'deep/' * (i % 4)}picture {i:07}") for i in number],
        "bytes": draw.integers(10**4, 10**7, count),
        "width": only(looked, [512] * count),
        "height": only(looked, [640] * count),
        "format": ["PNG"] * count,
        "found": only(looked, marked.tolist()),
        "keyring": only(looked, ["0123456789abcdef"] * count),
        "log10_p": only(looked, p.tolist()),
        "cosine": only(looked, draw.random(count).tolist()),
        **{column: only(looked, marked.tolist()) for column in ("presence", "series", "identity")},
        **{f"{column}_log10_p": only(looked, p.tolist()) for column in ("presence", "series", "identity")},
        "identity_number": only(looked, np.where(number % 1000 == 3, 42, number).tolist()),
        "issuer": only(looked, ["studio" if i % 3 else "branch" for i in number]),
        "transplant": only(looked & marked, (number % 1000 == 3).tolist()),
        "manifest": ["agrees" if i % 50 == 3 else "none" for i in number],
        "angle": only(looked, [0.0] * count),
        "scale": only(looked, [1.0] * count),
        "placement": only(marked & looked, [json.dumps(PLACEMENT)] * count),
        "parts": only(marked & looked & (number % 100 == 93), [json.dumps(PARTS)] * count),
        "spectrum": only(marked & looked, [json.dumps(SPECTRUM)] * count),
        "look": only(looked, ["fast/search"] * count),
        "decoy_log10_p": only(looked, decoys.tolist()),
        "fallbacks": only(looked, [[]] * count),
        "error_class": only(failed, [ERRORS[i // 20 % 4] for i in number]),
        "error": only(failed, [f"image '{source}/{i}' is damaged or incomplete: get it again" for i in number]),
    }
