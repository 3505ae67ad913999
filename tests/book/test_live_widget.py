"""In a notebook with a kernel a figure that trains is a widget whose script is the page's."""

from test_explorers_live import WIDGET, Notebook, notebook  # noqa: F401

from embedding_collapse.book import joining
from embedding_collapse.book.explorers import bottleneck, training


def test_a_kernel_sends_the_section_the_script_and_the_look(notebook: Notebook) -> None:  # noqa: F811
    notebook.run("from embedding_collapse.book import explorers; explorers.train('bottleneck')")
    assert set(notebook.bundle) == {WIDGET, "text/html", "text/plain"}
    state = notebook.widgets[notebook.bundle[WIDGET]["model_id"]]
    assert state["_model_module"] == "anywidget"
    assert state["page"] == training.page(bottleneck.FIGURE) == notebook.bundle["text/html"]
    assert state["_esm"] == joining.widget("bottleneck")
    assert state["_css"] == (joining.LIVE / "live.css").read_text()
