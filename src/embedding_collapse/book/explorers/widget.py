"""A figure that trains in a notebook with a kernel: its script in an anywidget."""

import anywidget
import traitlets

from embedding_collapse.book.joining import LIVE
from embedding_collapse.book.joining import widget as script


class TrainingWidget(anywidget.AnyWidget):
    """A page's section, brought to life by the script of its figure.

    Attributes:
        page: the section as HTML.
    """

    _css = LIVE / "live.css"
    page = traitlets.Unicode().tag(sync=True)


def widget(name: str, page: str) -> TrainingWidget:
    """The figure of that name to display, whose page is given; training takes place in the browser,
    and the kernel is free."""
    return TrainingWidget(page=page, _esm=script(name))
