import base64
import json
import re
import shutil
from collections.abc import Callable
from itertools import chain, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from elements import Elements
from harm import flip

from embedding_collapse.book import explorers
from embedding_collapse.book.explorers import display, projection, static, toy
from embedding_collapse.book.explorers.explorer import Explorer, packed, unpacked
from embedding_collapse.files import DamagedError
from embedding_collapse.lab.records import Record, folder_of
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import random_spectrum

NAMES = list(explorers.EXPLORERS)


@pytest.fixture(scope="module")
def made() -> dict[str, Explorer]:
    """Every explorer of the book, over the records of the repository."""
    return {name: make() for name, make in explorers.EXPLORERS.items()}


@pytest.fixture
def runs(make_record: Callable[..., Record]) -> list[Record]:
    """Two seeds of DCNv2 on two datasets, SE and ME at 1x and 4x."""
    return [
        make_record(design, scale, seed, dataset=dataset, abundance=[0.3, 0.5 + seed / 10, 0.4])
        for dataset in ("synthetic", "synthetic-mini")
        for design, scale in (("se", 1), ("se", 4), ("me", 4))
        for seed in range(2)
    ]


def turns(explorer: Explorer) -> list[tuple[str, object]]:
    """Every turn that each control allows from the start."""
    found = []
    for control in explorer.controls:
        values = (
            [True] if control.kind == "pin" else [v for v, _ in control.choices(explorer.start)]
        )
        found += [(control.name, value) for value in values]
    return found


def cell(view: explorers.explorer.View, row: str, column: int = 1) -> str:
    (line,) = [line for line in view.readout if line[0] == row]
    return line[column]


# --- every explorer -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_explorer_stays_under_300_kilobytes(made, name):
    assert len(display.page(made[name]).encode()) < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_every_control_has_a_view(made, name):
    explorer = made[name]
    for turned, value in turns(explorer):
        view = explorer.view(explorer.data, explorer.changed(explorer.start, turned, value))
        head, *body = view.readout
        assert body and all(len(row) == len(head) for row in body)
        assert explorer.figure(view).data  # plotly has checked it


@pytest.mark.parametrize("name", NAMES)
def test_no_control_turns_without_changing_what_is_shown(made, name):
    explorer = made[name]
    shown = explorer.view(explorer.data, explorer.start)
    for control in explorer.controls:
        if control.by and len(control.choices(explorer.start)) < 2:
            continue  # nothing to choose there
        others = [value for turned, value in turns(explorer) if turned == control.name]
        if control.kind != "pin":
            others = [value for value in others if value != explorer.start.get(control.name)]
        views = [
            explorer.view(explorer.data, explorer.changed(explorer.start, control.name, value))
            for value in others
        ]
        assert views and all(view != shown for view in views[-1:]), control.name


@pytest.mark.parametrize("name", NAMES)
def test_views_are_pure(made, name):
    explorer = made[name]
    before = json.dumps([explorer.data, explorer.start])
    one, other = (explorer.view(explorer.data, explorer.start) for _ in range(2))
    assert one == other
    assert json.dumps([explorer.data, explorer.start]) == before


@pytest.mark.parametrize("name", NAMES)
def test_there_are_three_to_five_steps_and_the_first_is_what_it_opens_on(made, name):
    explorer = made[name]
    assert 3 <= len(explorer.steps) <= 5
    assert explorer.at(0) == explorer.start


@pytest.mark.parametrize("name", NAMES)
def test_a_step_shows_what_a_reader_could_turn_to(made, name):
    """Each value of its state is an option of a control, and each step differs from the one
    before."""
    explorer = made[name]
    states = [explorer.at(number) for number in range(len(explorer.steps))]
    assert all(one != other for one, other in pairwise(states))
    for state in chain(states, (state["pinned"] for state in states if state.get("pinned"))):
        assert set(state) <= set(explorer.start)
        for control in explorer.controls:
            if control.kind in ("choice", "slider"):
                assert state[control.name] in dict(control.choices(state)), control.name


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_a_step_are_those_that_it_shows(made, name):
    """Or those of a step before it, which the words compare them with."""
    explorer, seen = made[name], ""
    for number, step in enumerate(explorer.steps):
        seen += str(explorer.view(explorer.data, explorer.at(number)).readout)
        told = re.findall(r"\d[\d,]*\.?\d*(?<=\d)", step.look)
        assert [value for value in told if not re.search(rf"(?<!\d){re.escape(value)}", seen)] == []


