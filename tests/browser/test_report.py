"""The collapse report in a browser: from a file, light and dark, on a desk and on a phone."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page
from torch import nn

from embedding_collapse.cli import main

VIEWS = list(product(("light", "dark"), (1280, 390)))
pytestmark = pytest.mark.xdist_group("reports")  # which are made once
LONG = "emb.<img src=x onerror='document.title=1'>." + "layers." * 8 + "weight"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One checkpoint of this library, one plain, and two that are compared."""
    folder = tmp_path_factory.mktemp("reports")
    run = [
        "run",
        "--dataset=synthetic-mini",
        "--rows=3000",
        "--epochs=1",
        "--design=me",
        "--scale=2",
        "--embedding-size=4",
        "--hidden=8",
        "--device=cpu",
        "--quiet",
        f"--output={folder}",
    ]
    assert main(run) == 0
    torch.manual_seed(0)
    torch.save(nn.Embedding(1000, 16).state_dict(), folder / "plain.pt")
    low = torch.randn(500, 2) @ torch.randn(2, 32)
    torch.save({LONG: low, "b.emb": torch.full((5, 4), torch.nan)}, folder / "nasty.pt")
    np.save(folder / "counts.npy", np.arange(1000))
    commands = [
        [str(next(folder.glob("*.safetensors")))],
        [str(folder / "plain.pt"), f"--rows-weight={folder / 'counts.npy'}"],
        [str(folder / "nasty.pt"), str(folder / "plain.pt")],
    ]
    made = [folder / f"{index}.html" for index in range(len(commands))]
    for path, command in zip(made, commands, strict=True):
        assert main(["inspect", *command, f"--output={path}"]) == 0
    return made


@pytest.fixture
def open_report(
    browser: Browser, reports: list[Path]
) -> Iterator[Callable[[int], tuple[Page, list[str]]]]:
    """Opens a report: the page, and every request but its own and every fault."""
    with browser.new_context() as context:

        def open_page(index: int) -> tuple[Page, list[str]]:
            page, noted = context.new_page(), []
            address = reports[index].as_uri()
            page.on("request", lambda request: noted.append(request.url))
            page.on("console", lambda message: noted.append(message.text))
            page.on("pageerror", lambda error: noted.append(str(error)))
            page.goto(address)
            noted.remove(address)
            return page, noted

        yield open_page


@pytest.mark.parametrize("index", range(3))
def test_the_report_opens_by_itself_and_fits(open_report, subtests, index):
    page, noted = open_report(index)
    for theme, width in VIEWS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        with subtests.test(f"it fits, {theme}, {width}"):
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        with subtests.test(f"its theme is the reader's, {theme}, {width}"):
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(255, 255, 255)") == (theme == "light")
    with subtests.test("it shows curves"):
        assert page.locator("svg polyline").count() >= 2
    with subtests.test("no name runs as code"):
        assert page.title().startswith("Embedding collapse: ")
        assert page.locator("img, script").count() == 0
    with subtests.test("it asks for nothing and reports no fault"):
        assert noted == []


def test_names_are_shown_as_text(open_report):
    page, _ = open_report(2)
    assert page.locator("h3").first.inner_text() == LONG
    assert "NaN or infinite" in page.locator(".card", has_text="b.emb").inner_text()


def test_it_prints_on_white(open_report):
    page, _ = open_report(0)
    page.emulate_media(color_scheme="dark", media="print")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(255, 255, 255)"
