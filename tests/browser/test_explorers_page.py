"""The page's explorers say what Python says, and work without a mouse or a script."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect
from reading import View, new_view

from embedding_collapse.book import explorers
from embedding_collapse.book.explorers import display
from embedding_collapse.book.explorers.explorer import Control, Explorer, State

PAGES = {
    "sizing": "notebooks/01_jl_sizing.html",
    "bend": "notebooks/02_information_abundance.html",
    "spectrum": "notebooks/02_information_abundance.html",
    "projection": "notebooks/04_suppressing_interaction.html",
    "toy": "notebooks/03_interaction_collapse.html",
    "sub_embeddings": "notebooks/03_interaction_collapse.html",
    "scaling": "notebooks/robustness.html",
}
SOME = 3  # options of a control to try: the first, the last and one between
pytestmark = pytest.mark.xdist_group("explorers")  # one visit for what the mouse does


@pytest.fixture(scope="module")
def reader(window: BrowserContext, book: str) -> Iterator[Callable[[str], View]]:
    """Of an explorer's name the chapter that it stands in, and a mouse."""
    views: dict[str, View] = {}

    def reading(name: str) -> View:
        page = PAGES[name]
        if page not in views:
            views[page] = new_view(window, book)
            views[page].open(page)
        views[page].page.bring_to_front()
        return views[page]

    yield reading
    for view in views.values():
        view.page.close()


def section(view: View, name: str) -> Locator:
    return view.page.locator(f".ec-explorer[id^={name}-]")


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
        return [state[control.name] is None]
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


def holds_what_python_has(box: Locator, explorer: Explorer) -> None:
    held = json.loads(box.locator("script").text_content())
    assert held == json.loads(display.embedded(explorer))


def the_steps_lead_to_their_states_and_back(box: Locator, explorer: Explorer) -> None:
    back, onwards = (
        box.locator(".ec-tour").get_by_role("button", name=name) for name in ("Back", "Next")
    )
    forth = range(len(explorer.steps))
    for number in forth:
        shows_the_step(box, explorer, number)
        onwards.evaluate("it => it.click()")  # also where there is no further one
    for number in forth[::-1]:
        shows_the_step(box, explorer, number)
        back.evaluate("it => it.click()")


def shows_the_step(box: Locator, explorer: Explorer, number: int) -> None:
    step = explorer.steps[number]
    assert box.locator(".ec-steps li:visible").inner_text() == f"{step.text} {step.look}"
    assert told(box) == explorer.view(explorer.data, explorer.at(number)).readout


def what_the_reader_turns_is_no_step(box: Locator, explorer: Explorer) -> None:
    """The guide says so, and leads back; nothing below it moves meanwhile."""
    tour, back = box.locator(".ec-tour"), box.get_by_role("button", name="Return to the step")
    top = box.locator(".ec-plot").evaluate("it => it.getBoundingClientRect().top + scrollY")
    assert not back.is_visible()
    control = next(each for each in explorer.controls if each.kind in ("choice", "slider"))
    values = [option for option, _ in control.choices(explorer.at(0))]
    was = explorer.at(0)[control.name]
    for way_back in (back.click, lambda: turn(box, control, explorer.at(0), was)):
        turn(box, control, explorer.at(0), next(value for value in values if value != was))
        assert "Your own setting" in tour.inner_text() and "Step" not in tour.inner_text()
        assert float(box.locator(".ec-here").evaluate("it => getComputedStyle(it).opacity")) < 1
        there = box.locator(".ec-plot").evaluate("it => it.getBoundingClientRect().top + scrollY")
        assert there == top
        way_back()
        assert not back.is_visible()
        shows_the_step(box, explorer, 0)


def every_control_shows_the_numbers_of_pythons_view(box: Locator, explorer: Explorer) -> None:
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


def every_step_can_be_in_the_address(box: Locator, explorer: Explorer) -> None:
    """What `writeState` makes of a step's controls, `readState` reads as the same."""
    turned = [each for each in explorer.controls if each.kind in ("choice", "slider")]
    for number in range(len(explorer.steps)):
        state = explorer.at(number)
        sliders = [
            {"name": each.name, "options": [value for value, _ in each.choices(state)]}
            for each in turned
        ]
        held = {each.name: state[each.name] for each in turned}
        read = box.evaluate(
            """(it, [name, sliders, held]) => {
                const { readState, writeState } = window.embeddingAddress;
                return readState(writeState("", name, held), name, sliders, {});
            }""",
            [explorer.name, sliders, held],
        )
        assert read == {"state": held, "refused": ""}


