"""What a reader takes along from the built book: search, notebooks, records."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser
from reading import View, context
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
PAGES = list(parse_toc_yaml(ROOT / "_toc.yml"))
NOTEBOOKS = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists()]


def long_word(page: str) -> str:
    """The longest word near the beginning of a page's prose."""
    article = (HTML / f"{page}.html").read_text(encoding="utf-8").partition("<article")[2]
    prose = " ".join(re.findall(r"(?s)<p>(.*?)</p>", article))
    prose = re.sub(r'(?s)<span class="math.*?</span>|<[^>]*>', " ", prose)
    return max(re.findall(r"\b[a-z]{5,}\b", prose)[:200], key=len)


@pytest.mark.parametrize("page", PAGES)
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
    reader.goto(f"{book}/{page}.html", wait_until="domcontentloaded")
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
