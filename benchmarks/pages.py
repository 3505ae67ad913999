"""What a page of the built book weighs, how soon there is text on it, and its first figure.

    python benchmarks/pages.py            # after make book; needs Chromium

Compressed bytes are what a server that compresses would send of everything a page asks for. The
times run from the start of the navigation, to the first contentful paint and to the moment that the
first figure is drawn, in a fresh window with an empty cache; the server is on this machine and
compresses nothing.
"""

import gzip
import statistics
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "tests" / "browser"))

import conftest  # noqa: E402  (the tests' server and browser)

REPEATS = 5
DRAWN = """
addEventListener('DOMContentLoaded', () => {
    const seen = new MutationObserver(() => {
        if (!document.querySelector('.ec-figure[data-drawn]')) return;
        window.firstFigure = performance.now();
        seen.disconnect();
    });
    seen.observe(document.body, {subtree: true, attributes: true});
});
"""

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main() -> None:
    """Print a line per page that holds a figure."""
    server, chromium = conftest.book.__wrapped__(), conftest.browser.__wrapped__()
    address, browser = next(server), next(chromium)
    pages = sorted(path for path in HTML.glob("*/*.html") if "ec-" in path.read_text())
    print(f"{'page':40} {'kB compressed':>14} {'ms to content':>13} {'ms to first figure':>19}")
    for path in pages:
        times, paints, asked = [], [], set()
        for _ in range(REPEATS):
            window = browser.new_context(viewport={"width": 1280, "height": 900})
            page = window.new_page()
            page.add_init_script(DRAWN)
            page.on("request", lambda request, asked=asked: asked.add(urlsplit(request.url)))
            page.goto(f"{address}/{path.relative_to(HTML)}")
            page.wait_for_function("window.firstFigure")
            times.append(page.evaluate("window.firstFigure"))
            paints.append(page.evaluate(PAINTED))
            window.close()
        paths = {one.path for one in asked if one.scheme == "http"}  # a worker's is a blob
        files = [(HTML / file.lstrip("/")).read_bytes() for file in paths]
        kilobytes = sum(min(len(gzip.compress(content)), len(content)) for content in files) / 1e3
        name = str(path.relative_to(HTML))
        paint, figure = statistics.median(paints), statistics.median(times)
        print(f"{name:40} {kilobytes:14,.0f} {paint:13,.0f} {figure:19,.0f}", flush=True)
    for made in (chromium, server):
        next(made, None)


if __name__ == "__main__":
    main()
