"""The elements of a page, for tests that look into one."""

from html.parser import HTMLParser


class Elements(HTMLParser):
    """Attributes by tag, in order, and the text of script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.found[-1][0] == "script":
            self.scripts[-1] += data

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.found]
