"""From notebooks that ran to pages: what is taken out, and which records come along."""

import json
from pathlib import Path

import nbformat
import outputs
import pytest
from nbformat import v4


def notebook(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(v4.new_notebook(cells=list(cells)), path)
    return path


def code(source: str, *tags: str, data: dict[str, str] | None = None) -> nbformat.NotebookNode:
    shown = [v4.new_output("display_data", data)] if data else []
    return v4.new_code_cell(source, metadata={"tags": list(tags)}, outputs=shown)


def test_a_page_holds_no_widget_and_none_of_papermills_cells(tmp_path):
    both = {outputs.WIDGET: {"model_id": "1"}, "text/html": "<b>here</b>"}
    path = notebook(
        tmp_path / "one.ipynb",
        code("a = 1", "parameters"),
        code("a = 2", "injected-parameters"),
        code("show()", data=both),
    )
    ran = nbformat.read(path, as_version=4)
    ran.metadata["widgets"] = {"state": {}}
    nbformat.write(ran, path)
    outputs.tidy(path)
    tidied = nbformat.read(path, as_version=4)
    assert [cell.source for cell in tidied.cells] == ["a = 1", "show()"]
    assert tidied.cells[1].outputs[0].data == {"text/html": "<b>here</b>"}
    assert "widgets" not in tidied.metadata


def test_a_stored_notebook_has_a_figures_data_on_one_line_and_loses_nothing():
    drawn = {"data": [{"y": [1, 2.5], "name": '}\n "} é'}], "layout": {}}
    figure = {outputs.FIGURE: drawn, "text/html": "<div></div>"}
    source = v4.new_notebook(cells=[code("one()", data=figure), code("two()", data=figure)])
    text = outputs.text(source)
    assert nbformat.reads(text, as_version=4) == nbformat.from_dict(source)
    lines = [line.strip(" ,") for line in text.splitlines() if "2.5" in line]
    assert [json.loads(f"{{{line}}}") for line in lines] == [{outputs.FIGURE: drawn}] * 2


def test_a_chapter_keeps_records_where_it_has_a_parameter_for_their_folder(tmp_path):
    yes = notebook(tmp_path / "yes.ipynb", code('output: str = ""', "parameters"))
    no = notebook(tmp_path / "no.ipynb", code('output: str = ""'), code("seeds = 3", "parameters"))
    assert outputs.keeps_records(yes)
    assert not outputs.keeps_records(no)


def test_cited_records_come_along_the_latest_first(tmp_path):
    page = {"text/html": '<a href="../records/aa11.json">0</a>, <a href="../records/bb22.json">'}
    notebook(tmp_path / "pages/notebooks/one.ipynb", code("show()", data=page))
    for name in ("old/grid/aa11", "old/grid/bb22", "old/grid/cc33", "old/study/bb22", "new/x/aa11"):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"about": 1} if "study" in name else {"epochs": [], "from": name[:3]}
        path.write_text(json.dumps(content))
    folders = [tmp_path / "old", tmp_path / "new"]
    outputs.copy_records(tmp_path / "pages", folders, tmp_path / "site")
    copied = {
        path.stem: json.loads(path.read_text())["from"] for path in (tmp_path / "site").iterdir()
    }
    assert copied == {"aa11": "new", "bb22": "old"}


def test_a_cited_record_that_is_nowhere_stops_the_build(tmp_path):
    page = {"text/html": '<a href="../records/aa11.json">0</a>'}
    notebook(tmp_path / "one.ipynb", code("show()", data=page))
    with pytest.raises(SystemExit, match="cite runs whose records are not in results: aa11"):
        outputs.copy_records(tmp_path, [], tmp_path / "site")