@pytest.mark.parametrize("name", NAMES)
def test_without_a_script_the_page_shows_the_first_state(made, name):
    explorer = made[name]
    shown = Elements(display.page(explorer))
    view = explorer.view(explorer.data, explorer.start)
    (image,) = [attributes for tag, attributes in shown.found if tag == "img"]
    assert image["alt"] == explorer.alt
    drawn = ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))
    assert len(list(drawn.iter())) > 10
    assert static.table(view.readout) in display.page(explorer)
    held = json.loads(shown.scripts[0])
    assert held["start"] == explorer.start
    assert held["data"] == json.loads(json.dumps(explorer.data))
    text = display.page(explorer)
    assert "http" not in text and text.count("src=") == 1


def test_names_with_markup_are_text_without_a_script(runs):
    for run in runs:
        run.dataset["fields"] = ["R&D <b>site</b>", "device", "user"]
    name = "R&amp;D &lt;b&gt;site&lt;/b&gt;"
    spectrum, pairs = (
        module.explorer(runs) for module in (explorers.spectrum, explorers.sub_embeddings)
    )
    assert f"DCNv2 base, {name}</span>" in static.key(
        spectrum.figure(spectrum.view(spectrum.data, spectrum.start | {"field": 0}))
    )
    heat = static.svg(pairs.figure(pairs.view(pairs.data, pairs.start)))
    assert heat.count(f">{name}</text>") == 2


def test_names_of_data_are_text_above_a_panel(runs):
    for run in runs:
        run.spec["dataset"] = "a<b>"
    explorer = explorers.scaling.explorer(runs)
    titles = explorer.figure(explorer.view(explorer.data, explorer.start)).layout.annotations
    assert "a&lt;b&gt;" in [title.text for title in titles]


def test_an_explorer_leads_to_the_records_of_the_runs_it_shows(runs):
    first = {f"../records/{run.key}.json" for run in runs if run.spec["seed"] == 0}
    every = {f"../records/{run.key}.json" for run in runs}
    made = {explorers.spectrum: first, explorers.sub_embeddings: first, explorers.scaling: every}
    for module, expected in made.items():
        page = Elements(display.page(module.explorer(runs)))
        links = {attributes["href"] for tag, attributes in page.found if tag == "a"}
        assert links == expected


def test_the_same_explorer_is_the_same_output_and_nothing_in_it_ends_its_element(runs):
    one, other = (display.page(explorers.spectrum.explorer(runs)) for _ in range(2))
    assert one == other
    assert Elements(one).scripts[0].count("<") == 0


# --- states ---------------------------------------------------------------------------------------


def test_a_control_follows_the_one_that_its_options_depend_on(make_record):
    sizes = (("se", 1), ("me", 4), ("me", 10))
    explorer = explorers.sub_embeddings.explorer([make_record(*size) for size in sizes])
    state = explorer.changed(explorer.start, "run", "ME 10x")
    state = explorer.changed(state, "set", 10)
    state = explorer.changed(state, "run", "ME 4x")
    assert state["set"] == 4
    assert explorer.changed(state, "run", "base")["set"] == 1


def test_a_pin_keeps_the_state_and_gives_it_back(made):
    explorer = made["spectrum"]
    pinned = explorer.changed(explorer.start, "pinned", True)
    assert pinned["pinned"] == {k: v for k, v in explorer.start.items() if k != "pinned"}
    assert explorer.changed(pinned, "pinned", False) == explorer.start | {"pinned": None}


def test_an_explorer_that_is_not_there_is_named():
    with pytest.raises(ParameterError, match="explorer 'nothing' is unknown; known: sizing"):
        explorers.show("nothing")


def test_packed_numbers_come_back_to_16_bits():
    numbers = np.random.default_rng(0).random((3, 4))
    assert unpacked(packed(numbers), 3, 4) == pytest.approx(numbers, abs=1 / 2**16)
    assert unpacked(packed(np.array([0, 1])), 2).tolist() == [0, 1]


# --- each explorer's numbers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "distortion", "least"), [(100_000, 0.5, "369"), (10**9, 0.1, "16,579")]
)
def test_sizing_is_the_bound_of_the_talk(made, features, distortion, least):
    view = made["sizing"].view(made["sizing"].data, {"D": features, "eps": distortion})
    assert view.readout[1][2] == least
    assert view.marks[-1]["y"] == [int(least.replace(",", ""))]


