"""What a page says of a run, and that nothing of what it says can do anything."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report_fakes as fakes
from PIL import Image

from wmark.reports.curves import curves
from wmark.reports.findings import Bounds, findings
from wmark.reports.page import content_of, page_of
from wmark.reports.thumbnails import thumbnails

EVIL = "<script>alert(1)</script>{}<img src=x onerror=alert(1)>.png"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and which of them were left open or closed wrongly."""

    EMPTY = ("meta", "img", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.open, self.wrong = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    file = io.BytesIO()
    Image.new("RGB", (512, 640), (200, 30, 30)).save(file, "PNG")
    run = fakes.synthetic(tmp_path_factory.mktemp("small") / "run", 400, size=128, name=EVIL, picture=file.getvalue())
    return findings(run, Bounds(found=20, failed=8, others=10, pictures=16))


def test_names_of_files_are_text(small):
    page = page_of(content_of(small), {})
    elements = Elements(page)
    assert not elements.wrong and not elements.open
    assert sum(tag == "script" for tag, _ in elements.found) == 1
    assert not any(tag == "img" for tag, _ in elements.found)
    assert not any(name.startswith("on") or name == "style" for _, attributes in elements.found for name in attributes)
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/" in page


def test_nothing_is_fetched(small):
    pictures = dict(thumbnails(small.done, {row["row"]: row for row in small.rows}))
    elements = Elements(page_of(content_of(small), pictures)).found
    addresses = [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "href")]
    assert addresses and all(value.startswith(("data:image/jpeg;base64,", "#")) for value in addresses)
    (policy,) = (attributes["content"] for tag, attributes in elements if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy


def test_what_was_asked_is_told(small):
    look = {"recovery": {"name": "fast", "steps": 5}, "reading": "search", "after": None}
    names = {"keyring": "0123456789abcdef", "issuers": [["studio", 0, 9], ["<b>branch", 9, 9]]}
    specification = {"looks": [look], "names": names, "model": {"model_fingerprint": "f"}}
    content = content_of(replace(small, run=replace(small.run, specification=specification)))
    said = dict(content["asked"])
    assert said["Effort"] == "auto; looks fast/search" and said["Model"] == "tiny (f), fp32"
    assert said["Names"] == "of studio, <b>branch (keyring 0123456789abcdef)"
    page = page_of(content, {})
    assert "&lt;b&gt;branch" in page and "<dt>looks.0.recovery.steps</dt><dd><code>5</code></dd>" in page


def test_rows_are_chosen_and_what_is_left_out_is_said(small):
    content = content_of(small)
    assert content["totals"]["found"] == 40 and content["totals"]["failed"] == 20
    assert content["available"] == {"found": 40, "failed": 20, "others": 340}
    shown = {verdict: sum(line["verdict"] == verdict for line in content["rows"]) for verdict in ("found", "failed")}
    assert 20 <= shown["found"] <= 28 and 8 <= shown["failed"] <= 12
    assert content["left_out"]["failed"] == 20 - shown["failed"]
    assert len(content["rows"]) + sum(content["left_out"].values()) == 400
    page = " ".join(page_of(content, {}).split())
    assert f"{content['left_out']['found']} of those that were found" in page
    assert "run/shards/*.parquet</code> holds every row" in page


def test_of_what_is_not_found_no_score_is_told(small):
    others = [line for line in content_of(small)["rows"] if line["verdict"] == "not found"]
    assert others and all(line["log10_p"] == round(line["log10_p"]) for line in others)
    assert not {"key_id", "cosine", "outlines", "spectrum", "carries"} & {name for line in others for name in line}


def test_pictures_are_from_the_source_with_an_outline(small):
    chosen = [row for rows in small.gallery.values() for row in rows]
    wanted = {row["row"]: row for row in small.rows if row["row"] in chosen}
    pictures = dict(thumbnails(small.done, wanted))
    assert pictures.keys() == wanted.keys() and 8 < len(chosen) <= 16
    assert all((picture.width, picture.height) == (179, 224) for picture in pictures.values())
    page = page_of(content_of(small), pictures)
    assert page.count("<img ") == len(chosen)
    assert page.count('<polygon points="100,200 900,100 1100,800 200,900 "/>') >= 8
    assert "each of 2 marked parts" in page and '<polygon points="0,0 300,0 300,400 0,400 "/>' in page
    assert "<dd>image 7 of studio, p 1.0e-80: turned by 8 degrees, enlarged to 125%</dd>" in page
    assert "<dd>key poster, p 1.0e-30: mirrored</dd>" in page


def test_a_spectrum_opens_under_each_picture_that_was_found(small):
    page = page_of(content_of(small), {})
    marked = len(small.gallery["found"]) + len(small.gallery["transplants"])
    assert page.count('<details class="spectrum"><summary>spectrum<span class="unseen"> of row ') == marked >= 8
    drawn = page.partition('<details class="spectrum">')[2].partition("</details>")[0]
    tags = [attributes for tag, attributes in Elements(drawn).found if tag == "path"]
    assert [tag["class"] for tag in tags] == [*["seen"] * 4, "against", "seen"]
    arcs = "M11.1 0.0A11.1 11.1 0 0 1 0.0 11.1M-11.1 -0.0A11.1 11.1 0 0 1 -0.0 -11.1"
    assert (tags[0]["d"], tags[0]["stroke-width"], tags[0]["stroke-opacity"]) == (arcs, "22.2", "1")
    assert '<tr><th scope="row">up to 7.1</th><td class="n">0.35</td></tr>' in drawn
    assert "agreement with the pilot, where chance gives ±0.04" in drawn


def test_pictures_that_changed_or_went_are_not_shown(small, tmp_path: Path):
    (row, *_) = small.gallery["found"]
    (columns,) = (columns for columns in small.rows if columns["row"] == row)
    ((_, changed),) = thumbnails(small.done, {row: {**columns, "sha256": "0" * 64}})
    assert (changed.uri, changed.missing) == (None, "the file has changed since")
    gone = fakes.synthetic(tmp_path / "run", 40)
    ((_, missing),) = thumbnails(gone.shards, {row: {**columns, "row": row % 40} for row in (13,)})
    assert missing.missing == "the source can no longer be read"


def test_decoys_lie_on_the_uniform_law_and_images_beside_it(small):
    drawn = curves(small.tally)
    assert drawn.left == -7 and drawn.beyond == 40
    by_decade = {share.log10_p: share for share in drawn.decoys}
    assert by_decade[-1].low < 0.1 < by_decade[-1].high and by_decade[-1].count > 500
    shares = dict(drawn.images)
    assert 40 <= round(380 * 10 ** shares[-1.0]) <= 43 and shares[0.0] == 0
    page = page_of(content_of(small), {})
    assert page.count('<circle class="decoy"') == len(drawn.decoys) + 1
    assert "; 40 lie further left, down to " in page


def test_numbers_on_several_images_are_told(tmp_path: Path):
    content = content_of(findings(fakes.synthetic(tmp_path / "run", 3100)))
    (copy,) = content["copies"]
    assert (copy["number"], copy["count"], copy["issuer"]) == (42, 4, "branch")
    assert content["totals"]["transplants"] == 4 == len(content["gallery"]["transplants"])
    assert [line["verdict"] for line in content["rows"]][:5] == [*["transplant"] * 4, "found"]


def test_hundred_thousand_rows_make_a_page_below_5_mb(tmp_path: Path):
    run = fakes.synthetic(tmp_path / "run", 100_000, name="{}" + "ü<&'\"" * 40)
    found = findings(run)
    page = page_of(content_of(found), {})
    assert found.tally.counts.images == 100_000
    assert 400_000 < len(page.encode()) < 4_000_000
    assert page.count("<tr><td>") < 2100


@pytest.mark.parametrize("count", [0, 1])
def test_run_of_which_nothing_is_done_says_so(tmp_path: Path, count: int):
    run = fakes.synthetic(tmp_path / "run", 128 * (1 + count), size=128, finished=False)
    content = content_of(findings(run))
    assert content["shards"] == {"done": count, "of": count + 1} and not content["finished"]
    page = " ".join(page_of(content, {}).split())
    assert f"<strong>Unfinished.</strong> {count} of {count + 1} shards are done" in page
    assert re.search(r"wmark audit --resume \S*/run</code>", page)
