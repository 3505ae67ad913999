"""Sphinx extension: what the reference of the library leaves out."""

from sphinx.application import Sphinx


def _skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """A field of a named tuple says no more than its number; its class tells what it is."""
    return skip or str(getattr(obj, "__doc__", "")).startswith("Alias for field number")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
