"""The pages' accessibility (WCAG 2, A and AA), as axe-core finds it, and what they weigh."""

import gzip
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser
from reading import View, context
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
PAGES = list(parse_toc_yaml(ROOT / "_toc.yml"))
NOTEBOOKS = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists()]
# two buttons of the theme, whose names leave out a keyboard's short cut and the chosen colours
THEMES = [".search-button-field", ".theme-switch-button"]
MOST = 3_000_000  # bytes that a page may weigh, compressed


@pytest.fixture(scope="module", params=product(PAGES, ("light", "dark")), ids="-".join)
def read(request: pytest.FixtureRequest, browser: Browser, book: str) -> Iterator[View]:
    """A page in one theme, its boxes open."""
    page, theme = request.param
    window = context(browser, theme, 1280)
    view = View(window.new_page(), theme, book)
    view.open(f"{page}.html")
    yield view
    window.close()


def test_text_contrasts_and_everything_has_a_name(read: View) -> None:
    read.page.add_script_tag(path=AXE)
    found = read.page.evaluate(
        f"""axe.run({{exclude: {THEMES}}}, {{
            runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations'],
        }}).then(({{violations}}) => violations.flatMap(({{id, nodes}}) => nodes.map(
            ({{html, failureSummary}}) => `${{id}}: ${{html}} ${{failureSummary}}`)))"""
    )
    assert not found, f"{len(found)}:\n" + "\n".join(found[:10])


@lru_cache
def weight(path: Path) -> int:
    """Bytes of a file as a server would send it."""
    content = path.read_bytes()
    return min(len(content), len(gzip.compress(content, 6)))


def test_a_page_weighs_less_than_3_megabytes(read: View) -> None:
    files = {urlsplit(url).path.lstrip("/") for url in read.requests if url.startswith("http")}
    assert sum(weight(HTML / file) for file in files) < MOST


def long_word(page: str) -> str:
    """The first long word of a page's prose."""
    path = next(path for ext in ("ipynb", "md") if (path := ROOT / f"{page}.{ext}").exists())
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    text = re.sub(r"(?s)^---.*?---|\$.*?\$|`.*?`|\(.*?\)|\{.*?\}|<.*?>", " ", text)
    return max(re.findall(r"\b[a-z]{6,}\b", text)[:200], key=len, default="")


@pytest.mark.parametrize("page", [page for page in PAGES if long_word(page)])
def test_search_finds_a_word_of_every_page(browser: Browser, book: str, page: str) -> None:
    window = context(browser, "light", 1280)
    reader = window.new_page()
    reader.goto(f"{book}/search.html?q={long_word(page)}")
    results = reader.locator(f"#search-results a[href^='{page}.html']")
    results.first.wait_for(timeout=10_000)
    window.close()


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_a_chapter_downloads_as_the_notebook_it_is(browser: Browser, book: str, page: str) -> None:
    window = context(browser, "light", 1280, accept_downloads=True)
    reader = window.new_page()
    reader.goto(f"{book}/{page}.html")
    with reader.expect_download() as download:
        link = reader.locator("a.btn-download-source-button").first
        link.evaluate("it => it.click()")  # it lies in a menu
    got = nbformat.read(download.value.path(), as_version=4)
    kept = nbformat.read(ROOT / f"{page}.ipynb", as_version=4)
    assert [cell.source for cell in got.cells] == [cell.source for cell in kept.cells]
    assert any(cell.get("outputs") for cell in got.cells)
    window.close()


def test_figures_lead_to_the_records_of_their_runs(browser: Browser, book: str) -> None:
    window = context(browser, "light", 1280)
    view = View(window.new_page(), "light", book)
    view.open(f"{PAGES[0]}.html")
    link = view.page.locator(".ec-source a").first
    link.click()
    view.page.wait_for_url(f"{book}/records/*.json")
    record = json.loads(view.page.locator("pre").inner_text())
    assert view.page.url.endswith(f"/{record['key']}.json")
    window.close()
