"""Search finds every page of the built book, and needs no network to."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext
from reading import new_view
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
PAGES = list(parse_toc_yaml(ROOT / "_toc.yml"))
# as the page does for the word in its address; what was found for the last word is taken away
ASK = """word => {
    document.getElementById("search-results").replaceChildren();
    Search.performSearch(word);
}"""


def long_word(page: str) -> str:
    """The longest word near the beginning of a page's prose."""
    article = (HTML / f"{page}.html").read_text(encoding="utf-8").partition("<article")[2]
    prose = " ".join(re.findall(r"(?s)<p>(.*?)</p>", article))
    prose = re.sub(r'(?s)<span class="math.*?</span>|<[^>]*>', " ", prose)
    return max(re.findall(r"\b[a-z]{5,}\b", prose)[:200], key=len)


def test_search_finds_a_word_of_every_page_without_a_network(
    window: BrowserContext, book: str, subtests: pytest.Subtests
) -> None:
    view = new_view(window, book)
    view.open(f"search.html?q={long_word(PAGES[0])}")
    # the passage beside a result asks for a whole page: of the first word's results alone
    view.page.locator("#search-results p.context").first.wait_for()
    view.page.evaluate("DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false")
    for page in PAGES:
        word = long_word(page)
        with subtests.test(f"{word}, of {page}"):
            view.page.evaluate(ASK, word)
            view.page.locator(f"#search-results a[href^='{page}.html']").first.wait_for()
            assert view.faults == []
            assert view.leaving() == []
    view.page.close()
