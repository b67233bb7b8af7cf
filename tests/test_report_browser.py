"""The page in a browser: what its script does, at the width of a desk and of a phone, and what runs without it."""

from __future__ import annotations

import io
import shutil

import pytest
import report_fakes as fakes
from PIL import Image

from wmark.reports.findings import Bounds, findings
from wmark.reports.page import content_of, page_of
from wmark.reports.thumbnails import thumbnails

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>document.title='run'</script>{}<img src=x onerror=\"document.title='run'\">.png"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt install chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    file = io.BytesIO()
    Image.new("RGB", (512, 640), (200, 30, 30)).save(file, "PNG")
    run = fakes.synthetic(folder / "run", 600, size=128, name=EVIL, picture=file.getvalue())
    found = findings(run, Bounds(pictures=16))
    chosen = {row for rows in found.gallery.values() for row in rows}
    pictures = dict(thumbnails(found.done, {row["row"]: row for row in found.rows if row["row"] in chosen}))
    (folder / "page.html").write_text(page_of(content_of(found), pictures), encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture
def opened(browser, address):
    """From a width to the page in it; afterwards nothing was complained of and nothing was asked of a network."""
    said, asked, pages = [], [], []

    def go(width: int, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        pages.append(page)
        return page

    yield go
    for page in pages:
        page.close()
    assert not said
    assert all(url == address or url.startswith("data:image/jpeg") for url in asked)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened, width: int, scheme: str):
    page = opened(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.title() == "Audit of 600 images: 60 found"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    image = page.locator("#gallery img").first
    image.scroll_into_view_if_needed()
    assert image.evaluate("image => image.decode().then(() => image.naturalHeight)") == 224


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#table tbody tr", "rows => rows.filter(r => !r.hidden).map(r => r.innerText)")


def test_table_filters_and_sorts(opened):
    page = opened(1280)
    total = page.locator("#table tbody tr").count()
    assert (
        len(shown(page)) == 100
        and page.locator("#filter-count").inner_text() == f"{total} of {total} rows fit, 100 shown"
    )
    page.locator("#more").click()
    assert len(shown(page)) == total and page.locator("#more").is_hidden()
    page.locator("#filter-verdict").select_option("failed")
    assert len(shown(page)) == 30 and all(row.startswith("failed") for row in shown(page))
    page.locator("#filter-text").fill("noimage 0000027")
    assert len(shown(page)) == 1 and "NoImage" in shown(page)[0]
    page.locator("#filter-text").fill("")
    page.locator("#filter-verdict").select_option("found")

    head = page.locator("#table thead th").nth(3)
    head.locator("button").focus()
    exponents = []
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        exponents.append([int(row.split("\t")[3].partition("e")[2]) for row in shown(page)])
    assert exponents[0] == sorted(exponents[0]) and exponents[1] == sorted(exponents[1], reverse=True)
    assert min(exponents[0]) < -100 and len(exponents[0]) == len(exponents[1]) > 50


def test_page_is_whole_without_its_script(opened):
    page = opened(390, java_script_enabled=False)
    assert page.locator("#filters").is_hidden() and page.locator("#more").is_hidden()
    last = page.locator("#table tbody tr").last
    assert last.is_visible()
    details = page.locator("#gallery details").first
    details.locator("summary").click()
    assert details.locator("dl").is_visible()
    spectrum = page.locator("#gallery .spectrum").first
    spectrum.locator("summary").focus()
    page.keyboard.press("Enter")
    assert spectrum.locator("svg").is_visible()
    assert spectrum.locator("tbody tr").first.inner_text().split("\t") == ["up to 7.1", "0.35"]
    assert page.locator(".plot").get_attribute("role") == "img"
