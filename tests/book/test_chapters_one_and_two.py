"""Chapters 1 and 2 under real papermill, with parameters that are not the default."""

import nbformat
import pytest
import torch
from chapters import papermill, shown
from scipy.optimize import brentq

from embedding_collapse.book.findings import yardsticks
from embedding_collapse.lab import records
from embedding_collapse.spectrum import effective_rank, information_abundance


def test_chapter_1_runs_at_another_size(tmp_path):
    done = papermill(
        tmp_path, "points", "50", "trials", "20", "trial_points", "10", "draws", "2",
        "distortions", "0.4,0.2", chapter="01_jl_sizing",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "In 40 draws at the rule's K" in shown(page, "violations_told")
    assert "ε = 0.4" in shown(page, "sizing.least(np.logspace(2")


def test_chapter_2_says_what_the_records_of_another_model_say(tmp_path):
    done = papermill(
        tmp_path, "model", "dnn", "scale", "4", "dataset", "flights",
        chapter="02_information_abundance",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    stored = records.load_all(records.folder_of("results/grid"))
    runs = yardsticks.chosen(stored, "dnn", 4, "flights")
    runs = [run for run in runs if run.spec["dataset"] == "flights"]
    said = yardsticks.agreement(yardsticks.compare(runs, "SE 4x"), "SE 4x")
    (cell,) = (c for c in page.cells if "yardsticks.agreement" in c.source)
    assert said in [output.data.get("text/markdown") for output in cell.outputs]


def test_the_answer_on_the_smallest_information_abundance_is_true():
    """Chapter 2, exercise 1: of one strong direction over a flat floor, with its numbers."""

    def smallest(rank: float, width: int) -> float:
        def spectrum(floor: float) -> torch.Tensor:
            return torch.tensor([1.0] + [floor] * (width - 1), dtype=torch.float64)

        floor = brentq(lambda floor: effective_rank(spectrum(floor)).item() - rank, 0, 1)
        return information_abundance(spectrum(floor)).item()

    found = [smallest(10, width) for width in (100, 1_000, 1_000_000)]
    assert [f"{each:.1f}" for each in found] == ["1.6", "1.3", "1.2"]
    assert 6 < smallest(500, 1_000) < 6.1
    # no other spectrum of that effective rank has less
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = torch.rand(100, generator=generator, dtype=torch.float64) ** 4
        least = smallest(effective_rank(other).item(), 100)
        assert information_abundance(other).item() >= least


@pytest.mark.parametrize(
    ("chapter", "name", "value", "message"),
    [
        ("01_jl_sizing", "distortions", "2", "distortions is 2; numbers above 0 and below 1"),
        ("01_jl_sizing", "points", "1", "points is 1; whole numbers from 10 up are accepted"),
        ("02_information_abundance", "scale", "3", "scale 3 is unknown; known: 4, 10"),
        ("02_information_abundance", "language_model", "a b", "language_model is 'a b'; wordllama"),
    ],
)
def test_a_parameter_that_cannot_be_is_told_in_a_line(tmp_path, chapter, name, value, message):
    done = papermill(tmp_path, name, value, chapter=chapter)
    assert done.returncode != 0
    assert f"ParameterError: {message}" in done.stderr
