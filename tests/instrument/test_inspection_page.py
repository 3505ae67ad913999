"""Names in the report are text, however long, odd or alike; where it goes stays what it is."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_inspection_report import Page, normal

from embedding_collapse.cli import main
from embedding_collapse.files import store_json
from embedding_collapse.inspection import report
from embedding_collapse.inspection.comparison import comparison
from embedding_collapse.inspection.page import html

MARKUP = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&lt;b'`", "``x``](y)"]
ODD = ["two\nlines", "\x1b[31mred", "../../etc/passwd", "\u202eltr", "", "\udc80"]
LONG = "n" * 10_000


@pytest.fixture
def odd_names(tmp_path) -> Path:
    """A checkpoint whose tables have such names, in a folder to work in."""
    names = [*MARKUP, *ODD, LONG, LONG[1:] + "m", LONG[:5000] + "o" + LONG[5000:]]
    torch.save({f"emb {name}": normal(40, 4) for name in names}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_odd_names_are_text_on_the_page_and_no_path(odd_names, capsys):
    before = set(odd_names.parent.iterdir())
    output, written = odd_names.with_name("r.html"), odd_names.with_name("r.json")
    assert main(["inspect", str(odd_names), f"--output={output}", f"--output={written}"]) == 0
    assert set(odd_names.parent.iterdir()) == before | {output, written}
    text = output.read_text(encoding="utf-8")
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= {
        "html",
        "head",
        "meta",
        "link",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "h2",
        "h3",
        "p",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "wbr",
        "section",
        "svg",
        "path",
        "line",
        "text",
        "polyline",
        "g",
        "details",
        "summary",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "sub",
        "sup",
        "cite",
    }
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    for name in MARKUP:
        assert page.text.count(f"emb {name}") >= 2
    assert "emb two\\nlines" in page.text and "emb \\x1b[31mred" in page.text
    assert LONG[:200] not in text  # a long name has its two ends
    printed = capsys.readouterr().out
    assert all(len(line) < 400 and line.isprintable() for line in printed.splitlines())


def test_names_that_look_alike_have_a_row_each(odd_names):
    found = report.inspect(odd_names)
    assert len(found.tables) == 13
    assert len(report.table(found)) == 13
    assert len(comparison(found, found)) == 13


def test_the_json_holds_every_name_as_it_is(odd_names):
    written = odd_names.with_name("r.json")
    assert main(["inspect", str(odd_names), f"--output={written}.html", f"--output={written}"]) == 0
    names = [table["name"] for table in json.loads(written.read_bytes())["tables"]]
    assert names == list(torch.load(odd_names, weights_only=True))


def test_advice_keeps_a_name_in_its_code_span(odd_names):
    lines = report.advice(report.inspect(odd_names, include=["*``*"])).splitlines()
    assert lines[0].startswith("- ``` emb ``x``](y) ```, ")


def test_what_cannot_be_measured_has_its_card_too(tmp_path):
    nan = normal(3, 50, 8)
    nan[1, 2, 3] = torch.nan
    tensors = {"a.emb": nan, "b.emb": torch.ones(3, 50, 8, dtype=torch.int8)}
    save_file(tensors, tmp_path / "a.safetensors")
    found = report.inspect(tmp_path / "a.safetensors")
    text = Page(html(found, found)).text
    assert "3 sets of 8 not measured" in text and "the first at (1, 2, 3)" in text


@pytest.mark.parametrize("weights", [np.ones(40, complex), np.ones(40, np.longdouble)])
def test_row_weights_that_are_no_real_numbers_weigh_nothing(tmp_path, capsys, weights):
    np.save(tmp_path / "emb.npy", normal(40, 4).numpy())
    np.save(tmp_path / "counts.npy", weights)
    command = ["inspect", str(tmp_path / "emb.npy"), f"--rows-weight={tmp_path / 'counts.npy'}"]
    assert main([*command, f"--output={tmp_path / 'r.html'}"]) == 1
    assert "one real number per row is needed, 40 for emb" in capsys.readouterr().err


# --- where it goes --------------------------------------------------------------------------------


@pytest.fixture
def plain(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save({"emb": normal(40, 4)}, "plain.pt")
    return tmp_path


def test_a_link_stays_a_link_and_a_pipe_a_pipe(plain):
    (plain / "link.html").symlink_to("real.html")
    assert main(["inspect", "plain.pt", "--output=link.html"]) == 0
    assert (plain / "link.html").is_symlink() and (plain / "real.html").is_file()
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text(encoding="utf-8")))
    reader.start()
    assert main(["inspect", "plain.pt", "--output=pipe"]) == 0
    reader.join()
    assert read == [(plain / "real.html").read_text(encoding="utf-8")]
    assert (plain / "pipe").is_fifo()


def test_a_report_takes_no_place_of_a_record_but_of_a_report_it_does(plain, capsys):
    store_json(Path("plain.json"), {"dataset": {"fields": ["a"], "cardinalities": [40]}})
    before = Path("plain.json").read_bytes()
    assert main(["inspect", "plain.pt", "--output=plain.json"]) == 1
    said = "error: plain.json is a record or a codebook; the report needs another name"
    assert capsys.readouterr().err.startswith(said)
    assert Path("plain.json").read_bytes() == before
    for _ in range(2):
        assert main(["inspect", "plain.pt", "--output=report.json"]) == 0


def test_a_report_goes_to_a_pipe_without_a_name_and_to_the_home_folder(plain, monkeypatch):
    received, sent = os.pipe()
    with os.fdopen(received) as pipe:
        read: list[str] = []
        reader = threading.Thread(target=lambda: read.append(pipe.read()))
        reader.start()
        assert main(["inspect", "plain.pt", f"--output=/dev/fd/{sent}"]) == 0
        os.close(sent)
        reader.join()
    monkeypatch.setenv("HOME", str(plain / "home"))
    Path("home").mkdir()
    assert main(["inspect", "plain.pt", "--output=~/report.html"]) == 0
    assert [path.name for path in Path("home").iterdir()] == ["report.html"]
    assert read == [Path("home/report.html").read_text(encoding="utf-8")]
    assert not Path("~").exists()
    Path("home/dims.json").write_text("[20, 20]")
    dims = "--field-dims=~/dims.json"
    assert main(["inspect", "plain.pt", dims, "--output=~/dims.json"]) == 1
    assert Path("home/dims.json").read_text() == "[20, 20]"
    Path("plain.pt").rename("~lock.pt")  # a name, and nobody's home
    assert main(["inspect", "./~lock.pt", dims, "--output=r.md"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows-weight=counts.npy", "--output=counts.npy"], "counts.npy is read as well; the"),
        (["--field-dims=dims.json", "--output=dims.json"], "dims.json is read as well; the report"),
        (
            ["--output=same.md", "--output=./same.md"],
            "same.md is the report; the report needs",
        ),
        (["--output=precious.csv"], "precious.csv is no name of a report; .html, .htm, .md, .json"),
        (["--output=plain.link"], "plain.link is the checkpoint; the report needs another name"),
        (["--rows-weight=pipe"], "pipe is a device or a pipe; a file is needed"),
        (["--field-dims=pipe"], "field dims 'pipe' are neither whole numbers"),
    ],
)
def test_a_report_takes_no_place_of_what_is_read_and_no_pipe_is_waited_for(
    plain, capsys, options, message
):
    np.save("counts.npy", np.ones(40))
    Path("dims.json").write_text("[20, 20]")
    Path("plain.link").symlink_to("plain.pt")
    os.mkfifo("pipe")
    before = {name: Path(name).read_bytes() for name in ("plain.pt", "counts.npy", "dims.json")}
    assert main(["inspect", "plain.pt", *options]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert {name: Path(name).read_bytes() for name in before} == before
