"""The built book as its reader meets it: every page, light and dark, on a desk and on a phone."""

import base64
import gzip
import json
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, TimeoutError
from reading import View, new_view
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = list(parse_toc_yaml(ROOT / "_toc.yml"))
HTML = ROOT / "_build" / "html"
AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
# of others: two buttons of the theme, whose names leave out a short cut and the chosen colours, and
# Sphinx's list of a function's parameters, which has no terms
OTHERS = [".search-button-field", ".theme-switch-button", "dt.sig dl"]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
MOST = 1.5e6  # bytes of all that a page asks for, compressed
# a page is opened at either width in another theme, the next one the other way round, so that what
# surrounds all pages is seen in all four ways; and each time the theme is switched
WAYS = ((("light", 1280), ("dark", 390)), (("dark", 1280), ("light", 390)))
VISITS = [(page, *how) for number, page in enumerate(PAGES) for how in WAYS[number % 2]]
HOLDER = re.compile('class="ec-(figure|explorer)"')  # an explorer draws one figure
SOURCE = re.compile('class="ec-source"')
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
PLOT_TEXT = ".xtick text, .ytick text, .gtitle, .xtitle, .ytitle, .legendtext, .annotation-text"
TICKS = "[...document.querySelectorAll('.ec-figure .xtick text')].map(text => text.style.fill)"


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two CSS colours, `rgb(...)` both."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def notebook(view: View) -> Path:
    """The notebook that the page was made of; there is none for a page that is text alone."""
    return ROOT / urlsplit(view.page.url).path.lstrip("/").replace(".html", ".ipynb")


