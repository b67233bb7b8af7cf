from __future__ import annotations

from pathlib import Path

import wmark
from wmark.audit.schema import COLUMNS, arrow_schema, described


def test_documentation_has_the_columns():
    """`docs/audits.md` is written from `described()`."""
    text = (Path(wmark.__file__).parent / "docs" / "audits.md").read_text(encoding="utf-8")
    assert f"<!-- columns -->\n{described()}\n<!-- end of columns -->" in text


def test_every_column_is_nullable_but_the_number_and_says_what_it_means():
    schema = arrow_schema()
    assert [field.name for field in schema if not field.nullable] == ["row"]
    assert [field.metadata[b"meaning"].decode() for field in schema] == [column.meaning for column in COLUMNS]
