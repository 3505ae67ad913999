"""Draw the social card, `_static/social.png`: python book/social_card.py (needs Chromium)."""

import os
from pathlib import Path

from playwright.sync_api import sync_playwright

STATIC = Path(__file__).resolve().parent / "_static"
WIDTH, HEIGHT = 1200, 630  # what services ask for
PAGE = """
<body style="margin:0; display:flex; align-items:center; background:#fff; color:#24292f;
             font-family:system-ui, sans-serif; height:100vh">
  <div style="padding:0 20px 0 64px; flex:1">
    <h1 style="font-size:62px; line-height:1.05; margin:0 0 22px">Embedding<br>Collapse</h1>
    <p style="font-size:29px; line-height:1.35; margin:0; color:#57606a">Why larger embeddings
      barely help recommenders, and what does. An interactive book with runs you can repeat.</p>
  </div>
  <div style="width:640px; padding-right:40px">{drawing}</div>
</body>"""


def main() -> None:
    """Draw it."""
    drawing = (STATIC / "collapse.svg").read_text(encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_content(PAGE.format(drawing=drawing))
        page.screenshot(path=STATIC / "social.png")
        browser.close()


if __name__ == "__main__":
    main()
