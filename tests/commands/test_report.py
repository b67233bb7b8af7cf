from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import report_fakes as fakes


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    return fakes.synthetic(tmp_path / "out", 260, size=100).folder


def test_page_lies_in_the_runs_folder_for_its_owner(run, audited: Path):
    result = run("report", "out")
    assert result.exit_code == 0 and not result.stderr
    assert result.stdout.startswith(
        "out/report.html: 260 images, 26 found, 13 could not be looked at; 260 rows and 0 pict"
    )
    assert mode("out/report.html") == 0o600
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "<h1>Audit of 260 images</h1>" in page
    assert run("report", "out").exit_code == 0
    assert {path.name for path in Path("out").iterdir()} == {"audit.json", "listing.parquet", "shards", "report.html"}


def test_page_lies_where_it_is_wanted(run, sentence, audited: Path):
    Path("plain").touch()
    assert run("report", "out", "-o", "pages/page.html", "--thumbnails", "0").exit_code == 0
    assert mode("pages/page.html") == mode("plain") and not Path("out/report.html").exists()
    assert "is a folder: name a file in it" in sentence(run("report", "out", "-o", "pages")).lower()


def test_json_has_what_the_page_shows(run, audited: Path):
    content = json.loads(run("report", "out", "--json").stdout)
    assert content["schema"] == "wmark-audit-report/1" and content["finished"]
    assert (
        content["totals"]["found"] == 26 == sum(line["verdict"] in ("found", "transplant") for line in content["rows"])
    )
    assert [issuer["issuer"] for issuer in content["issuers"]] == ["studio", "branch"]
    assert {error["kind"]: len(error["examples"]) for error in content["errors"]} == dict.fromkeys(fakes.ERRORS, 3)
    assert not Path("out/report.html").exists()
    assert run("report", "out", "--json", "-o", "data.json").exit_code == 0
    written = json.loads(Path("data.json").read_text())
    assert written | {"written": ""} == content | {"written": ""}


def test_unfinished_run_is_reported_as_far_as_it_is(run, audited: Path):
    Path("out/shards/00000001.parquet").unlink()
    result = run("report", "out")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "the run is unfinished: 2 of 3 shards are done"
    assert (
        "<strong>Unfinished.</strong> 2 of 3 shards are done, with 160 of 260 images"
        in Path("out/report.html").read_text()
    )


def test_what_is_no_run_or_damaged_gets_a_sentence(run, sentence, audited: Path):
    assert "'none' holds no run of an audit" in sentence(run("report", "none"))
    Path("file").touch()
    assert "audit.json of 'file' cannot be read" in sentence(run("report", "file"))
    path = Path("out/shards/00000001.parquet")
    rows = path.read_bytes()
    path.write_bytes(bytes(len(rows) // 3) + rows[len(rows) // 3 :])
    assert "rows in 'out/shards/00000001.parquet' cannot be read" in sentence(run("report", "out"))
    path.write_bytes(rows)
    listing = Path("out/listing.parquet").read_bytes()
    for content in (listing[:40], rows):
        Path("out/listing.parquet").write_bytes(content)
        assert "listing of 'out' cannot be read" in sentence(run("report", "out"))
    Path("out/listing.parquet").write_bytes(listing)
    about = json.loads(Path("out/audit.json").read_text())
    for changed in ({"specification": None}, {"schema": "wmark-audit/0"}, {"settings": {}}, {"created": None}):
        Path("out/audit.json").write_text(json.dumps({**about, **changed}))
        result = run("report", "out")
        assert result.exit_code == (0 if "created" in changed else 2), (changed, result.output)
    assert not Path("out/report.html").read_text().count("Traceback")
