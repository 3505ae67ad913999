"""A reader of the book: a browser window, and a page that has drawn itself."""

from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError

# boxes that have just been opened fade in, and text that fades in is hard to read
FINISH = """for (const moving of document.getAnimations())
    if (moving.effect.getComputedTiming().endTime !== Infinity) moving.finish()"""


@dataclass
class View:
    """A loaded page, with what went wrong while it loaded."""

    page: Page
    theme: str
    base: str
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Go to a page of the book and wait until it has drawn itself."""
        page, faults = self.page, self.faults
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        fine = (*range(200, 300), 304)  # 304: the browser has it from an earlier page
        page.on(
            "response",
            lambda r: faults.append(f"{r.status}: {r.url}") if r.status not in fine else None,
        )
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{self.base}/{address}")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate(FINISH)
        page.evaluate("window.MathJax?.startup?.promise?.then(() => null)")
        try:
            page.wait_for_function(
                "document.querySelectorAll('.ec-figure:not([data-drawn])').length === 0",
                timeout=20_000,
            )
        except TimeoutError:
            faults.append("a figure was not drawn within 20 s")


def context(browser: Browser, theme: str, width: int, **options: object) -> BrowserContext:
    """A browser window of a reader who has chosen a theme."""
    made = browser.new_context(viewport={"width": width, "height": 900}, **options)
    made.add_init_script(
        f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    )
    return made
