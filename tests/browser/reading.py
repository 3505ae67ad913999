"""A reader of the book: a page that has drawn itself, and what went wrong on it."""

from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Page, TimeoutError

# boxes that have just been opened fade in, and text that fades in is hard to read
FINISH = """for (const moving of document.getAnimations())
    if (moving.effect.getComputedTiming().endTime !== Infinity) moving.finish()"""


@dataclass
class View:
    """A page in a reader's theme, with what it asked of the network and what went wrong on it."""

    page: Page
    theme: str
    base: str
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
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

    def open(self, address: str) -> None:
        """Go to a page of the book and wait until it has drawn itself."""
        page = self.page
        page.goto(f"{self.base}/{address}")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate(FINISH)
        page.evaluate("window.MathJax?.startup?.promise?.then(() => null)")
        try:
            page.wait_for_function(
                "document.querySelectorAll('.ec-figure:not([data-drawn])').length === 0"
            )
        except TimeoutError:
            self.faults.append("a figure was not drawn")

    def switch_theme(self) -> None:
        """Press the page's button, which goes through light, dark and what the system prefers."""
        self.theme = "light" if self.theme == "dark" else "dark"
        self.page.evaluate(
            """theme => {
                const button = document.querySelector('.theme-switch-button');
                for (let i = 0; i < 3 && document.documentElement.dataset.theme !== theme; i++)
                    button.click();
            }""",
            self.theme,
        )
        self.page.evaluate(FINISH)

    def leaving(self) -> list[str]:
        """The requests that ask another machine."""
        local = (self.base, "data:", "blob:")
        return [url for url in self.requests if not url.startswith(local)]


def new_view(
    window: BrowserContext, base: str, theme: str = "light", width: int = 1280, script: str = ""
) -> View:
    """A tab, not yet on a page, of a reader who has chosen a theme.

    Args:
        window: of which it is a tab.
        base: the book's address.
        theme: `light` or `dark`.
        width: of the tab, in CSS pixels.
        script: runs before any of the page's.
    """
    page = window.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    choice = f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
    page.add_init_script(choice + script)
    return View(page, theme, base)
