"""What a page holds of a figure that trains where no script runs, what it tells the script, and the
widget that it is in a notebook with a kernel."""

import json

import numpy as np
from test_explorers_live import WIDGET, Notebook, notebook  # noqa: F401

from embedding_collapse.book import explorers, joining
from embedding_collapse.book.explorers import bottleneck, collapse, sets, training
from embedding_collapse.decomposition import singular_values
from embedding_collapse.files import load_json
from embedding_collapse.lab.records import folder_of
from embedding_collapse.spectrum import information_abundance


def test_without_a_script_the_page_shows_how_both_runs_of_the_toy_end() -> None:
    html = training.page(collapse.FIGURE)
    tables, _ = collapse.trained()
    for start, end in zip(tables[:, 0], tables[:, -1], strict=True):
        for table in (start, end):
            assert f"<td>{information_abundance(singular_values(table)):.2f}</td>" in html
    assert f'alt="{collapse.FIGURE.alt}"' in html
    assert "http" not in html and html.count("src=") == 1
    assert len(html.encode()) < 50_000


def test_the_first_state_is_one_of_the_sliders_and_nothing_ends_their_element() -> None:
    for figure in explorers.TRAINING.values():
        held = json.loads(training.embedded(figure))
        assert "<" not in training.embedded(figure)
        options = {slider["name"]: slider["options"] for slider in held["sliders"]}
        assert options.keys() == held["start"].keys()
        assert all(value in options[name] for name, value in held["start"].items())


def test_without_a_script_the_page_shows_the_product() -> None:
    html = training.page(bottleneck.FIGURE)
    assert all(f"<td>{name}</td>" in html for name in bottleneck.NAMES)
    assert html.count("<td>3</td>") == 2 and html.count("<td>10</td>") == 1


def test_without_a_script_the_page_shows_what_the_record_of_the_sets_holds() -> None:
    held = load_json(folder_of(sets.FOLDER) / sets.NAME)
    assert held["setting"] == sets.SETTING | sets.START
    html = training.page(sets.FIGURE)
    for design in range(3):
        ends = [seed[design]["aucs"][-1] for seed in held["runs"]]
        assert f"<td>{np.mean(ends):.4f}</td>" in html
    for effect in held["effects"]:
        assert f"<td>{effect['verdict']}</td>" in html
    assert len(html.encode()) < 50_000


def test_a_kernel_sends_the_section_the_script_and_the_look(notebook: Notebook) -> None:  # noqa: F811
    notebook.run("from embedding_collapse.book import explorers; explorers.train('bottleneck')")
    assert set(notebook.bundle) == {WIDGET, "text/html", "text/plain"}
    state = notebook.widgets[notebook.bundle[WIDGET]["model_id"]]
    assert state["_model_module"] == "anywidget"
    assert state["page"] == training.page(bottleneck.FIGURE) == notebook.bundle["text/html"]
    assert state["_esm"] == joining.widget("bottleneck")
    assert state["_css"] == (joining.LIVE / "live.css").read_text()