def holding(pattern: re.Pattern[str], view: View) -> int:
    """How many of the notebook's stored outputs hold a pattern in their HTML."""
    chapter = notebook(view)
    cells = json.loads(chapter.read_text())["cells"] if chapter.exists() else []
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pieces = ("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    return sum(bool(pattern.search(piece)) for piece in pieces)


def no_request_leaves_the_machine(view: View) -> None:
    assert view.leaving() == []


def nothing_fails(view: View) -> None:
    assert view.faults == []


def every_figure_of_the_chapters_is_on_its_page(view: View) -> None:
    figures = holding(HOLDER, view)
    assert view.page.locator(".ec-figure").count() == figures
    numbered = notebook(view).name[0].isdigit()  # a chapter of the argument has figures
    assert figures or not numbered


def figures_are_drawn_with_data(view: View) -> None:
    figures = view.page.evaluate(
        """[...document.querySelectorAll('.ec-figure')].map(box => ({
            id: box.id, width: box.clientWidth, height: box.clientHeight,
            inside: box.querySelector('.main-svg')?.clientWidth <= box.clientWidth,
            marks: box.querySelectorAll('.overplot :is(path, image)').length }))"""
    )
    sizes = [figure for figure in figures if figure["width"] < 200 or figure["height"] < 200]
    assert sizes == []
    assert [figure for figure in figures if not figure["inside"] or not figure["marks"]] == []


def page_does_not_overflow(view: View) -> None:
    too_wide = view.page.evaluate(
        """[document.documentElement, ...document.querySelectorAll('.bd-main, .bd-article')]
            .filter(box => box.scrollWidth > Math.ceil(box.getBoundingClientRect().width))
            .map(box => `${box.className || box.tagName}: ${box.scrollWidth} px`)"""
    )
    assert too_wide == []


def a_table_that_scrolls_shows_that_there_is_more(view: View) -> None:
    silent = view.page.evaluate(
        """[...document.querySelectorAll('.cell_output .text_html:has(table.dataframe)')]
            .filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
            .filter(box => box.tabIndex || !getComputedStyle(box).maskImage.includes('gradient'))
            .map(box => box.innerText.slice(0, 60))"""
    )
    assert silent == []


def a_ledger_is_in_view_without_scrolling_sideways(view: View) -> None:
    widths = view.page.evaluate(
        """[...document.querySelectorAll('.ec-ledger')].map(table => table.parentElement)
            .map(box => [box.scrollWidth, box.clientWidth])"""
    )
    assert len(widths) == (notebook(view).stem == "07_results")
    assert all(content <= seen for content, seen in widths)


def links_within_the_page_lead_somewhere(view: View) -> None:
    lost = view.page.evaluate(
        """[...document.querySelectorAll('.bd-article a[href^="#"]')]
            .map(link => decodeURIComponent(link.hash.slice(1)))
            .filter(name => name && !document.getElementById(name))"""
    )
    assert lost == []


def math_is_typeset(view: View) -> None:
    left = view.page.evaluate(
        """[...document.querySelectorAll('.bd-article .math')]
            .filter(math => !math.querySelector('mjx-math') || math.querySelector('mjx-merror'))
            .map(math => math.textContent)"""
    )
    assert left == []


def theme_is_the_readers(view: View) -> None:
    background, text = view.page.evaluate(
        f"[{BACKGROUND}, getComputedStyle(document.querySelector('.bd-article h1')).color]"
    )
    black = contrast(background, "rgb(0, 0, 0)")
    assert black < 2 if view.theme == "dark" else black > 15
    assert contrast(background, text) > 4.5


def text_in_figures_contrasts(view: View) -> None:
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


def text_contrasts_and_everything_has_a_name(view: View) -> None:
    """In the theme that the page is opened in, of which there is one for either width."""
    view.page.add_script_tag(path=AXE)
    against = view.page.evaluate(
        f"""axe.run({{exclude: {OTHERS}}}, {{runOnly: {WCAG}, resultTypes: ['violations']}})
            .then(({{violations}}) => violations.flatMap(({{id, nodes}}) => nodes.map(
                ({{html, failureSummary}}) => `${{id}}: ${{html}} ${{failureSummary}}`)))"""
    )
    view.page.request_gc()  # axe leaves ranges, each of which slows what removes elements
    assert not against, f"{len(against)}:\n" + "\n".join(against[:10])


@lru_cache
def weight(path: Path) -> int:
    """Bytes of a file as a server would send it."""
    content = path.read_bytes()
    return min(len(content), len(gzip.compress(content, 6)))


def a_page_weighs_less_than_one_and_a_half_megabytes(view: View) -> None:
    files = {urlsplit(url).path.lstrip("/") for url in view.requests if url.startswith(view.base)}
    assert sum(weight(HTML / file) for file in files) < MOST


def figures_follow_a_change_of_theme(view: View) -> None:
    before = view.page.evaluate(TICKS)
    view.switch_theme()
    view.page.wait_for_function(
        f"""before => {{
            const now = {TICKS};
            return now.length === before.length && now.every((fill, i) => fill !== before[i]);
        }}""",
        arg=before,
    )


def controls_change_their_figure(view: View) -> None:
    for box in view.page.locator(".ec-figure").all():
        figure = box.element_handle()
        for control in box.locator(".ec-controls :is(input, select, button)").all():
            before = figure.evaluate_handle("it => it.querySelector('.main-svg').innerHTML")
            if control.evaluate("it => it.tagName") == "BUTTON":
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
            try:
                view.page.wait_for_function(
                    "([it, before]) => it.querySelector('.main-svg').innerHTML !== before",
                    arg=[figure, before],
                    timeout=20_000,
                    polling=100,
                )
            except TimeoutError:
                pytest.fail(f"{box.get_attribute('id')}: {control.evaluate('it => it.outerHTML')}")


def a_chapter_downloads_as_the_notebook_it_is(view: View) -> None:
    with view.page.expect_download() as download:
        link = view.page.locator("a.btn-download-source-button").first
        link.evaluate("it => it.click()")  # it lies in a menu
    got = nbformat.read(download.value.path(), as_version=4)
    kept = nbformat.read(notebook(view), as_version=4)
    assert [cell.source for cell in got.cells] == [cell.source for cell in kept.cells]
    assert any(cell.get("outputs") for cell in got.cells)


def figures_lead_to_the_records_of_their_runs(view: View) -> None:
    sources = view.page.locator(".ec-source")
    assert sources.count() == holding(SOURCE, view)
    if not sources.count():
        return
    sources.first.locator("a").first.click()
    view.page.wait_for_url(f"{view.base}/records/*.json")
    record = json.loads(view.page.locator("pre").inner_text())
    assert view.page.url.endswith(f"/{record['key']}.json")


IN_EITHER_THEME = [  # as the page is opened, and again once the theme is switched
    no_request_leaves_the_machine,
    nothing_fails,
    figures_are_drawn_with_data,
    page_does_not_overflow,
    a_table_that_scrolls_shows_that_there_is_more,
    theme_is_the_readers,
    text_in_figures_contrasts,
]
AS_OPENED = [
    *IN_EITHER_THEME,
    every_figure_of_the_chapters_is_on_its_page,
    a_ledger_is_in_view_without_scrolling_sideways,
    links_within_the_page_lead_somewhere,
    math_is_typeset,
    a_page_weighs_less_than_one_and_a_half_megabytes,
    text_contrasts_and_everything_has_a_name,
]
SWITCHED = [figures_follow_a_change_of_theme, *IN_EITHER_THEME]
OF_A_CHAPTER = [
    controls_change_their_figure,
    a_chapter_downloads_as_the_notebook_it_is,
    nothing_fails,
    figures_lead_to_the_records_of_their_runs,  # which leaves the page
]


@pytest.mark.parametrize(("name", "theme", "width"), VISITS)
def test_a_page_keeps_every_claim(
    window: BrowserContext, book: str, subtests: pytest.Subtests, name: str, theme: str, width: int
) -> None:
    view = new_view(window, book, theme, width)
    view.open(f"{name}.html")
    claims = [*AS_OPENED, *SWITCHED]
    if width == 1280 and notebook(view).exists():
        claims += OF_A_CHAPTER
    for claim in claims:
        with subtests.test(f"{claim.__name__.replace('_', ' ')}, {view.theme}"):
            claim(view)
    view.page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_first_visit_is_in_the_systems_theme(browser: Browser, book: str, theme: str) -> None:
    with browser.new_context(color_scheme=theme) as context:
        view = View(context.new_page(), theme, book)
        view.open(f"{PAGES[0]}.html")
        theme_is_the_readers(view)
        assert view.faults == []


def test_front_door_leads_to_the_first_page(window: BrowserContext, book: str) -> None:
    page = window.new_page()
    page.goto(f"{book}/index.html")
    page.wait_for_url(f"{book}/{PAGES[0]}.html")
    page.close()


def test_a_phone_that_is_turned_keeps_what_the_reader_chose(
    window: BrowserContext, book: str
) -> None:
    view = new_view(window, book, width=390)
    view.open("notebooks/07_results.html")
    box = view.page.locator(".ec-figure:not(.ec-explorer .ec-figure):has(select)").first
    menu, plot = box.locator("select"), box.locator(".ec-plot").element_handle()
    visible = "it => it.data.map(trace => trace.visible)"
    first = plot.evaluate(visible)
    menu.select_option(index=1)
    chosen = plot.evaluate(visible)
    assert chosen != first
    for width in (844, 390):
        view.page.set_viewport_size({"width": width, "height": 800})
        view.page.wait_for_function(
            """([it, wide, chosen]) => it._fullLayout.width > 600 === wide
                && it.data.every((trace, i) => trace.visible === chosen[i])""",
            arg=[plot, width > 600, chosen],
        )
        assert menu.evaluate("it => it.selectedIndex") == 1
    view.page.close()


def test_a_figure_is_saved_for_paper_and_under_a_name_of_its_own(
    window: BrowserContext, book: str
) -> None:
    view = new_view(window, book, "dark", 1280)
    view.open("notebooks/opening.html")
    button = view.page.locator(".modebar-btn[data-title='Download plot as a PNG']").first
    view.page.locator(".ec-figure").first.hover()
    with view.page.expect_download() as saving:
        button.click()
    saved = saving.value
    assert saved.suggested_filename == "change-of-test-auc-with-embedding-size-in.png"
    shade = view.page.evaluate(
        """async base64 => {
            const image = new Image();
            image.src = "data:image/png;base64," + base64;
            await image.decode();
            const canvas = document.createElement("canvas").getContext("2d");
            canvas.drawImage(image, 0, 0);
            return [...canvas.getImageData(1, 1, 1, 1).data];
        }""",
        base64.b64encode(Path(saved.path()).read_bytes()).decode(),
    )
    assert shade == [255, 255, 255, 255]
    view.page.close()


def test_without_scripts_a_figure_says_what_it_would_show(browser: Browser, book: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{book}/notebooks/opening.html")
        for box in page.locator(".ec-figure").all():
            said = box.evaluate("it => getComputedStyle(it, '::after').content")
            assert box.get_attribute("aria-label") in said
            assert box.bounding_box()["height"] < 200  # it leaves no blank


@pytest.mark.parametrize("name", ["02_information_abundance", "07_results"])
def test_at_four_times_the_size_nothing_is_cut(
    window: BrowserContext, book: str, name: str
) -> None:
    """1280 px wide, enlarged: WCAG's reflow."""
    view = new_view(window, book, "light", 320)
    view.open(f"notebooks/{name}.html")
    page_does_not_overflow(view)
    cut = view.page.evaluate(
        """texts => [...document.querySelectorAll(".ec-figure")].flatMap(figure => {
            const { left, right } = figure.getBoundingClientRect();
            return [...figure.querySelectorAll(texts)].filter(text => {
                const at = text.getBoundingClientRect();
                return at.width && (at.left < left - 1 || at.right > right + 1);
            }).map(text => text.textContent);
        })""",
        PLOT_TEXT,
    )
    assert cut == []
    view.page.close()


def test_figures_are_as_wide_as_paper_while_they_are_printed(
    window: BrowserContext, book: str
) -> None:
    view = new_view(window, book)
    view.open("notebooks/07_results.html")
    widths = """[...document.querySelectorAll(".ec-plot .main-svg")]
        .map(it => it.getBoundingClientRect().width)"""
    before = view.page.evaluate(widths)
    assert max(before) > 612
    # told and drawn in one go: nothing comes between it and the paper
    on_paper = view.page.evaluate(f"dispatchEvent(new Event('beforeprint')), {widths}")
    assert max(on_paper) <= 612  # what A4 leaves an explorer
    view.page.evaluate("dispatchEvent(new Event('afterprint'))")
    view.page.wait_for_function(f"before => String({widths}) === String(before)", arg=before)
    assert view.faults == []
    view.page.close()


def test_what_scrolls_on_a_screen_is_not_cut_off_on_paper(
    window: BrowserContext, book: str
) -> None:
    view = new_view(window, book, width=390)
    view.open("notebooks/07_results.html")
    view.page.locator(".ec-more").first.wait_for()
    view.page.emulate_media(media="print")
    cut = view.page.evaluate(
        """[...document.querySelectorAll(".ec-more, .ec-scroll, .ec-live")]
            .map(it => getComputedStyle(it))
            .filter(({ maskImage }) => maskImage !== "none").length"""
    )
    assert cut == 0
    boxes = ".ec-scroll, .ec-live, mjx-container[display='true']"
    flow = f"[...document.querySelectorAll(`{boxes}`)].map(it => getComputedStyle(it).overflow)"
    assert {*view.page.evaluate(flow)} == {"visible"}
    view.page.close()


def test_in_forced_colours_figures_follow_the_system_whatever_theme_is_chosen(
    window: BrowserContext, book: str
) -> None:
    view = new_view(window, book, "light")
    view.page.emulate_media(color_scheme="dark", forced_colors="active")
    view.open("notebooks/opening.html")
    ink = "document.querySelector('.ec-plot')._fullLayout.font.color"
    assert view.page.evaluate(ink) == "#d5dbe1"
    view.page.emulate_media(color_scheme="dark", forced_colors="none")
    view.page.wait_for_function(f"{ink} === '#24292f'")
    view.page.close()


def test_a_browser_without_has_or_aria_properties_hears_and_scrolls_as_well(
    window: BrowserContext, book: str
) -> None:
    script = """
        for (const name of Object.getOwnPropertyNames(Element.prototype))
            if (/^(aria[A-Z]|role$)/.test(name)) delete Element.prototype[name];
        const { querySelectorAll } = Document.prototype;
        Document.prototype.querySelectorAll = function (selector) {
            if (selector.includes(":has(")) throw new DOMException("not a selector", "SyntaxError");
            return querySelectorAll.call(this, selector);
        };
    """
    view = new_view(window, book, width=390, script=script)
    view.open("notebooks/02_information_abundance.html")
    view.page.locator(".ec-more").first.wait_for(state="attached")
    assert view.page.locator(".ec-figure:not([role=group])").count() == 0
    sliders = view.page.locator(".ec-explorer input[type=range]")
    assert (
        sliders.count()
        and sliders.count() == sliders.and_(view.page.locator("[aria-valuetext]")).count()
    )
    assert view.page.locator(".ec-tour button[aria-disabled=true]").count()
    view.open("notebooks/opening.html")
    slider = view.page.locator(".ec-figure label:has(input[type=range])").first
    said = slider.locator("input").get_attribute("aria-valuetext")
    assert said
    assert slider.locator("[aria-hidden=true]").inner_text() == said  # or it is said twice
    assert slider.locator("output").count() == 0
    assert view.faults == []
    view.page.close()


def test_the_code_switch_says_what_it_does_next(window: BrowserContext, book: str) -> None:
    view = new_view(window, book)
    view.open("notebooks/07_results.html")
    button = view.page.locator(".ec-code-switch")
    for text in ("Show the code", "Hide the code", "Show the code"):
        assert button.inner_text() == text
        assert button.get_attribute("aria-pressed") is None  # with the words it would say both
        button.click()
    view.page.close()
