"""The scripts that draw figures and explorers, on a page with nothing else: names that came with
somebody's data, an address that asks for what there is not, and what fails."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import plotly.graph_objects as go
import pytest
from conftest import ROOT
from playwright.sync_api import BrowserContext, Page, expect

from embedding_collapse.book import joining, plots
from embedding_collapse.book.explorers import display, sub_embeddings
from embedding_collapse.lab.records import Record

STATIC = ROOT / "book" / "_static"
PLOTLY = "plotly-cartesian.min.js"
OTHERS = ("figures.js", "address.script.js", "explorers.js")
FIELDS = ["R&D <b>site</b>", "device", "user"]
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scripts lie."""
    folder = tmp_path_factory.mktemp("static")
    for script in (f"vendor/plotly/{PLOTLY}", "figures.js", "explorers.js"):
        shutil.copy(STATIC / script, folder)
    (folder / "address.script.js").write_text(joining.shared("address"))
    return folder


@pytest.fixture
def opened(window: BrowserContext, folder: Path, address: str) -> Iterator[Open]:
    """Opens a page of these pieces, the scripts below them; no script may have stopped halfway."""
    pages, faults = [], []

    def open_page(*pieces: str, search: str = "", scripts: tuple = (PLOTLY, *OTHERS)) -> Page:
        tags = "".join(f'<script src="{script}"></script>' for script in scripts)
        head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Pieces</title>'
        (folder / "page.html").write_text(f"{head}<body>{''.join(pieces)}{tags}")
        page = window.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}/page.html{search}")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


@pytest.fixture
def explorer(make_record: Callable[..., Record]) -> str:
    """An explorer of three fields as a page has it: base of one set, ME of four."""
    runs = [make_record("se", 1), make_record("me", 4)]
    for run in runs:
        run.dataset["fields"] = FIELDS
    return display.page(sub_embeddings.explorer(runs))


def box(content: str) -> str:
    return f'<div class="ec-figure" role="img" aria-label="A line">{content}</div>'


def figure(name: str) -> str:
    """A figure with a menu of two lines, one of that name."""
    line = go.Figure(go.Scatter(y=[1, 2]))
    drawn = plots.one_of({plots.as_text(name): line, "other": line}, "Line")
    text = drawn.to_json().replace("<", "\\u003c")
    return box(f'<script type="application/json">{text}</script>')


def test_names_are_text_in_menus_and_in_what_explorers_draw(opened: Open, explorer: str) -> None:
    page = opened(figure(FIELDS[0]), explorer)
    options = page.locator(".ec-figure option")
    page.locator(".ec-figure[data-drawn]").nth(1).wait_for()
    assert options.all_text_contents() == [FIELDS[0], "other"]
    plot = page.locator(".ec-explorer .ec-plot")
    names = plot.locator(".xtick text").all_text_contents()
    assert sorted(names) == sorted(FIELDS)
    assert plot.locator(".xtick text [style*=bold]").count() == 0
    at = plot.evaluate(
        """(it, place) => {
            it.scrollIntoView({ block: "center" });
            const { left, top } = it.getBoundingClientRect();
            const { xaxis, yaxis } = it._fullLayout;
            return [xaxis, yaxis].map(axis => axis._offset + axis.c2p(place))
                .map((at, i) => at + [left, top][i]);
        }""",
        names.index(FIELDS[0]),
    )
    page.mouse.click(*at)
    for name in ("of", "for"):
        chosen = page.locator(f"select[name={name}] option:checked")
        assert chosen.text_content().startswith(f"{FIELDS[0]} (")


def test_an_option_that_goes_with_another_choice_alone_is_refused_by_name(
    opened: Open, explorer: str
) -> None:
    asked = "?sub_embeddings=set:3,run:{},field:1"
    page = opened(explorer, search=asked.format("base"))
    expect(page.locator(".ec-notice")).to_have_text(
        "The address asks for “set:3”; accepted: 1. (1 more such part.)"
    )
    shown = page.locator("select").evaluate_all("all => all.map(it => it.selectedOptions[0].text)")
    assert shown[1:3] == ["base", "1 of 1"]
    page = opened(explorer, search=asked.format("ME 4x").replace(",field:1", ""))
    expect(page.locator("select[name=set] option:checked")).to_have_text("3 of 4")
    expect(page.locator(".ec-notice")).to_be_hidden()


def test_a_figure_or_an_explorer_that_fails_says_so_and_the_others_are_drawn(
    opened: Open, explorer: str
) -> None:
    torn = explorer.replace('{"name":', '{"name"', 1)
    unknown = explorer.replace('{"name":"sub_embeddings"', '{"name":"nobody"', 1)
    bad = '<script type="application/json">{"data"</script>'
    page = opened(box(""), box(bad), figure("whole"), torn, unknown, explorer)
    drawn = page.locator(".ec-figure[data-drawn]")
    expect(drawn).to_have_count(2)
    faults = page.locator(".ec-fault")
    expect(faults).to_have_count(4)
    assert all("could not be drawn (" in fault for fault in faults.all_text_contents())
    boxes = page.locator(".ec-figure:not([data-drawn])")
    assert boxes.evaluate_all("all => all.map(it => it.getAttribute('role'))") == ["group"] * 2
    # what stood there before is there still
    assert page.locator(".ec-explorer:has(.ec-fault) img").count() == 2
    assert page.locator(".ec-tour").count() == 0


def test_without_plotly_each_figure_says_so_and_numbers_and_controls_remain(
    opened: Open, explorer: str
) -> None:
    page = opened(figure("whole"), explorer, scripts=OTHERS)
    faults = page.locator(".ec-figure > .ec-fault")
    expect(faults).to_have_text(["This could not be drawn (Plotly is not defined)."] * 2)
    page.locator("select[name=run]").select_option(label="base")
    expect(page.locator("select[name=set]")).to_be_disabled()
    assert page.locator(".ec-readout td").count() == 5