def test_spectrum_is_that_of_the_record(runs):
    explorer = explorers.spectrum.explorer(runs)
    state = explorer.start | {"run": "SE 4x", "field": 1}
    view = explorer.view(explorer.data, state)
    record = next(run for run in runs if run.label == "SE 4x")
    values = np.array(record.spectra[1][0])
    mark, random = view.marks
    assert mark["y"] == pytest.approx((values / values[0]).tolist(), abs=1e-4)
    assert mark["name"] == "DCNv2 SE 4x, device"
    assert cell(view, "IA") == f"{values.sum() / values[0]:.2f} of 16"
    assert cell(view, "IA / K") == f"{record.relative_abundance[1]:.3f}"
    against = float(record.abundance_against_random[1])
    assert float(cell(view, "IA against random")) == pytest.approx(against, abs=1e-3)
    expected = random_spectrum(3, 16)
    assert random["like"] == "random"
    assert random["y"] == pytest.approx((expected / expected[0]).tolist(), abs=1e-4)


def test_spectrum_of_me_is_read_in_two_ways(runs):
    explorer = explorers.spectrum.explorer(runs)
    sets = explorer.view(explorer.data, explorer.start | {"run": "ME 4x", "field": 0})
    joined = explorer.view(explorer.data, explorer.start | {"run": "ME 4x, joined", "field": 0})
    drawn = [[mark["like"] for mark in view.marks] for view in (sets, joined)]
    assert drawn == [["ME"] * 4 + ["random"], ["ME", "random"]]
    record = next(run for run in runs if run.label == "ME 4x")
    assert cell(sets, "IA / K") == f"{record.relative_abundance[0]:.3f}"
    assert cell(joined, "IA / K") == f"{record.joined_abundance[0]:.3f}"


def test_a_pinned_spectrum_stands_beside_the_other(runs):
    explorer = explorers.spectrum.explorer(runs)
    state = explorer.changed(explorer.start, "pinned", True)
    view = explorer.view(explorer.data, explorer.changed(state, "run", "SE 4x"))
    assert [mark["like"] for mark in view.marks] == ["SE", "random", "base pinned"]
    alone = explorer.view(explorer.data, explorer.start)
    assert [row[2] for row in view.readout] == [row[1] for row in alone.readout]


@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        ("Flat", ["8.00", "8.00", "8.00", "8", "8"]),
        ("One direction", ["1.00", "1.00", "1.00", "1", "1"]),
        ("One large", ["2.40", "6.14", "1.28", "5", "8"]),
    ],
)
def test_bending_counts_directions(made, shape, counts):
    explorer = made["bend"]
    (preset,) = [change for change, name in explorer.controls[0].options if name == shape]
    view = explorer.view(explorer.data, explorer.changed(explorer.start, "shape", preset))
    assert view.readout[1] == counts
    assert [f"{count:.2f}" for count in view.marks[1]["y"]] == counts[:3]


@pytest.mark.parametrize("sort", ["IA", "cardinality"])
def test_sub_embeddings_are_those_of_the_record_in_the_order_asked_for(runs, sort):
    for run in runs:  # tell the pairs apart: IA from 1 to 2.6
        for m, pairs in enumerate(run.projected_abundance):
            run.projected_abundance[m] = (
                np.array(pairs) - 1 + 0.2 * np.arange(9).reshape(3, 3)
            ).tolist()
    explorer = explorers.sub_embeddings.explorer(runs)
    state = explorer.start | {"run": "ME 4x", "set": 2, "sort": sort, "of": 2, "for": 0}
    view = explorer.view(explorer.data, state)
    record = next(run for run in runs if run.label == "ME 4x")
    order = {"IA": [0, 2, 1], "cardinality": [1, 2, 0]}[sort]
    names = [record.dataset["fields"][i] for i in order]
    pairs = np.array(record.projected_abundance[1]) / 4
    mark = view.marks[0]
    assert mark["x"] == mark["y"] == names
    assert np.array(mark["z"]) == pytest.approx(pairs[np.ix_(order, order)], abs=1e-4)
    means = (pairs[2].mean(), pairs[:, 0].mean())
    assert view.readout[1][2:] == [f"{value:.3f}" for value in (pairs[2, 0], *means)]
    text = mark["text"][names.index("site")][names.index("user")]
    assert text.startswith("of site (20 features, IA/K 0.4") and "for user (50 features" in text


def test_toy_is_its_record(made):
    explorer = made["toy"]
    held = json.loads((folder_of("results/toy") / "abundance.json").read_text())
    view = explorer.view(explorer.data, {"third": 5, "width": 20, "seed": 3})
    place = held["grid"]["third"].index(5), held["grid"]["widths"].index(20)
    expected = np.array(held["abundance"])[place[0], place[1], 3]
    most, chosen = view.marks
    assert chosen["x"] == held["steps"] == list(range(0, 5001, 100))
    assert chosen["y"] == pytest.approx(expected.tolist(), abs=1e-3)
    assert most["y"][0] == chosen["y"][0]  # both begin with the same table
    assert view.readout[2][0] == "D₃ = 5, K = 20, seed 3"


