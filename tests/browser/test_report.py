"""The collapse report in a browser: from a file, light and dark, on a desk and on a phone."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page
from torch import nn

from embedding_collapse.cli import main

VIEWS = list(product(("light", "dark"), (1280, 390)))
LONG = "emb.<img src=x onerror='document.title=1'>." + "layers." * 8 + "weight"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One checkpoint of this library, one plain, and two that are compared."""
    folder = tmp_path_factory.mktemp("reports")
    run = ["run", "--dataset=flights", "--rows=3000", "--epochs=1", "--design=me", "--scale=2",
           "--embedding-size=4", "--hidden=8", "--device=cpu", "--quiet",
           f"--output={folder}"]  # fmt: skip
    assert main(run) == 0
    torch.manual_seed(0)
    torch.save(nn.Embedding(1000, 16).state_dict(), folder / "plain.pt")
    low = torch.randn(500, 2) @ torch.randn(2, 32)
    torch.save({LONG: low, "b.emb": torch.full((5, 4), torch.nan)}, folder / "nasty.pt")
    np.save(folder / "counts.npy", np.arange(1000))
    commands = [
        [str(next(folder.glob("*.safetensors")))],
        [str(folder / "plain.pt"), f"--rows-weight={folder / 'counts.npy'}"],
        [str(folder / "nasty.pt"), f"--compare={folder / 'plain.pt'}"],
    ]
    made = [folder / f"{index}.html" for index in range(len(commands))]
    for path, command in zip(made, commands, strict=True):
        assert main(["inspect", *command, f"--output={path}"]) == 0
    return made


def opened(browser: Browser, path: Path, theme: str, width: int) -> tuple[Page, list[str]]:
    """The page, and every request but its own and every fault."""
    window = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, noted = window.new_page(), []
    page.on("request", lambda request: noted.append(request.url))
    page.on("console", lambda message: noted.append(message.text))
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.goto(path.as_uri())
    return page, [each for each in noted if each != path.as_uri()]


@pytest.mark.parametrize(("theme", "width"), VIEWS)
@pytest.mark.parametrize("index", range(3))
def test_the_report_opens_by_itself_and_fits(browser, reports, index, theme, width):
    page, noted = opened(browser, reports[index], theme, width)
    assert noted == []
    assert page.locator("svg polyline").count() >= 2
    assert page.title().startswith("Embedding collapse: ")  # no name ran as code
    assert page.locator("img, script").count() == 0
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (theme == "light")
    page.context.close()


def test_names_are_shown_as_text(browser, reports):
    page, _ = opened(browser, reports[2], "light", 1280)
    assert page.locator("h3").first.inner_text() == LONG
    assert "NaN or infinite" in page.locator(".card", has_text="b.emb").inner_text()
    page.context.close()


def test_it_prints_on_white(browser, reports):
    page, _ = opened(browser, reports[0], "dark", 1280)
    page.emulate_media(media="print")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(255, 255, 255)"
    page.context.close()
