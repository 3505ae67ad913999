"""Every link of the built book that stays inside it leads to a page, and to a place on it."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"


class Links(HTMLParser):
    """The names that a page's elements have, and the addresses that it points to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.names |= {value for name in ("id", "name") if (value := found.get(name))}
        self.addresses += [value for name in ("href", "src") if (value := found.get(name))]


@pytest.fixture(scope="module")
def pages(book: str) -> dict[Path, Links]:
    found = [path for path in HTML.rglob("*.html") if "_static" not in path.parts]
    return {path: Links(path) for path in found}


def test_every_internal_link_and_anchor_leads_somewhere(pages: dict[Path, Links]) -> None:
    lost = []
    for path, page in pages.items():
        for address in page.addresses:
            target, anchor = urldefrag(address)
            if urlsplit(address).scheme or target.startswith("//"):
                continue
            place = path if not target else (path.parent / unquote(urlsplit(target).path)).resolve()
            missing = not place.exists()
            anchor = unquote(anchor)
            if missing or (anchor and place in pages and anchor not in pages[place].names):
                lost.append(f"{path.relative_to(HTML)}: {address}")
    assert not lost, "\n".join(lost)
