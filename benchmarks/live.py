"""How a page moves while a figure trains in it: pictures a second, long tasks, time to the end.

    python benchmarks/live.py [--seconds 20]      # needs Chromium; look at the load first

Each figure stands alone on a page, in headless Chromium, and plays. A task is what the page's main
thread does without a break; browsers report those of 50 ms and more. Pictures are those that the
browser would show, whether or not something has moved.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from embedding_collapse.book.explorers import TRAINING, training
from embedding_collapse.book.joining import LIVE, joined

PLAYING = ("collapse", "sets")
FLAGS = "--no-sandbox --disable-gpu"
WATCH = """() => {
    window.seen = { pictures: 0, tasks: [], start: performance.now() };
    const next = () => { window.seen.pictures++; requestAnimationFrame(next); };
    requestAnimationFrame(next);
    new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) window.seen.tasks.push(duration);
    }).observe({ type: "longtask" });
}"""
READ = """() => {
    const { pictures, tasks, start } = window.seen;
    return { rate: pictures / (performance.now() - start) * 1000, tasks };
}"""


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    seconds = parser.parse_args().seconds
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    heads = f"{'pictures/s':>10} {'tasks of 50 ms':>14} {'longest, ms':>11}"
    print(f"{'figure':12} {'trains':>7} {heads}  where it has come to")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        for name in PLAYING:
            path = Path(folder) / f"{name}.html"
            script = joined(LIVE / f"{name}.js").replace("</", "<\\/")
            look = (LIVE / "live.css").read_text()
            page_of = training.page(TRAINING[name])
            path.write_text(
                f'<!doctype html><meta charset="utf-8"><style>{look}</style>{page_of}'
                f"<script>{script}</script>"
            )
            page = browser.new_page(viewport={"width": 1280, "height": 1200})
            page.goto(path.as_uri())
            page.wait_for_selector("[data-live] .ec-status:not(:empty)")
            page.evaluate(WATCH)
            page.wait_for_timeout(500)  # what plays by itself does so by now
            play = page.locator(".ec-controls button").first
            if play.inner_text() == "Play":
                play.click()
            time.sleep(seconds)
            seen = page.evaluate(READ)
            tasks, rate = seen["tasks"], seen["rate"]
            longest = max(tasks, default=0)
            last = page.locator(".ec-readout tbody").first.locator("tr").last
            at = last.inner_text().replace("\t", " ")
            where = "worker" if page.workers else "page"
            print(f"{name:12} {where:>7} {rate:10.0f} {len(tasks):14} {longest:11.0f}  {at}")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
