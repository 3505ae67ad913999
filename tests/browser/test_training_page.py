"""The figure that trains in the page: it waits, trains, says what it does, and takes any reader."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from reading import View, new_view

from embedding_collapse.book.explorers import collapse
from embedding_collapse.lab import toy

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGE = "notebooks/03_interaction_collapse.html"  # begins with the figure
FURTHER_DOWN = "notebooks/02_information_abundance.html"
Open = Callable[..., View]
expect.set_options(timeout=30_000)  # on a machine that is busy with something else
NO_WORKER = "delete window.Worker"  # as where a page may not make one


@pytest.fixture
def opened(window: BrowserContext, book: str) -> Iterator[Open]:
    """Opens the chapter, for a reader who wants no motion."""
    views = []

    def open_page(script: str = "", width: int = 1280, chapter: str = PAGE) -> View:
        view = new_view(window, book, width=width, script=script)
        views.append(view)
        view.page.emulate_media(reduced_motion="reduce")
        view.open(chapter)
        return view

    yield open_page
    for view in views:
        assert view.faults == []
        view.page.close()


def come(page: Page) -> None:
    """Scroll to the figure, as often as the page still moves it away, until it stands."""
    page.wait_for_function("""() => {
        document.querySelector("#ec-collapse").scrollIntoView({ block: "center" });
        return document.querySelector("#ec-collapse .ec-status")?.textContent.includes("at step 0");
    }""")


def readout(page: Page) -> list[list[str]]:
    return page.locator("#ec-collapse .ec-readout tbody").evaluate(
        "it => [...it.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )


def trains_as_the_library_does(page: Page) -> None:
    page.get_by_role("button", name="Next 250 steps").click()
    expect(page.locator("#ec-collapse .ec-status")).to_contain_text("step 250")
    start = collapse.START
    curves = toy.run((start["few"], start["many"]), start["width"], [start["seed"]], 250, every=250)
    for row, (first, last) in zip(readout(page), curves.abundance[:, 0].tolist(), strict=True):
        assert row[1] == "250"
        assert [float(cell) for cell in row[3:]] == pytest.approx([first, last], abs=0.006)
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator("#ec-collapse .ec-status")).to_contain_text("step 251")


def answers_to_the_keyboard(page: Page) -> None:
    controls = page.locator("#ec-collapse :is(button, input, canvas[tabindex])")
    controls.first.focus()
    for number in range(controls.count()):
        assert controls.nth(number).evaluate("it => it === document.activeElement")
        page.keyboard.press("Tab")
    cloud = page.locator("#ec-collapse .ec-cloud").first
    before = cloud.evaluate("it => it.toDataURL()")
    cloud.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('.ec-cloud').toDataURL() !== before", arg=before
    )


def pictures_are_described_and_fit(page: Page, width: int) -> None:
    pictures = page.locator("#ec-collapse canvas")
    assert pictures.count() == 5
    for picture in pictures.all():
        assert any(sign.isdigit() for sign in picture.get_attribute("aria-label"))
        box = picture.bounding_box()
        assert box["width"] >= 140 and box["x"] >= 0 and box["x"] + box["width"] <= width


def pictures_follow_the_theme(view: View) -> None:
    pictures = view.page.locator("#ec-collapse canvas")
    before = pictures.evaluate_all("all => all.map(it => it.toDataURL())")
    view.switch_theme()
    view.page.wait_for_function(
        """before => [...document.querySelectorAll('#ec-collapse canvas')]
            .every((it, i) => it.toDataURL() !== before[i])""",
        arg=before,
    )


@pytest.mark.parametrize(
    ("script", "width"), [("", 1280), (NO_WORKER, 390)], ids=["worker-1280", "no worker-390"]
)
def test_it_waits_trains_and_takes_any_reader(
    opened: Open, subtests: pytest.Subtests, script: str, width: int
) -> None:
    view = opened(script=script, width=width, chapter=FURTHER_DOWN)
    page = view.page
    with subtests.test("nothing trains until the figure is in view"):
        assert page.locator("#ec-collapse .ec-static").count() == 1
        assert page.workers == []
    come(page)
    with subtests.test("it trains in a worker where the page may make one"):
        assert len(page.workers) == (0 if script else 1)
    with subtests.test("it trains as the library does"):
        trains_as_the_library_does(page)
    with subtests.test("pictures are described and fit"):
        pictures_are_described_and_fit(page, width)
    with subtests.test("all of it answers to the keyboard"):
        answers_to_the_keyboard(page)
    with subtests.test("pictures follow the theme"):
        pictures_follow_the_theme(view)


def test_it_trains_on_a_page_opened_as_a_file(window: BrowserContext) -> None:
    page = window.new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto((HTML / PAGE).as_uri())
    come(page)
    page.get_by_role("button", name="Next 250 steps").click()
    expect(page.locator("#ec-collapse .ec-status")).to_contain_text("step 250")
    page.close()


def test_it_plays_as_it_comes_into_view_and_pause_stops(opened: Open) -> None:
    page = opened(chapter=FURTHER_DOWN).page
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function("""() => {
        document.querySelector("#ec-collapse").scrollIntoView();
        const step = document.querySelector("#ec-collapse .ec-readout td:nth-child(2)");
        return Number(step?.textContent) > 9;
    }""")
    step = page.locator("#ec-collapse .ec-readout td:nth-child(2)").first
    status = page.locator("#ec-collapse .ec-status")
    expect(status).to_have_css("opacity", "0")  # it stands still meanwhile
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    expect(status).to_have_css("opacity", "1")
    expect(status).to_contain_text(f"step {step.inner_text()}")
    held = step.inner_text()
    page.wait_for_timeout(300)
    assert step.inner_text() == held
    page.locator("#ec-collapse input[name=seed]").press("ArrowRight")
    expect(step).to_have_text("0")
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator("#ec-collapse input[name=rate]").press("End")
    expect(page.locator("#ec-collapse .ec-status")).to_contain_text("Diverged at step 1")
    page.locator("#ec-collapse input[name=rate]").press("Home")  # plays on, as was last asked for
    page.wait_for_function(
        "Number(document.querySelector('#ec-collapse .ec-readout td:nth-child(2)').textContent) > 9"
    )
    # out of view and back, both told at once: while the page is at something else
    page.evaluate("""async () => {
        const picture = () => new Promise(requestAnimationFrame);
        const begun = performance.now();
        for (const place of [document.body.scrollHeight, 0]) {
            scrollTo(0, place);
            await picture();
            while (performance.now() < begun + 200);
        }
        document.querySelector("#ec-collapse").scrollIntoView();
    }""")
    now = int(step.inner_text().replace(",", ""))
    page.wait_for_function(
        """now => Number(document.querySelector("#ec-collapse .ec-readout td:nth-child(2)")
            .textContent.replace(",", "")) > now + 9""",
        arg=now,
    )
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(step).to_have_text("0")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_it_does_not_play_by_itself_once_the_reader_has_stepped(opened: Open) -> None:
    page = opened(chapter=FURTHER_DOWN).page
    come(page)
    page.set_viewport_size({"width": 1280, "height": 300})  # too low to see half of the clouds
    page.emulate_media(reduced_motion="no-preference")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator("#ec-collapse .ec-status")).to_contain_text("at step 1.")
    page.set_viewport_size({"width": 1280, "height": 1200})
    page.locator("#ec-collapse .ec-runs").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert [row[1] for row in readout(page)] == ["1", "1"]


def test_on_paper_a_dark_page_is_light_and_has_no_controls(opened: Open) -> None:
    view = opened()
    page = view.page
    come(page)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    shown = "document.querySelector('#ec-collapse .ec-lines').toDataURL()"
    page.wait_for_timeout(100)
    dark = page.evaluate(shown)
    # told and drawn in one go: no picture comes between it and the paper
    light = page.evaluate(
        f"dispatchEvent(new Event('beforeprint')), Promise.resolve().then(() => {shown})"
    )
    assert light != dark
    page.emulate_media(media="print", reduced_motion="reduce")
    for name in (".ec-controls", ".ec-code-switch"):
        assert not any(one.is_visible() for one in page.locator(name).all())


def test_without_scripts_the_end_of_both_runs_remains(browser: Browser, book: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{book}/{PAGE}")
    assert page.locator("#ec-collapse img").bounding_box()["height"] > 200
    assert page.locator("#ec-collapse .ec-readout td").first.inner_text() == "D₃ = 2"
    context.close()
