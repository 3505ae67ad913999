"""A server for the built book and a headless Chromium to read it with."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Chromium is to be silent: what it asks of the network by itself is no request of the book's.
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for the many files of a page

    def log_message(self, *_: object) -> None:
        """Keep the test's output for the tests."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder's files are served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Where the pages of a module's `folder` are served."""
    with served(folder) as served_at:
        yield served_at


@pytest.fixture(scope="session")
def book() -> Iterator[str]:
    """The address of the built book."""
    if not (HTML / "index.html").exists():
        pytest.fail("there is no _build/html: run `make book` first", pytrace=False)
    with served(HTML) as address:
        yield address


@pytest.fixture(scope="session")
def call(browser: Browser) -> Iterator[Callable[..., Any]]:
    """Calls a function of `tests/live/twins.mjs` in Chromium, by name and arguments."""
    with served(ROOT) as address, browser.new_page() as page:
        page.goto(f"{address}/tests/live/")
        script = "async ([name, values]) => (await import('./twins.mjs')).call(name, values)"
        yield lambda name, *values: json.loads(page.evaluate(script, [name, values]))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, from the environment's CHROMIUM or from PATH."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail("no Chromium: install chromium, or set CHROMIUM to its path", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """One window for all pages: what they share is fetched and compiled once."""
    with browser.new_context() as context:
        context.set_default_timeout(60_000)  # on a machine that is busy with something else
        yield context