@pytest.mark.parametrize("name", explorers.EXPLORERS)
def test_an_explorer_says_what_python_says(
    reader: Callable[[str], View], subtests: pytest.Subtests, name: str
) -> None:
    explorer = explorers.EXPLORERS[name]()
    view = reader(name)
    box = section(view, name)
    with subtests.test("the page holds what Python has"):
        holds_what_python_has(box, explorer)
    with subtests.test("every step can be in the address"):
        every_step_can_be_in_the_address(box, explorer)
    with subtests.test("the steps lead to their states and back"):
        the_steps_lead_to_their_states_and_back(box, explorer)
    with subtests.test("what the reader turns is no step"):
        what_the_reader_turns_is_no_step(box, explorer)
    with subtests.test("every control shows the numbers of Python's view"):
        every_control_shows_the_numbers_of_pythons_view(box, explorer)
    with subtests.test("nothing fails"):
        assert view.faults == []


def answers_to_the_keyboard(view: View, box: Locator) -> None:
    """Every control is reached by Tab alone, and a key changes what the explorer shows."""
    tour = ".ec-tour button:not([aria-label])"  # without Return, which is not there at first
    controls = box.locator(f"{tour}, .ec-controls :is(select:enabled, input, button)")
    controls.first.focus()
    for number in range(controls.count()):
        control = controls.nth(number)
        assert control.evaluate("it => it === document.activeElement")
        kind, end = control.evaluate(
            "it => [it.tagName, it.value === it.max || it.selectedIndex === it.length - 1]"
        )
        before = box.inner_html()
        key = {"INPUT": "ArrowLeft" if end else "ArrowRight", "BUTTON": "Enter"}.get(
            kind, "ArrowUp" if end else "ArrowDown"
        )
        view.page.keyboard.press(key)
        assert control.evaluate("it => it === document.activeElement")
        if kind != "BUTTON" or control.get_attribute("name"):
            assert box.inner_html() != before, control.evaluate("it => it.outerHTML")
        view.page.keyboard.press("Tab")


def is_announced_and_described(view: View, box: Locator) -> None:
    assert box.locator("[aria-live=polite] .ec-readout").count() == 1
    assert len(box.locator(".ec-figure").get_attribute("aria-label")) > 20
    title = view.page.locator(f"#{box.get_attribute('aria-labelledby')}")
    assert title.inner_text().strip()


def prints_the_figure_and_the_numbers_without_controls(view: View, box: Locator) -> None:
    view.page.emulate_media(media="print")
    assert not box.locator("> .ec-controls").is_visible()
    assert box.locator(".main-svg").first.is_visible()
    assert box.locator(".ec-readout").is_visible()
    steps = box.locator(".ec-steps > li")
    assert all(step.is_visible() for step in steps.all())
    tops = steps.evaluate_all("all => all.map(it => it.getBoundingClientRect().top)")
    assert tops == sorted(set(tops))  # one below the other


@pytest.mark.parametrize("page", dict.fromkeys(PAGES.values()))
def test_explorers_take_a_reader_without_a_mouse_or_a_screen(
    window: BrowserContext, book: str, subtests: pytest.Subtests, page: str
) -> None:
    view = new_view(window, book)
    view.open(page)
    names = [name for name, where in PAGES.items() if where == page]
    assert view.page.locator(".ec-explorer").count() == len(names)
    claims = (
        is_announced_and_described,
        answers_to_the_keyboard,
        prints_the_figure_and_the_numbers_without_controls,
    )
    for claim in claims:
        for name in names:
            with subtests.test(f"{name} {claim.__name__.replace('_', ' ')}"):
                claim(view, section(view, name))
    with subtests.test("nothing fails"):
        assert view.faults == []
    view.page.close()


