"""The figure that trains in the page: it waits, trains, says what it does, and takes any reader."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from reading import View, context

from embedding_collapse.book.explorers import collapse
from embedding_collapse.lab import toy

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGE = "notebooks/03_interaction_collapse.html"
Open = Callable[..., Page]
expect.set_options(timeout=30_000)  # on a machine that is busy with something else
NO_WORKER = "delete window.Worker"  # as where a page may not make one


@pytest.fixture
def opened(browser: Browser, book: str) -> Iterator[Open]:
    """Opens the chapter, for readers who want no motion unless told otherwise."""
    readers = []

    def open_page(search: str = "", script: str = "", **options: object) -> Page:
        options = {"reduced_motion": "reduce"} | options
        window = context(browser, "light", options.pop("width", 1280), **options)
        if script:
            window.add_init_script(script)
        reader = View(window.new_page(), "light", book)
        readers.append((window, reader))
        reader.open(PAGE + search)
        reader.page.requests = reader.requests
        return reader.page

    yield open_page
    for window, reader in readers:
        assert reader.faults == []
        window.close()


def come(page: Page) -> None:
    """Scroll to the figure, as often as the page still moves it away, until it stands."""
    page.wait_for_function("""() => {
        document.querySelector(".ec-training").scrollIntoView({ block: "center" });
        return document.querySelector(".ec-training .ec-status")?.textContent.includes("at step 0");
    }""")


def readout(page: Page) -> list[list[str]]:
    return page.locator(".ec-training .ec-readout tbody").evaluate(
        "it => [...it.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_nothing_trains_until_the_figure_is_in_view(opened: Open) -> None:
    page = opened()
    assert page.locator(".ec-training .ec-static").count() == 1
    assert not [url for url in page.requests if "worker" in url]
    come(page)
    assert len([url for url in page.requests if "worker" in url]) == 1


@pytest.mark.parametrize("script", ["", NO_WORKER], ids=["worker", "no worker"])
def test_it_trains_as_the_library_does(opened: Open, script: str) -> None:
    page = opened(script=script)
    come(page)
    page.get_by_role("button", name="Next 250 steps").click()
    expect(page.locator(".ec-training .ec-status")).to_contain_text("step 250")
    start = collapse.START
    curves = toy.run((start["few"], start["many"]), start["width"], [start["seed"]], 250, every=250)
    for row, (first, last) in zip(readout(page), curves.abundance[:, 0].tolist(), strict=True):
        assert row[1] == "250"
        assert [float(cell) for cell in row[3:]] == pytest.approx([first, last], abs=0.006)
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".ec-training .ec-status")).to_contain_text("step 251")


def test_it_trains_on_a_page_opened_as_a_file(browser: Browser) -> None:
    window = context(browser, "light", 1280, reduced_motion="reduce")
    page = window.new_page()
    page.goto((HTML / PAGE).as_uri())
    come(page)
    page.get_by_role("button", name="Next 250 steps").click()
    expect(page.locator(".ec-training .ec-status")).to_contain_text("step 250")
    window.close()


def test_play_moves_and_pause_stops(opened: Open) -> None:
    page = opened(reduced_motion="no-preference")
    come(page)
    step = page.locator(".ec-training .ec-readout td:nth-child(2)").first
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(
        "Number(document.querySelector('.ec-training .ec-readout td:nth-child(2)').textContent) > 9"
    )
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    expect(page.locator(".ec-training .ec-status")).to_contain_text(f"step {step.inner_text()}")
    held = step.inner_text()
    page.wait_for_timeout(300)
    assert step.inner_text() == held
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(step).to_have_text("0")


def test_a_setting_is_in_the_address_and_an_impossible_one_is_named(opened: Open) -> None:
    page = opened("?collapse=few:3,width:99")
    come(page)
    status = page.locator(".ec-training .ec-status")
    expect(status).to_contain_text("The address asks for “width:99”; accepted: 3, 4")
    assert readout(page)[0][0] == "D₃ = 3"
    page.locator(".ec-training input[name=seed]").focus()
    page.keyboard.press("ArrowRight")
    expect(status).not_to_contain_text("asks for")
    assert "collapse=few:3,many:100,width:3,rate:1,seed:1,row:1" in page.url
    shown = readout(page)
    page.reload()
    come(page)
    assert readout(page) == shown


def test_a_rate_that_is_too_large_is_said_before_and_after(opened: Open) -> None:
    page = opened("?collapse=rate:1000")
    come(page)
    status = page.locator(".ec-training .ec-status")
    expect(status).to_contain_text("It may diverge")
    page.get_by_role("button", name="Next 250 steps").click()
    expect(status).to_contain_text("Diverged at step 1, learning rate too large.")
    expect(page.get_by_role("button", name="Next 250 steps")).to_be_disabled()
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(status).to_contain_text("at step 0")


def test_all_of_it_answers_to_the_keyboard(opened: Open) -> None:
    page = opened()
    come(page)
    controls = page.locator(".ec-training :is(button, input, canvas[tabindex])")
    controls.first.focus()
    for number in range(controls.count()):
        assert controls.nth(number).evaluate("it => it === document.activeElement")
        page.keyboard.press("Tab")
    cloud = page.locator(".ec-training .ec-cloud").first
    before = cloud.evaluate("it => it.toDataURL()")
    cloud.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('.ec-cloud').toDataURL() !== before", arg=before
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_are_described_and_follow_the_theme(opened: Open, width: int) -> None:
    page = opened(width=width)
    come(page)
    pictures = page.locator(".ec-training canvas")
    assert pictures.count() == 5
    for picture in pictures.all():
        assert any(sign.isdigit() for sign in picture.get_attribute("aria-label"))
        box = picture.bounding_box()
        assert box["width"] >= 140 and box["x"] >= 0 and box["x"] + box["width"] <= width
    before = pictures.evaluate_all("all => all.map(it => it.toDataURL())")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(
        """before => [...document.querySelectorAll('.ec-training canvas')]
            .every((it, i) => it.toDataURL() !== before[i])""",
        arg=before,
    )


def test_without_scripts_the_end_of_both_runs_remains(browser: Browser, book: str) -> None:
    window = context(browser, "light", 1280, java_script_enabled=False)
    page = window.new_page()
    page.goto(f"{book}/{PAGE}")
    assert page.locator(".ec-training img").bounding_box()["height"] > 200
    assert page.locator(".ec-training .ec-readout td").first.inner_text() == "D₃ = 2"
    window.close()
