"""The page's explorers say what Python says, and work without a mouse or a script."""

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator
from reading import View, context

from embedding_collapse.book import explorers
from embedding_collapse.book.explorers import display
from embedding_collapse.book.explorers.explorer import Control, Explorer, State

PAGE = "notebooks/explorers.html"
NAMES = list(explorers.EXPLORERS)
SOME = 4  # options of a control to try: the first, the last and some between


@pytest.fixture(scope="module")
def reader(browser: Browser, book: str) -> Iterator[View]:
    """The page of the explorers."""
    window = context(browser, "light", 1280)
    view = View(window.new_page(), "light", book)
    view.open(PAGE)
    yield view
    assert view.faults == []
    window.close()


@pytest.fixture(scope="module", params=NAMES)
def explorer(request: pytest.FixtureRequest) -> Explorer:
    return explorers.EXPLORERS[request.param]()


def section(reader: View, explorer: Explorer) -> Locator:
    return reader.page.locator(f".ec-explorer[id^={explorer.name}-]")


def turn(box: Locator, control: Control, state: State, value: Any) -> None:
    """Turn a control of the page as a reader would."""
    values = [option for option, _ in control.choices(state)] if control.options else []
    if control.kind == "choice":
        box.locator(f"select[name={control.name}]").select_option(index=values.index(value))
    elif control.kind == "slider":
        box.locator(f"input[name={control.name}]").fill(str(values.index(value)))
    elif control.kind == "presets":
        box.get_by_role("group", name=control.label).get_by_role("button").nth(
            values.index(value)
        ).click()
    else:
        box.locator(f"button[name={control.name}]").click()


def some_turns(control: Control, state: State) -> list[Any]:
    if control.kind == "pin":
        return [True]
    values = [option for option, _ in control.choices(state)]
    return [values[i] for i in np.unique(np.linspace(0, len(values) - 1, SOME).astype(int))]


def told(box: Locator) -> list[list[str]]:
    """The readout on the screen."""
    return box.locator(".ec-readout").evaluate(
        "it => [...it.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )


def drawn(box: Locator) -> list[dict[str, Any]]:
    """The numbers of the traces on the screen."""
    return box.locator(".ec-plot").evaluate(
        "it => it.data.map(({x, y, z, name}) => ({x, y, z, name}))"
    )


def assert_drawn(box: Locator, expected: list[dict[str, Any]]) -> None:
    """The figure comes to show these numbers; drawing takes a moment."""
    numbers = [(key, trace.get(key)) for trace in expected for key in ("x", "y", "z")]
    end = time.monotonic() + 5
    while True:
        found = drawn(box)
        shown = [(key, trace.get(key)) for trace in found for key in ("x", "y", "z")]
        if len(shown) == len(numbers) and all(map(alike, shown, numbers)):
            return
        assert time.monotonic() < end, (shown, numbers)
        time.sleep(0.05)


def alike(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    (_, a), (_, b) = one, other
    if a is None or b is None or (a and isinstance(a[0], str)):
        return a == b
    a, b = np.array(a, dtype=float), np.array(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_page_holds_what_python_has(reader: View, explorer: Explorer) -> None:
    held = json.loads(section(reader, explorer).locator("script").text_content())
    assert held == json.loads(display.embedded(explorer))


def test_every_control_shows_the_numbers_of_pythons_view(reader: View, explorer: Explorer) -> None:
    box = section(reader, explorer)
    state = dict(explorer.start)
    readouts = set()
    assert told(box) == explorer.view(explorer.data, state).readout
    for control in (*explorer.controls, *explorer.controls[:2]):  # with the later ones turned too
        for value in some_turns(control, state):
            turn(box, control, state, value)
            state = explorer.changed(state, control.name, value)
            view = explorer.view(explorer.data, state)
            assert told(box) == view.readout
            readouts.add(str(view.readout))
        assert_drawn(box, view.marks)
    assert len(readouts) > len(explorer.controls)


def test_every_control_answers_to_the_keyboard(browser: Browser, book: str) -> None:
    window = context(browser, "light", 1280)
    reader = View(window.new_page(), "light", book)
    reader.open(PAGE)
    for box in reader.page.locator(".ec-explorer").all():
        controls = box.locator(".ec-controls :is(select:enabled, input, button)")
        controls.first.focus()
        for number in range(controls.count()):
            control = controls.nth(number)
            assert control.evaluate("it => it === document.activeElement")  # by Tab alone
            kind, end = control.evaluate(
                "it => [it.tagName, it.value === it.max || it.selectedIndex === it.length - 1]"
            )
            before = box.inner_html()
            key = {"INPUT": "ArrowLeft" if end else "ArrowRight", "BUTTON": "Enter"}.get(
                kind, "ArrowUp" if end else "ArrowDown"
            )
            reader.page.keyboard.press(key)
            assert control.evaluate("it => it === document.activeElement")
            if kind != "BUTTON" or control.get_attribute("name"):
                assert box.inner_html() != before, control.evaluate("it => it.outerHTML")
            reader.page.keyboard.press("Tab")
    assert reader.faults == []
    window.close()


def test_readouts_are_announced_and_figures_described(reader: View) -> None:
    for box in reader.page.locator(".ec-explorer").all():
        assert box.locator("[aria-live=polite] .ec-readout").count() == 1
        assert len(box.locator(".ec-figure").get_attribute("aria-label")) > 20
        title = reader.page.locator(f"#{box.get_attribute('aria-labelledby')}")
        assert title.inner_text().strip()


def test_without_scripts_a_drawing_and_the_numbers_remain(browser: Browser, book: str) -> None:
    window = context(browser, "light", 1280, java_script_enabled=False)
    reader = window.new_page()
    reader.goto(f"{book}/{PAGE}")
    for name in NAMES:
        box = reader.locator(f".ec-explorer[id^={name}-]")
        explorer = explorers.EXPLORERS[name]()
        assert box.locator("img").bounding_box()["height"] > 200
        first = explorer.view(explorer.data, explorer.start).readout[1][0]
        assert box.locator(".ec-readout td").first.inner_text() == first
    window.close()


def test_paper_shows_the_figure_and_the_numbers_without_controls(reader: View) -> None:
    reader.page.emulate_media(media="print")
    for box in reader.page.locator(".ec-explorer").all():
        assert not box.locator("> .ec-controls").is_visible()
        assert box.locator(".main-svg").first.is_visible()
        assert box.locator(".ec-readout").is_visible()
    reader.page.emulate_media(media="screen")