def test_without_scripts_a_drawing_and_the_numbers_remain(
    browser: Browser, book: str, subtests: pytest.Subtests
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for name, where in PAGES.items():
        page.goto(f"{book}/{where}")
        with subtests.test(name):
            box = page.locator(f".ec-explorer[id^={name}-]")
            explorer = explorers.EXPLORERS[name]()
            assert box.locator("img").bounding_box()["height"] > 200
            first = explorer.view(explorer.data, explorer.start).readout[1][0]
            assert box.locator(".ec-steps li:visible").count() == len(explorer.steps)
            assert box.locator(".ec-readout td").first.inner_text() == first
    context.close()


def place_of(box: Locator, x: float, y: float) -> tuple[float, float]:
    """Where a place in the first panel lies on the screen; categories count from 0."""
    return tuple(
        box.locator(".ec-plot").evaluate(
            """(it, [x, y]) => {
                it.scrollIntoView({ block: "center" });
                const { left, top } = it.getBoundingClientRect();
                const { xaxis, yaxis } = it._fullLayout;
                return [left + xaxis._offset + xaxis.c2p(x), top + yaxis._offset + yaxis.c2p(y)];
            }""",
            [x, y],
        )
    )


def test_what_the_reader_chose_is_in_the_address_and_there_after_a_reload(
    reader: Callable[[str], View],
) -> None:
    view = reader("sizing")
    box = section(view, "sizing")
    box.locator("input[name=D]").press("End")
    view.page.wait_for_url(re.compile(r"\?sizing=D:\d+,eps:[\d.]+#sizing-"))
    shown, address = told(box), view.page.url
    view.page.reload()
    box.locator(".ec-plot").wait_for()
    assert told(box) == shown
    assert "Your own setting" in box.locator(".ec-tour").inner_text()
    box.get_by_role("button", name="Return to the step").click()
    assert told(box) != shown
    view.page.goto(address.replace("eps:", "eps:<b>"))
    notice = box.locator(".ec-notice")
    expect(notice).to_contain_text("The address asks for “eps:<b>")
    box.get_by_role("button", name="Next", exact=True).click()
    expect(notice).to_be_hidden()


def test_a_step_with_a_pin_is_the_same_after_a_reload_and_an_own_setting_has_none(
    reader: Callable[[str], View],
) -> None:
    view = reader("spectrum")
    box = section(view, "spectrum")
    for _ in range(2):
        box.get_by_role("button", name="Next", exact=True).click()
    view.page.wait_for_url(re.compile(r"run:ME%204x%3B%20joined"))
    shown = told(box)
    view.page.reload()
    box.locator(".ec-plot").wait_for()
    assert told(box) == shown
    assert "Step 3" in box.locator(".ec-tour").inner_text()
    box.locator("select[name=run]").select_option(label="SE 4x")
    view.page.wait_for_url(re.compile(r"run:SE%204x"))
    view.page.reload()
    box.locator(".ec-plot").wait_for()
    expect(box.locator("button[name=pinned]")).to_have_text("Pin this one")


def test_a_window_that_was_narrow_for_a_while_has_its_titles_where_they_were(
    window: BrowserContext, book: str
) -> None:
    view = new_view(window, book)
    view.open(PAGES["scaling"])
    plot = section(view, "scaling").locator(".ec-plot").element_handle()
    titles = "it => it.layout.annotations.map(({ x, y, xshift }) => [x, y, xshift])"
    before = plot.evaluate(titles)
    for width in (420, 1280):
        view.page.set_viewport_size({"width": width, "height": 900})
        view.page.wait_for_function(
            "([it, wide]) => it._fullLayout.width > 600 === wide", arg=[plot, width > 600]
        )
    assert plot.evaluate(titles) == before
    assert view.faults == []
    view.page.close()


def test_a_drawing_that_fails_leaves_the_next_its_turn(window: BrowserContext, book: str) -> None:
    view = new_view(window, book)
    view.open(PAGES["scaling"])
    box = section(view, "scaling")
    view.page.evaluate(
        """() => {
            const { react } = Plotly;
            Plotly.react = () => (Plotly.react = react, Promise.reject(Error("no room")));
        }"""
    )
    before = drawn(box)
    box.locator("select[name=design]").select_option(label="SE")
    view.page.wait_for_function("Plotly.react.toString().length > 99")  # it has failed
    assert drawn(box) == before
    box.locator("select[name=design]").select_option(label="ME")
    explorer = explorers.EXPLORERS["scaling"]()
    state = explorer.changed(explorer.start, "design", "ME")
    assert_drawn(box, explorer.view(explorer.data, state).marks)
    assert [fault.splitlines()[0] for fault in view.faults] == ["Error: no room"]
    view.page.close()


def test_bars_are_dragged(reader: Callable[[str], View]) -> None:
    view = reader("bend")
    box = section(view, "bend")
    box.get_by_role("button", name="Flat").click()
    start, end = place_of(box, 0, 0.5), place_of(box, 2, 0.35)
    mouse = view.page.mouse
    mouse.move(*start)
    mouse.down()
    mouse.move(start[0], place_of(box, 0, 0.2)[1])
    mouse.move(*end, steps=8)
    mouse.up()
    mouse.move(*start)
    bars = drawn(box)[0]["y"]
    assert bars[2] == 0.35 and bars[3:] == [1] * 5 and max(bars[:2]) < 0.6
    assert box.locator("input[name=s3]").input_value() == "7"


def test_a_click_on_a_cell_chooses_its_two_fields(reader: Callable[[str], View]) -> None:
    view = reader("sub_embeddings")
    box = section(view, "sub_embeddings")
    names = drawn(box)[0]["x"]
    view.page.mouse.click(*place_of(box, 2, 4))
    chosen = box.locator("select").evaluate_all(
        "all => Object.fromEntries(all.map(it => [it.name, it.selectedOptions[0].textContent]))"
    )
    assert chosen["for"].startswith(names[2]) and chosen["of"].startswith(names[4])
    assert drawn(box)[1]["x"] == [names[2]] and drawn(box)[1]["y"] == [names[4]]
    mouse = view.page.mouse  # to zoom is not to choose
    mouse.move(*place_of(box, 0, 0))
    mouse.down()
    mouse.move(*place_of(box, 3, 3), steps=4)
    mouse.up()
    assert drawn(box)[1]["x"] == [names[2]] and drawn(box)[1]["y"] == [names[4]]
