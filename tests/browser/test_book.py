"""The built book as its reader meets it: every page, light and dark, on a desk and on a phone."""

import gzip
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser
from reading import View, context
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = list(parse_toc_yaml(ROOT / "_toc.yml"))
HTML = ROOT / "_build" / "html"
AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
# of others: two buttons of the theme, whose names leave out a short cut and the chosen colours, and
# Sphinx's list of a function's parameters, which has no terms
OTHERS = [".search-button-field", ".theme-switch-button", "dt.sig dl"]
MOST = 3_000_000  # bytes that a page may weigh, compressed
VIEWS = list(product(PAGES, ("light", "dark"), (1280, 390)))
HOLDER = re.compile('class="ec-(figure|explorer)"')  # an explorer draws one figure
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
NOTEBOOKS = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists()]
PLOT_TEXT = ".xtick text, .ytick text, .gtitle, .xtitle, .ytitle, .legendtext, .annotation-text"


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: "-".join(map(str, view)))
def view(request: pytest.FixtureRequest, browser: Browser, book: str) -> Iterator[View]:
    """One page in one theme at one width, loaded once for all tests below."""
    name, theme, width = request.param
    window = context(browser, theme, width)
    loaded = View(window.new_page(), theme, book)
    loaded.open(f"{name}.html")
    yield loaded
    window.close()


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two CSS colours, `rgb(...)` both."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_no_request_leaves_the_machine(view: View) -> None:
    local = (view.base, "data:", "blob:")
    assert [url for url in view.requests if not url.startswith(local)] == []


def test_nothing_fails(view: View) -> None:
    assert view.faults == []


def test_every_figure_of_the_chapters_is_on_its_page(view: View) -> None:
    name = view.page.url.removeprefix(f"{view.base}/").removesuffix(".html")
    chapter = ROOT / f"{name}.ipynb"
    cells = json.loads(chapter.read_text())["cells"] if chapter.exists() else []
    held = [
        output for cell in cells for output in cell.get("outputs", [])
        if HOLDER.search("".join(output.get("data", {}).get("text/html", "")))
    ]  # fmt: skip
    assert view.page.locator(".ec-figure").count() == len(held)
    numbered = chapter.name[0].isdigit()  # a chapter of the argument has figures
    assert held or not numbered


def test_figures_are_drawn_with_data(view: View) -> None:
    figures = view.page.evaluate(
        """[...document.querySelectorAll('.ec-figure')].map(box => ({
            id: box.id, width: box.clientWidth, height: box.clientHeight,
            inside: box.querySelector('.main-svg')?.clientWidth <= box.clientWidth,
            marks: box.querySelectorAll('.overplot :is(path, image)').length }))"""
    )
    sizes = [figure for figure in figures if figure["width"] < 200 or figure["height"] < 200]
    assert sizes == []
    assert [figure for figure in figures if not figure["inside"] or not figure["marks"]] == []


def test_page_does_not_overflow(view: View) -> None:
    too_wide = view.page.evaluate(
        """[document.documentElement, ...document.querySelectorAll('.bd-main, .bd-article')]
            .filter(box => box.scrollWidth > Math.ceil(box.getBoundingClientRect().width))
            .map(box => `${box.className || box.tagName}: ${box.scrollWidth} px`)"""
    )
    assert too_wide == []


def test_a_table_that_scrolls_shows_that_there_is_more(view: View) -> None:
    silent = view.page.evaluate(
        """[...document.querySelectorAll('.cell_output .text_html:has(table.dataframe)')]
            .filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
            .filter(box => box.tabIndex || !getComputedStyle(box).maskImage.includes('gradient'))
            .map(box => box.innerText.slice(0, 60))"""
    )
    assert silent == []


def test_links_within_the_page_lead_somewhere(view: View) -> None:
    lost = view.page.evaluate(
        """[...document.querySelectorAll('.bd-article a[href^="#"]')]
            .map(link => decodeURIComponent(link.hash.slice(1)))
            .filter(name => name && !document.getElementById(name))"""
    )
    assert lost == []


def test_math_is_typeset(view: View) -> None:
    left = view.page.evaluate(
        """[...document.querySelectorAll('.bd-article .math')]
            .filter(math => !math.querySelector('mjx-math') || math.querySelector('mjx-merror'))
            .map(math => math.textContent)"""
    )
    assert left == []


