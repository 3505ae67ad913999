"""The report: what is printed, the JSON, the page, and what is refused."""

import json
import os
import re
from html.parser import HTMLParser
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from safetensors.torch import save_file
from torch import nn

from embedding_collapse.cli import main
from embedding_collapse.decomposition import singular_values, spectra
from embedding_collapse.inspection import command, report
from embedding_collapse.inspection.markdown import markdown
from embedding_collapse.inspection.page import html
from embedding_collapse.lab import experiment, records
from embedding_collapse.lab.data import DataSpec
from embedding_collapse.lab.spec import Spec
from embedding_collapse.multi_embedding import MultiEmbedding
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import normalised_abundance, random_spectrum

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
BOTH = ["--output=report.html", "--output=found.json"]
NASTY = 'emb.<script>alert(\'"&")</script> 表 \x1b[31m\u202e'


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def plain(tmp_path, monkeypatch) -> Path:
    """What `torch.save(nn.Embedding(...).state_dict())` leaves, in the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(nn.Embedding(200, 16).state_dict(), "plain.pt")
    return tmp_path / "plain.pt"


# --- the command ----------------------------------------------------------------------------------


def test_a_report_that_nobody_asked_for_takes_no_files_place(plain, capsys, monkeypatch):
    Path("report.html").write_text("mine")
    assert main(["inspect", "plain.pt"]) == 0
    said = capsys.readouterr().out
    assert "not collapsed" in said
    assert "note: no report: report.html is there already, and another's; --output" in said
    assert Path("report.html").read_text() == "mine"
    Path("report.html").unlink()
    os.mkfifo("report.html")
    assert main(["inspect", "plain.pt"]) == 0
    assert "report.html is there already" in capsys.readouterr().out
    Path("report.html").unlink()
    for _ in range(2):  # its own it writes anew
        assert main(["inspect", "plain.pt"]) == 0
        assert capsys.readouterr().out.endswith("report: report.html\n")

    def refuse(name: str, folder: Path) -> None:
        raise ParameterError(f"{name} is '{folder}'; a folder that can be written to is needed")

    monkeypatch.setattr(command, "check_writable", refuse)
    assert main(["inspect", "plain.pt"]) == 0
    assert "a folder that can be written to is needed; --output names another place" in (
        capsys.readouterr().out
    )


def test_inspect_is_a_command_that_prints_the_table_and_writes_report_and_json(plain, capsys):
    assert main(["inspect", "plain.pt", "--output=report.html", "--output=found.json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    sigma = singular_values(torch.load(plain, weights_only=True)["weight"])
    relative, against = normalised_abundance(sigma).item(), normalised_abundance(sigma, 200).item()
    row = said.out.splitlines()[1].split()
    assert row[:3] == ["weight", "200", "16"]
    assert row[4:6] == [f"{relative:.3f}", f"{against:.3f}"]
    assert " ".join(row).endswith("not collapsed file of one (guess)")
    assert said.out.endswith("report: report.html\nreport: found.json\n")
    assert f"{against:.3f}" in Path("report.html").read_text()
    (table,) = json.loads(Path("found.json").read_text())["tables"]
    assert table["measures"]["against_random"] == pytest.approx(against)
    assert table["spectra"][0] == pytest.approx(sigma.tolist(), rel=1e-5)
    assert table["random"] == pytest.approx(random_spectrum(200, 16).tolist(), rel=1e-5)
    assert table["verdict"] == "not collapsed" and "just been drawn" in table["advice"]


def test_a_run_of_this_library_is_cut_into_its_fields_and_sets(tmp_path, capsys):
    spec = Spec(
        DataSpec("synthetic-mini", 1500),
        design="me",
        scale=2,
        embedding_size=4,
        hidden=8,
        epochs=1,
        batch_size=400,
    )
    record = experiment.run(spec, output=tmp_path, device="cpu", progress=False)
    found = report.inspect(tmp_path / f"{record.key}.safetensors")
    assert [one.name for one in found.tables] == record.dataset["fields"]
    assert [one.rows for one in found.tables] == record.dataset["cardinalities"]
    for one, relative, joined in zip(
        found.tables, record.relative_abundance, record.joined_abundance, strict=True
    ):
        assert (one.sets, one.width) == (2, 4)
        assert one.measures["relative_abundance"] == pytest.approx(relative.item(), rel=1e-4)
        assert one.joined["relative_abundance"] == pytest.approx(joined.item(), rel=1e-4)
    (head,) = report.inspect(
        tmp_path / f"{record.key}.safetensors", include="head.hidden.linear.weight"
    ).tables  # of which the record's fields say nothing
    assert head.width == head.rows == 8
    (records.path_of(tmp_path, record.key)).unlink()  # without its record it is one joint table
    (alone,) = report.inspect(tmp_path / f"{record.key}.safetensors").tables
    assert (alone.name, alone.rows, alone.sets) == (
        "table",
        sum(record.dataset["cardinalities"]),
        2,
    )


def test_a_multi_embedding_of_ones_own_has_its_sets_in_the_report(tmp_path):
    model = MultiEmbedding(lambda: (nn.Embedding(300, 8), nn.Linear(8, 8)), 3, seed=0)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    (one,) = report.inspect(tmp_path / "model.pt").tables
    assert (one.name, one.rows, one.sets, one.width) == ("stacked.embedding.weight", 300, 3, 8)
    text = Page(html(report.inspect(tmp_path / "model.pt"))).text
    assert "set 3" in text and "sets joined" in text


def test_field_dims_sets_patterns_and_weights_reach_the_tables(plain, capsys):
    np.save("counts.npy", np.arange(200))
    Path("dims.json").write_text(json.dumps({"user": 150, "item": 50}))
    command = [
        "inspect",
        "plain.pt",
        "--field-dims=dims.json",
        "--sets=2",
        "--rows-weight=counts.npy",
        *BOTH,
    ]
    assert main(command) == 0
    user, item = json.loads(Path("found.json").read_text())["tables"]
    assert (user["name"], user["rows"], item["rows"], user["sets"], user["width"]) == (
        "user",
        150,
        50,
        2,
        8,
    )
    weight = torch.load(plain, weights_only=True)["weight"]
    ours = spectra(weight[150:, :8], torch.arange(150, 200)).centred
    theirs = spectra(weight[150:, 8:], torch.arange(150, 200)).centred
    expected = (normalised_abundance(ours) + normalised_abundance(theirs)).item() / 2
    assert item["weighted"]["relative_abundance"] == pytest.approx(expected)
    assert "IA/random, weighted" in capsys.readouterr().out
    assert "rows weighted (as" in Path("report.html").read_text()


def test_weights_by_name_and_weights_that_fit_no_table(plain):
    torch.save({"a.emb": normal(30, 4), "b.emb": normal(30, 4)}, "two.pt")
    np.savez("counts.npz", **{"b.emb": np.arange(30)})
    first, second = report.inspect("two.pt", row_weights="counts.npz").tables
    assert first.weighted is None and second.weighted is not None
    np.save("counts.npy", np.arange(7))
    with pytest.raises(ParameterError, match=r"weighs no table \(counts \[7\]\).*30 for a.emb"):
        report.inspect("two.pt", row_weights="counts.npy")


def test_a_pattern_alone_is_one_pattern(plain):
    torch.save({"user": normal(300, 8), "item_a": normal(300, 8), "it": normal(300, 8)}, "three.pt")
    for options in ({"include": "item*"}, {"exclude": "it"}):
        names = [one.name for one in report.inspect("three.pt", **options).tables]
        assert names == (["item_a"] if "include" in options else ["user", "item_a"])
    assert report.inspect("three.pt", include="item*").asked == {"--tables": "item*"}


def test_a_module_or_its_tensors_are_inspected_as_their_file_is():
    model = nn.ModuleDict({"user_emb": nn.Embedding(300, 8), "fc": nn.Linear(20, 10)})
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    expected = report.inspect(model).tables[0].measures
    for given in (model.state_dict(), {"epoch": 3, "state_dict": model.state_dict()}, arrays):
        (one,) = report.inspect(given).tables
        assert one.name.endswith("user_emb.weight") and one.measures == expected
    small = nn.ModuleDict({"hour": nn.Embedding(24, 8), "fc": nn.Linear(8, 8, bias=False)})
    assert [(one.name, one.known_by) for one in report.inspect(small).tables] == [
        ("hour.weight", "Embedding")  # no name tells it, but its class
    ]
    sparse = report.inspect({"emb": normal(50, 8).to_sparse()}).tables[0]
    assert sparse.note.startswith("its entries cannot be read: it is sparse")
    for given, kind in ((normal(5, 2), "Tensor"), (7, "int")):
        with pytest.raises(ParameterError, match=f"checkpoint is {kind}; a path, a module and"):
            report.inspect(given)


def test_any_mapping_of_tensors_is_looked_into(plain):
    np.savez("two.npz", user_emb=normal(30, 4), item_emb=normal(40, 4))
    with np.load("two.npz") as archive:
        for given in (archive, MappingProxyType(dict(archive))):
            assert [one.name for one in report.inspect(given).tables] == ["user_emb", "item_emb"]


def test_field_dims_and_weights_may_be_numbers(plain):
    expected = report.inspect("plain.pt", field_dims={"field 0": 150, "field 1": 50}).to_json()
    for dims in ([150, 50], "150,50", np.array([150, 50])):
        assert report.inspect("plain.pt", field_dims=dims).to_json() == expected
    with pytest.raises(ParameterError, match="field dims are 200; numbers, by field or in a list"):
        report.inspect("plain.pt", field_dims=200)
    np.save("counts.npy", np.arange(200))
    stored = report.inspect("plain.pt", row_weights="counts.npy").tables[0].weighted
    for counts in (np.arange(200), torch.arange(200), {"weight": np.arange(200)}):
        assert report.inspect("plain.pt", row_weights=counts).tables[0].weighted == stored
    with pytest.raises(ParameterError, match="row_weights is list; a torch tensor or a numpy arr"):
        report.inspect("plain.pt", row_weights=[1.0] * 200)


def test_two_checkpoints_stand_side_by_side(plain, capsys):
    torch.save({"emb": normal(200, 16)}, "one.pt")
    torch.save({"emb": normal(200, 2) @ normal(2, 16), "new.emb": normal(50, 8)}, "other.pt")
    assert (
        main(
            [
                "inspect",
                "one.pt",
                "other.pt",
                "--output=report.html",
                "--output=found.json",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "A: one.pt" in printed and "B: other.pt" in printed
    lines = {line.split()[0]: line for line in printed.split("B - A")[1].splitlines() if line}
    assert re.search(r"-0\.\d{3}\s+not collapsed\s+collapsed$", lines["emb"])
    assert re.search(r"-\s+-\s+not collapsed$", lines["new.emb"])
    content = json.loads(Path("found.json").read_text())
    assert [one["name"] for one in content["compared_with"]["tables"]] == ["emb", "new.emb"]
    page = Page(Path("report.html").read_text())
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert (
        sum(attrs.get("class") == "measured b" and tag == "polyline" for tag, attrs in page.tags)
        == 1
    )
    assert "Side by side" in page.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.pt"], "there is no file 'nowhere.pt'"),
        (["plain.pt", "--include=x"], "plain.pt: nothing here matches x; it holds weight"),
        (["plain.pt", "--field-dims=1,2"], "the field dims add up to 3 rows; weight has 200"),
        (["plain.pt", "--field-dims=0,200"], "field dims, field 0: is 0; whole numbers from 1 up"),
        (["plain.pt", "--sets=3"], "sets is 3; 16 columns cannot be cut into that many"),
        (["plain.pt", "--rows-weight=nowhere.npy"], "there is no file 'nowhere.npy'"),
        (["plain.pt", "nowhere.pt"], "there is no file 'nowhere.pt'"),
        ([], "0 checkpoints are given; one, two to compare, or --follow FOLDER alone is accepted"),
        (["plain.pt"] * 3, "3 checkpoints are given; one, two to compare, or --follow FOLDER"),
        (["plain.pt", "--follow=."], "1 checkpoints are given beside --follow; one, two to comp"),
        (["--follow=plain.pt"], "follow is 'plain.pt'; a folder of checkpoints is needed"),
        (["--follow=."], "follow is '.'; two checkpoints or more with a number in their names"),
        (["plain.pt", "--output=plain.pt"], "plain.pt is the checkpoint; the report needs another"),
        (["plain.pt", "--output=/proc/no/x.html"], "the report's folder is '/proc/no'; a"),
        (["plain.pt", "--output=.."], ".. is a folder; the report needs the name of a file"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(plain, capsys, options, message):
    before = plain.read_bytes()
    assert main(["inspect", *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1
    assert plain.read_bytes() == before


def test_tables_that_cannot_be_measured_are_noted_rows(plain, capsys):
    tensors = {
        "good.emb": normal(50, 8),
        "nan.emb": torch.full((5, 8), torch.nan),
        "empty.emb": torch.empty(0, 8),
        "one.emb": normal(1, 8),
        "half.emb": normal(50, 8).half(),
        "brain.emb": normal(50, 8).bfloat16(),
        "int8.emb": torch.ones(50, 8, dtype=torch.int8),
    }
    save_file(tensors, "mixed.safetensors")
    assert main(["inspect", "mixed.safetensors", *BOTH]) == 0
    printed = capsys.readouterr().out
    assert "3 not measured, 3 not collapsed, 1 too small to tell. The first" in printed
    assert "note: nan.emb: the table holds 40 entries that are NaN or infinite" in printed
    assert "note: empty.emb: the table is empty (0 x 8)" in printed
    assert "note: int8.emb: whole numbers (int8)" in printed
    assert "note: half.emb: float16" in printed and "note: brain.emb: bfloat16" in printed
    json.loads(Path("found.json").read_text(), parse_constant=pytest.fail)


def test_a_table_that_was_not_measured_is_in_the_headline_and_comes_before_healthy_ones(tmp_path):
    tensors = {"good.emb": normal(50, 8), "nan.emb": torch.full((50, 8), torch.nan)}
    save_file(tensors, tmp_path / "m.safetensors")
    found = report.inspect(tmp_path / "m.safetensors")
    assert found.headline == "2 tables, none of them collapsed, 1 not measured"
    assert [one.name for one in found.worst_first] == ["nan.emb", "good.emb"]
    assert [one.name for one in found.findings] == ["good.emb"]  # what is wrong, the note says


def low(rank: int) -> torch.Tensor:
    return normal(500, rank) @ normal(rank, 32)


def test_of_tables_with_one_verdict_the_one_furthest_below_random_comes_first():
    found = report.inspect({"a.emb": low(4), "b.emb": low(1), "c.emb": low(2)})
    assert {table.verdict for table in found.tables} == {"collapsed"}
    assert [table.name for table in found.worst_first] == ["b.emb", "c.emb", "a.emb"]
    assert "The first to look at: b.emb, collapsed" in found.summary


def test_findings_beyond_the_tenth_are_counted():
    ten, more = (str(report.inspect({f"{n}.emb": low(1) for n in range(k)})) for k in (10, 11))
    assert "which the report has" not in ten and "and 1 more, which the report has" in more


def test_directions_that_are_a_mean_over_sets_keep_a_digit():
    assert report.number({"directions_90": 2.5}, "directions_90") == "2.5"


def test_nothing_is_left_out_without_a_word(tmp_path, capsys):
    model = nn.ModuleDict({"user_emb": nn.Embedding(300, 8), "fc": nn.Linear(20, 10)})
    model["blocks"] = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(12))
    torch.save({"item": normal(9, 32), **model.state_dict()}, tmp_path / "model.pt")
    outputs = [f"--output={tmp_path / 'r.html'}", f"--output={tmp_path / 'r.json'}"]
    assert main(["inspect", str(tmp_path / "model.pt"), *outputs]) == 0
    printed = capsys.readouterr().out
    assert "1 taken" in json.loads((tmp_path / "r.json").read_text())["notes"][1]
    for line in (
        "it is the only table; if it joins several fields, --field-dims cuts it",
        "1 taken for tables by a guess; --exclude PATTERN leaves out",
        "not measured, a dense layer: its bias is beside it: fc.weight 10 x 20",
        "not measured, neither name nor shape tells a table: item 9 x 32, "
        "12 times blocks.*.weight 8 x 8",
        "--tables PATTERN measures what it names",
    ):
        assert f"note: {line}\n" in printed
        assert line in Page((tmp_path / "r.html").read_text()).text
    content = json.loads((tmp_path / "r.json").read_text())
    named = {one["name"] for part in ("tables", "not measured") for one in content[part]}
    assert named == {"item", *(n for n, t in model.state_dict().items() if t.ndim == 2)}
    assert main(["inspect", str(tmp_path / "model.pt"), "--tables=item", *outputs]) == 0
    assert "item      9  32" in capsys.readouterr().out


def collapsed_and_not(folder: Path, number: int = 1) -> Path:
    tensors = {f"emb.{n}": normal(100, 16) for n in range(number)}
    save_file(tensors | {"low|emb": normal(100, 1) @ normal(1, 16)}, folder / "m.safetensors")
    return folder / "m.safetensors"


def test_fail_if_ends_with_its_own_exit_code_where_a_table_has_the_verdict(tmp_path, capsys):
    command = ["inspect", str(collapsed_and_not(tmp_path)), "--json"]
    assert main([*command, "--fail-if=collapsed"]) == 3
    assert main([*command, "--fail-if=partly", "--fail-if=offset"]) == 0
    assert main([*command, "--exclude=low*", "--fail-if=collapsed"]) == 0
    save_file({"good.emb": normal(100, 16)}, tmp_path / "good.safetensors")
    both = [str(tmp_path / "good.safetensors"), command[1]]
    assert main(["inspect", *both, "--json", "--fail-if=collapsed"]) == 3  # of the second one
    assert main(["inspect", *reversed(both), "--json", "--fail-if=collapsed"]) == 0
    with pytest.raises(SystemExit) as caught:
        main([*command, "--fail-if=bad"])
    assert caught.value.code == 2 and "choose from" in capsys.readouterr().err


def test_json_is_printed_alone_and_no_report_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = collapsed_and_not(tmp_path)
    assert main(["inspect", str(path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content.pop("command") == "inspect"
    assert content == json.loads(json.dumps(report.inspect(path).to_json()))
    assert content["headline"] == "1 of 2 tables has collapsed"
    assert content["versions"]["torch"] == version("torch")  # without how it was built
    assert list(tmp_path.iterdir()) == [path]


def test_markdown_begins_with_the_verdict_and_keeps_names_in_their_cells(tmp_path, capsys):
    output = tmp_path / "report.md"
    assert main(["inspect", str(collapsed_and_not(tmp_path)), f"--output={output}"]) == 0
    lines = output.read_text().splitlines()
    assert lines[0] == "# 1 of 2 tables has collapsed"
    assert "- `low|emb`: **collapsed**. IA/random 0.0" in "\n".join(lines)
    (head, rule, low, good) = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in (head, rule, low, good)}) == 1
    assert low.startswith(r"| `low\|emb` | 100 |")
    assert any(line.startswith("Measured with embedding-collapse ") for line in lines)


@pytest.mark.parametrize(
    "name", ["emb.<script>x</script>", "emb.[a](https://x.org)", "emb.`b`|*c*"]
)
def test_names_are_text_wherever_the_markdown_has_them(name, tmp_path):
    """In the line that says which is worst, in the findings, the table and the notes."""
    torch.save({name: normal(400, 2) @ normal(2, 16), "emb.b": normal(90, 4)}, tmp_path / "m.pt")
    text = markdown(report.inspect(tmp_path / "m.pt"))
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert {tag for tag, _ in Page(page).tags}.isdisjoint({"script", "a", "em"})
    assert Page(page).text.count(name) == 3


def test_a_report_of_two_hundred_tables_is_under_a_megabyte_and_begins_with_the_worst(tmp_path):
    tensors = {
        f"a_rather_long_name.embedding_bags.feature_{n}.weight": normal(70 + n % 3, 64)
        for n in range(199)
    }
    tensors["low.emb"] = normal(70, 2) @ normal(2, 64)
    save_file(tensors, tmp_path / "m.safetensors")
    page = html(report.inspect(tmp_path / "m.safetensors"))
    assert len(page.encode()) < 1_000_000
    text = Page(page).text
    assert text.index("1 of 200 tables has collapsed") < text.index("The first to look at")
    first = text[text.index("The first to look at") : text.index("All tables")]
    assert first.count("rows, K") == 3 and first.index("low.emb") < first.index("a_rather")
    assert "MultiEmbedding" in first and "IA/random 0.0" in first


# --- real ones --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "include", "tables"),
    [
        ("fuxictr.model", [], {"user": 300, "item": 120, "device": 5}),
        ("deepctr_torch.h5", [], {"user": 300, "item": 120, "device": 5}),
        ("embedding_bag.pt", ["model.0.*"], {"model.0.weight": 300}),
        ("keras.npz", [], {"embedding/embeddings": 300}),
        ("keras.keras", [], {"layers/embedding": 300}),
        ("keras.weights.h5", [], {"layers/embedding": 300}),
    ],
)
def test_checkpoints_of_other_libraries_are_inspected(name, include, tables):
    found = report.inspect(CHECKPOINTS / name, include=include)
    assert [(one.rows, one.width) for one in found.tables] == [(n, 8) for n in tables.values()]
    for one, part in zip(found.tables, tables, strict=True):
        assert part in one.name
        assert one.measures["abundance"] > 1
    if name == "deepctr_torch.h5":
        assert any("one column has nothing to measure" in note for note in found.notes)


def test_a_language_models_token_table_has_the_abundance_that_others_found():
    weights = Path(find_spec("wordllama").origin).parent / "weights"
    (one,) = report.inspect(weights / "l2_supercat_256.safetensors").tables
    assert (one.rows, one.width) == (32_000, 256)
    assert one.measures["abundance"] == pytest.approx(110.66, abs=0.01)


# --- the page -------------------------------------------------------------------------------------


def test_names_are_text_in_page_and_terminal(tmp_path, capsys):
    save_file({NASTY: normal(60, 8)}, tmp_path / "a.safetensors")
    output = tmp_path / "<b>.html"
    assert main(["inspect", str(tmp_path / "a.safetensors"), f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    shown = 'emb.<script>alert(\'"&")</script> 表 \\x1b[31m\\u202e'
    assert shown in printed and "\x1b" not in printed and "\u202e" not in printed
    page = Page(output.read_text(encoding="utf-8"))
    assert page.text.count(shown) == 2
    assert "script" not in {tag for tag, _ in page.tags}
    (figure,) = (attrs for tag, attrs in page.tags if tag == "svg")
    assert shown in figure["aria-label"]


def test_the_page_asks_for_nothing_and_runs_nothing(plain):
    page = html(report.inspect(plain))
    assert not re.search(r"https?:|src=|url\(|@import|<script|\son\w+=", page)
    links = [attrs["href"] for tag, attrs in Page(page).tags if tag == "link"]
    assert links == ["data:,"]


def test_the_page_draws_every_set_and_a_random_table(tmp_path):
    torch.save({"emb": normal(3, 400, 300)}, tmp_path / "model.pt")
    page = Page(html(report.inspect(tmp_path / "model.pt")))
    lines = [attrs for tag, attrs in page.tags if tag == "polyline"]
    assert [line["class"] for line in lines] == ["random a"] + ["measured a"] * 3
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line["points"].split()]
        assert 100 <= len(points) <= 130  # a long spectrum is thinned
        assert points[0][1] == 28 and points[-1][0] == 350  # from sigma_1 to the last direction


def test_what_lies_beside_a_file_or_could_be_stacked_is_told_where_it_has_no_table(tmp_path):
    path = tmp_path / "w2v.model"
    torch.save({f"id{number}": normal(16) for number in range(200)}, path)
    with pytest.raises(
        ParameterError, match="200 of them of 16 numbers: stacked, they would be a t"
    ):
        report.inspect(path)
    np.save(tmp_path / "w2v.model.wv.vectors.npy", normal(300, 16).numpy())
    with pytest.raises(ParameterError, match=r"beside it lies w2v\.model\.wv\.vectors\.npy$"):
        report.inspect(path)


def test_one_tensor_left_out_has_its_own_name_and_several_alike_share_one(tmp_path):
    save_file(
        {"0": normal(900, 4), "1": normal(9, 4), "a.1": normal(9, 4), "a.2": normal(9, 4)},
        tmp_path / "a.safetensors",
    )
    (note,) = [one for one in report.inspect(tmp_path / "a.safetensors").notes if "tells" in one]
    assert note.endswith("tells a table: 1 9 x 4, 2 times a.* 9 x 4")
