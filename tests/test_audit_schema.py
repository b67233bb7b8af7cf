from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import wmark
from wmark.audit.schema import COLUMNS, arrow_schema, columns_of, described
from wmark.detectors.alignment import Alignment
from wmark.detectors.registration.placement import Placement
from wmark.detectors.verdict import Part, Verdict


def test_documentation_has_the_columns():
    """`docs/audits.md` is written from `described()`."""
    text = (Path(wmark.__file__).parent / "docs" / "audits.md").read_text(encoding="utf-8")
    assert f"<!-- columns -->\n{described()}\n<!-- end of columns -->" in text


def test_every_column_is_nullable_but_the_number_and_says_what_it_means():
    schema = arrow_schema()
    assert [field.name for field in schema if not field.nullable] == ["row"]
    assert [field.metadata[b"meaning"].decode() for field in schema] == [column.meaning for column in COLUMNS]


def test_a_row_has_how_the_image_lies_and_each_of_its_marked_parts():
    placements = [Placement.of(Alignment(angle, 0.5), (64, 64), (70, 150)) for angle in (0.0, 90.0)]
    parts = tuple(Part(-40.1234567, 0.3, placement, "studio") for placement in placements)
    about = Verdict(
        found=True, key_id="studio", key_revoked=None, log10_p=-40.1, cosine=0.3, alignment=Alignment(90.0),
        canvas=(64, 64), size=(70, 150), look="fast/parts", keys_tested=1, alignments_tested=24, looks_allowed=3,
        fpr=1e-6, seconds=0.0, basis=SimpleNamespace(keyring="0123456789abcdef"), placement=placements[0], parts=parts,
    )  # fmt: skip
    row = columns_of(about, 100.0)
    assert json.loads(row["placement"])["words"] == "reduced to 50%, 10% of the picture"
    assert [(part["key_id"], part["log10_p"]) for part in json.loads(row["parts"])] == [("studio", -40.123)] * 2
    assert json.loads(row["parts"])[1]["outline"] == [list(map(float, p)) for p in np.round(placements[1].outline, 4)]
    without = columns_of(replace(about, placement=None, parts=()), 100.0)
    assert json.loads(without["placement"])["words"] == "turned by 90 degrees, 41% of the picture"
    assert without["parts"] is None
    assert columns_of(replace(about, found=False), 100.0)["placement"] is None