def test_theme_is_the_readers(view: View) -> None:
    background, text = view.page.evaluate(
        f"[{BACKGROUND}, getComputedStyle(document.querySelector('.bd-article h1')).color]"
    )
    black = contrast(background, "rgb(0, 0, 0)")
    assert black < 2 if view.theme == "dark" else black > 15
    assert contrast(background, text) > 4.5


def test_text_in_figures_contrasts(view: View) -> None:
    texts = view.page.evaluate(
        f"""[...document.querySelectorAll('.ec-figure')].flatMap(box => {{
            let behind = box;
            const painted = it => getComputedStyle(it).backgroundColor;
            while (behind.parentElement && /, 0\\)$/.test(painted(behind)))
                behind = behind.parentElement;
            const found = [];
            for (const text of box.querySelectorAll('{PLOT_TEXT}'))
                found.push([text.textContent, getComputedStyle(text).fill, painted(behind)]);
            for (const text of box.querySelectorAll('.ec-controls > *'))
                found.push([text.textContent, getComputedStyle(text).color, painted(behind)]);
            return found;
        }})"""
    )
    assert [text for text, fill, behind in texts if contrast(behind, fill) < 3] == []


def test_text_contrasts_and_everything_has_a_name(view: View) -> None:
    view.page.add_script_tag(path=AXE)
    found = view.page.evaluate(
        f"""axe.run({{exclude: {OTHERS}}}, {{
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


def test_a_page_weighs_less_than_3_megabytes(view: View) -> None:
    files = {urlsplit(url).path.lstrip("/") for url in view.requests if url.startswith("http")}
    assert sum(weight(HTML / file) for file in files) < MOST


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_controls_change_their_figure(browser: Browser, book: str, name: str) -> None:
    window = context(browser, "light", 1280)
    view = View(window.new_page(), "light", book)
    view.open(f"{name}.html")
    for box in view.page.locator(".ec-figure").all():
        drawing = box.locator(".main-svg").first
        for control in box.locator(".ec-controls :is(input, select, button)").all():
            before = drawing.inner_html()
            kind, pressed = control.evaluate("it => [it.tagName, it.ariaPressed]")
            if kind == "BUTTON":
                control.click()
            else:
                control.evaluate(
                    """it => {
                        const menu = it.tagName === 'SELECT';
                        if (menu) it.selectedIndex = (it.selectedIndex + 1) % it.options.length;
                        else it.value = it.value === it.max ? it.min : it.max;
                        it.dispatchEvent(new Event(menu ? 'change' : 'input'));
                    }"""
                )
            for _ in range(20):
                if pressed == "true" or drawing.inner_html() != before:
                    break
                view.page.wait_for_timeout(100)
            else:
                pytest.fail(f"{box.get_attribute('id')}: {control.evaluate('it => it.outerHTML')}")
    assert view.faults == []
    window.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_figures_follow_a_change_of_theme(browser: Browser, book: str, name: str) -> None:
    window = context(browser, "light", 1280)
    view = View(window.new_page(), "light", book)
    view.open(f"{name}.html")
    fill = "[...document.querySelectorAll('.ec-figure .xtick text')].map(t => t.style.fill)"
    before = view.page.evaluate(fill)
    view.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    view.page.wait_for_timeout(500)
    after = view.page.evaluate(fill)
    assert len(before) == len(after)
    assert all(old != new for old, new in zip(before, after, strict=True))
    window.close()


def test_search_works_without_a_network(browser: Browser, book: str) -> None:
    window = context(browser, "light", 1280)
    view = View(window.new_page(), "light", book)
    view.open("search.html?q=collapse")
    view.page.locator("#search-results li a").first.wait_for(timeout=10_000)
    assert view.faults == []
    assert [url for url in view.requests if not url.startswith((book, "data:"))] == []
    window.close()


def test_front_door_leads_to_the_first_page(browser: Browser, book: str) -> None:
    window = context(browser, "light", 1280)
    page = window.new_page()
    page.goto(f"{book}/index.html")
    page.wait_for_url(f"{book}/{PAGES[0]}.html")
    window.close()