def test_a_damaged_record_of_the_toy_is_refused(monkeypatch, tmp_path):
    shutil.copy(folder_of("results/toy") / "abundance.json", tmp_path)
    monkeypatch.setattr(toy, "FOLDER", str(tmp_path))
    explorers.EXPLORERS["toy"]()
    flip(tmp_path / "abundance.json", 0.5)
    with pytest.raises(DamagedError, match=str(tmp_path / "abundance.json")):
        explorers.EXPLORERS["toy"]()


def test_the_record_of_the_toy_is_what_its_command_makes(monkeypatch, tmp_path):
    small = toy.GRID | {"third": [3, 100], "widths": [10], "seeds": [1], "iterations": 200}
    monkeypatch.setattr(toy, "GRID", small)
    made = json.loads(toy.record(str(tmp_path)).read_text())
    held = json.loads((folder_of("results/toy") / "abundance.json").read_text())
    expected = np.array(held["abundance"])[[2, 7]][:, [1]][:, :, [1], :3]
    assert np.array(made["abundance"]) == pytest.approx(expected, abs=2e-3)


def test_scaling_is_the_mean_over_seeds_and_the_papers_table(runs):
    explorer = explorers.scaling.explorer(runs)
    view = explorer.view(explorer.data, explorer.start)
    assert cell(view, "synthetic, SE", 1).startswith("0.70000 ± ")
    assert cell(view, "criteo, the paper, ME", 2) == "10x: 0.81385 ± 0.00012"
    rise = float(re.sub(" .*", "", cell(view, "criteo, the paper, ME", 2)[5:])) - float(
        cell(view, "criteo, the paper, ME", 1).split()[0]
    )
    assert cell(view, "criteo, the paper, ME", 3) == f"{rise:+.5f}"
    assert "%{x}x" not in explorer.styles["SE"]["hovertemplate"]  # the axis says "10x"


def test_spectra_are_of_the_sizes_that_every_model_has_on_every_dataset(runs, make_record):
    dnn = [make_record(model="dnn", dataset=name) for name in ("synthetic", "synthetic-mini")]
    for some, models, sizes in (
        (runs[:4] + runs[6:], ["dcnv2"], ["base", "SE 4x"]),
        ([*runs, *dnn, make_record("me", 4, model="dnn")], ["dnn", "dcnv2"], ["base"]),
    ):
        explorer = explorers.spectrum.explorer(some)
        offered = {control.name: control.options for control in explorer.controls}
        assert [model for model, _ in offered["model"]] == models
        assert [size for size, _ in offered["run"]] == sizes
        assert len(explorer.sources) == 2 * len(models) * len(sizes)
    with pytest.raises(ParameterError, match="have no design and scale in common on each of"):
        explorers.spectrum.explorer([*runs, dnn[0]])


def test_records_without_sub_embeddings_are_refused(runs):
    with pytest.raises(ParameterError, match="hold no sub-embeddings of 'dcnv2'"):
        explorers.sub_embeddings.explorer([run for run in runs if run.spec["model"] == "dnn"])


@pytest.mark.parametrize("table", projection.TABLES)
def test_what_a_projection_leaves_of_a_table(made, table):
    explorer = made["projection"]

    def abundance(**state):
        view = explorer.view(explorer.data, explorer.start | {"table": table} | state)
        return float(cell(view, "sub-embedding E Wᵀ")), float(cell(view, "table E"))

    for favours in projection.FAVOURS:
        kept, own = abundance(factor=1.0, favours=favours)
        assert kept == own  # orthogonal
        assert abundance(factor=0.0, favours=favours)[0] == 1  # one direction
    strong, random = (abundance(favours=favours)[0] for favours in ("strong", "random"))
    assert strong < random or table == "flat"


def test_a_projection_is_applied_as_to_a_table_of_that_spectrum():
    draw = torch.Generator().manual_seed(1)
    spectrum = torch.tensor(projection.TABLES["falling"], dtype=torch.float64)
    weights = 0.7 ** torch.arange(projection.WIDTH)
    rows = torch.randn(50, projection.WIDTH, dtype=torch.float64, generator=draw)
    left, right = (torch.linalg.qr(rows[:n]).Q for n in (50, projection.WIDTH))
    table = left * spectrum @ right.T
    for favours, order in (("strong", weights), ("weak", weights.flip(0))):
        sub = table @ (right * order @ right.T).T
        values = torch.linalg.svdvals(sub)
        found = projection.projected(spectrum, weights, favours)
        torch.testing.assert_close(found, values / values[0])
