"""Parameters that cannot be stop a chapter before its work begins, and are told in one line."""

import chapters
import nbformat
import pytest

pytestmark = pytest.mark.slow

SCALE = "scale is 'abc'; whole numbers from 2 up are accepted"


@pytest.mark.parametrize(
    ("chapter", "name", "value", "message"),
    [
        ("01_jl_sizing", "distortions", "2", "distortions is '2'; numbers above 0 and below 1"),
        ("01_jl_sizing", "points", 1, "points is 1; whole numbers from 10 up are accepted"),
        ("02_information_abundance", "scale", 3, "scale 3 is unknown; known: 4, 10"),
        ("02_information_abundance", "language_model", "a b", "language_model is 'a b'; wordllama"),
        ("03_interaction_collapse", "thirds", "3,x", "thirds is '3,x'; whole numbers separated by"),
        ("03_interaction_collapse", "loss", "hinge", "loss 'hinge' is unknown; known: logistic, "),
        ("04_suppressing_interaction", "folder", "nowhere", "there is no folder 'nowhere'"),
        ("05_multi_embedding", "scale", "abc", SCALE),
        ("05_multi_embedding", "scale", 0, "scale is 0; whole numbers from 2 up are accepted"),
        ("05_multi_embedding", "model", "foo", "model 'foo' is unknown; known: dnn, ipnn, nfwfm, "),
        ("05_multi_embedding", "dataset", "foo", "dataset 'foo' is unknown; known: synthetic, "),
        ("05_multi_embedding", "device", "abacus", "device 'abacus' cannot be used here"),
        ("05_multi_embedding", "weights", "no", "weights is 'no'; true or false is accepted"),
        ("06_how_it_works", "folder", "nowhere", "there is no folder 'nowhere'"),
        ("07_results", "folders", "nowhere", "there is no folder 'nowhere'"),
        ("robustness", "folders", "nowhere", "there is no folder 'nowhere'"),
        ("08_your_embeddings", "checkpoint", "nowhere.pt", "there is no file 'nowhere.pt'"),
        ("08_your_embeddings", "include", "user*", "include given without a checkpoint, for which"),
        ("08_your_embeddings", "row_weights", "n.npy", "row_weights given without a checkpoint"),
        ("08_your_embeddings", "rows", 10, "rows is 10; whole numbers from 1000 up"),
        ("08_your_embeddings", "seeds", 1, "seeds is 1; whole numbers from 2 up"),
        ("cost", "block", 0, "block is 0; whole numbers from 1 up are accepted"),
    ],
)
def test_a_parameter_that_cannot_be_stops_the_chapter(
    kernel, tmp_path, chapter, name, value, message
):
    page = kernel.run(tmp_path, chapter, **{name: value})
    told = chapters.error(page)
    kind, _, reason = told.partition(": ")
    assert kind in ("ParameterError", "UnreadableError") and "\n" not in told
    assert reason.startswith(message)
    ran = [cell.source for cell in page.cells if cell.get("execution_count")]
    work = ("figures.show(", "plots.show(", "experiment.run", "chapter.train")
    assert not any(part in source for source in ran for part in work)
    assert list(tmp_path.iterdir()) == []


def test_papermill_fails_and_says_so_in_one_line(tmp_path):
    done = chapters.papermill(tmp_path, "05_multi_embedding", scale="abc")
    assert done.returncode != 0
    *before, last = done.stderr.rstrip().splitlines()
    assert last == f"ParameterError: {SCALE}"
    assert not any(line.startswith("Traceback") for line in before[-3:])
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert not any("chapter.train" in c.source and c.get("outputs") for c in page.cells)
