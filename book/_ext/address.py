"""Sphinx extension: what follows from the public address, `repository` in _config.yml.

Without an address the book has no button that leads out of it. With one it gets the repository's
buttons, launch buttons for Binder, Colab and Kaggle, and the site's own address for social cards
(on GitHub Pages, unless `html: baseurl:` names another).
"""

from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.config import Config

LAUNCH = {
    "notebook_interface": "jupyterlab",
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
}
KAGGLE = "https://www.kaggle.com/kernels/welcome?src="


def pages_address(repository: str) -> str:
    """Where GitHub Pages serves that repository; empty where it doesn't."""
    parts = urlsplit(repository)
    owner, _, name = parts.path.strip("/").partition("/")
    if parts.netloc != "github.com" or not name or "/" in name:
        return ""
    root = f"https://{owner.lower()}.github.io/"
    return root if name.lower() == f"{owner.lower()}.github.io" else f"{root}{name}/"


def _turn_on(app: Sphinx, config: Config) -> None:
    """With an address: buttons, launch buttons, the address of the site."""
    repository = config.html_theme_options.get("repository_url", "").rstrip("/")
    if not repository:
        return
    config.html_theme_options |= {
        "repository_url": repository,
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": LAUNCH,
    }
    site = config.html_baseurl or pages_address(repository)
    config.ogp_site_url = site and f"{site.rstrip('/')}/"  # to which paths are joined


def _add_kaggle(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """One more launch button, which the theme does not know."""
    options = app.config.html_theme_options
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            branch = options.get("repository_branch") or "main"
            source = f"{options['repository_url']}/blob/{branch}/{pagename}.ipynb"
            group["buttons"].append(
                {
                    "type": "link",
                    "text": "Kaggle",
                    "tooltip": "Open on Kaggle",
                    "icon": "fab fa-kaggle",
                    "url": KAGGLE + source,
                }
            )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", _turn_on, priority=400)  # before the theme reads its options
    app.connect("html-page-context", _add_kaggle, priority=502)  # after the theme's own buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
