"""Names with markup, quotes, line ends, paths or ten thousand characters: text wherever a page
shows them, the same name wherever they are read, and never a path."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import IPython.display
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from markdown_it import MarkdownIt
from safetensors.torch import save_file

from embedding_collapse.book import explorers, plots
from embedding_collapse.book.chapters import interaction_collapse, mechanism, your_embeddings
from embedding_collapse.book.explorers import sub_embeddings
from embedding_collapse.book.explorers.display import page
from embedding_collapse.inspection import report
from embedding_collapse.lab import groups, records
from embedding_collapse.lab.data import compare, load, summarise

from .child import command, elsewhere, isolated
from .runs import SIZE, Case

NAMES = [
    '<img src=x onerror="alert(1)">',
    "</script><script>alert(1)</script>",
    "first\nsecond\r\nthird\ttab",
    '<a href="https://evil.example">here</a>',
    '" onmouseover="alert(1)" \'',
    "' onmouseover='alert(1)' \"",
    "../../canary",
    "/tmp/canary",
    "..\\..\\canary",
    "x" * 10_000,
    "<b onclick=alert(1)>" * 500,
    "` [x](javascript:alert(1)) <img src=x onerror=alert(1)> `",
    "--><svg onload=alert(1)>",
    "%{x} %{customdata} <extra><a href='https://evil.example'>y</a></extra>",
    "\x1b[31mred\x07",
    "\u202eevil\u2066",
    "{{ 7 * 7 }} $x^2$ <%= 1 %>",
    ",",
    '"',
    "",
]
TAGS = re.compile(
    r"<(?!/?(?:sub|sup|br|b|i|em|extra)>)\s*/?[a-zA-Z!]"
)  # what a figure may not hold
SECONDS = 60.0  # of processor time that a few small runs may take
ROWS = 400

Made = dict[str, Any]  # what a surface shows, by what it is: HTML, Markdown, a figure, other text


def names(quick: bool) -> Iterator[Case]:
    """Each name on each surface; quick, one of two in turn."""
    for place, (surface, show) in enumerate(SURFACES.items()):
        for number in [(1, 3)[place % 2]] if quick else range(len(NAMES)):
            yield Case(f"{surface}, name {number}", partial(_attempt, surface, show, NAMES[number]))


def _attempt(
    surface: str,
    show: Callable[[str, Path], Made | None],
    name: str,
    folder: Path,
    random: np.random.Generator,
) -> str | None:
    """None as what is shown says that a format has no such name."""
    found = isolated(partial(show, name, folder), seconds=SECONDS)
    if found.kind == "refused" or (found.kind == "value" and found.value is None):
        return None
    wrong = elsewhere(found)
    if found.kind != "value":
        wrong = f"{found.kind} {found.text.partition(':')[0]}: {found.text[:200]}"
    for kind, content in (found.value or {}).items():
        wrong = wrong or CHECKS[kind.partition(" ")[0]](content)
        wrong = wrong and f"{kind}, {wrong}"
        if wrong:
            break
    return wrong and f"{surface}, {wrong}"


# --- what is wrong with what is shown -------------------------------------------------------------


class _Tags(HTMLParser):
    """The elements of a page that someone else's text has made."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        address = (known.get("href") or "") + (known.get("src") or "")
        self.inside = f"{tag} {known.get('type')}"
        if any(key.startswith("on") for key in known) or address == "x":
            self.foreign.append(tag)
        if address.startswith(("https://evil", "javascript:")):
            self.foreign.append(tag)

    def handle_data(self, data: str) -> None:
        if self.inside.startswith("script") and "json" not in self.inside and "alert" in data:
            self.foreign.append("script")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""


def _page(content: str) -> str | None:
    tags = _Tags()
    tags.feed(content)
    tags.close()
    return f"a page runs it: {tags.foreign[:3]}" if tags.foreign else None


def _markdown(content: str) -> str | None:
    return _page(MarkdownIt("gfm-like", {"linkify": False}).render(content))


def _figure(content: Any) -> str | None:
    """plotly reads markup in every text that it draws."""
    if isinstance(content, str):
        return f"a figure reads it: {TAGS.search(content)[0]}" if TAGS.search(content) else None
    parts = content.values() if isinstance(content, dict) else content
    if isinstance(content, dict | list | tuple):
        return next((wrong for part in parts if (wrong := _figure(part))), None)
    return None


def _text(content: str) -> str | None:
    """What a terminal shows moves no cursor, changes no colour and no direction."""
    odd = {c for c in content if not c.isprintable() and c != "\n"}
    return f"a terminal obeys it: {sorted(odd)}" if odd else None


def _pairs(content: tuple[Any, Any]) -> str | None:
    found, expected = content
    return None if found == expected else f"another name: {str(found)[:100]!r}"


CHECKS = {"html": _page, "markdown": _markdown, "figure": _figure, "text": _text, "same": _pairs}


# --- checkpoints ----------------------------------------------------------------------------------


def _tables(name: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"embedding.{name}": torch.randn(60, 8, generator=generator),
        f"{name}.embedding": torch.randn(50, 8, generator=generator),
    }


def _safetensors(name: str, folder: Path) -> Made:
    save_file(_tables(name), folder / "made.safetensors")
    return _inspected(folder / "made.safetensors", name)


def _pt(name: str, folder: Path) -> Made:
    torch.save({"epoch": 1, "model": _tables(name)}, folder / "made.pt")
    return _inspected(folder / "made.pt")


def _npz(name: str, folder: Path) -> Made | None:
    if "\x00" in name:
        return None
    np.savez(folder / "made.npz", **{key: t.numpy() for key, t in _tables(name).items()})
    return _inspected(folder / "made.npz")


def _hdf5(name: str, folder: Path) -> Made | None:
    with h5py.File(folder / "made.h5", "w") as file:
        for key, table in _tables(name).items():
            try:
                file[key] = table.numpy()
            except (ValueError, OSError):
                return None
    return _inspected(folder / "made.h5")


def _file_name(name: str, folder: Path) -> Made | None:
    path = folder / f"embedding {name.replace('/', ' ')[:200]}.safetensors"
    save_file(_tables("one"), path)
    return _inspected(path)


def _field_names(name: str, folder: Path) -> Made:
    """The weights of a run, cut into fields by the record beside them."""
    code = _run(name, folder)
    assert code == 0, code
    return _inspected(next((folder / "output").glob("*.safetensors")))


def _inspected(path: Path, name: str | None = None) -> Made:
    found = report.inspect(path)
    page, content = path.with_name("page.html"), path.with_name("page.json")
    command(
        "inspect", str(path), "--output", str(page), "--output", str(content), cache=path.parent
    )()
    made = {
        "html page": page.read_text(encoding="utf-8"),
        "html table": your_embeddings.report_table(found)._repr_html_(),
        "markdown advice": report.advice(found),
        "figure": your_embeddings.table_spectra(found.tables).to_plotly_json(),
        "text": str(found),
    }
    if name is not None:
        read = [one["name"] for one in json.loads(content.read_text())["tables"]]
        made["same"] = (sorted(read), sorted(_tables(name)))
    return made


# --- columns --------------------------------------------------------------------------------------


def _columns(name: str) -> dict[str, list[str]]:
    random = np.random.default_rng(0)
    drawn = {"clicked": (2, ""), name: (5, "v"), "day": (7, "d"), f"{name} 2": (9, "w")}
    return {
        key: [f"{letter}{n}" for n in random.integers(0, most, ROWS)]
        for key, (most, letter) in drawn.items()
    }


def _csv(name: str, folder: Path) -> Made:
    columns = _columns(name)
    file = io.StringIO(newline="")
    csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    (folder / "made.csv").write_text(file.getvalue(), newline="")
    return _loaded(folder / "made.csv", columns)


def _parquet(name: str, folder: Path) -> Made:
    return _loaded(_written(name, folder), _columns(name))


def _written(name: str, folder: Path) -> Path:
    pa.parquet.write_table(pa.table(_columns(name)), folder / "made.parquet")
    return folder / "made.parquet"


def _loaded(path: Path, columns: dict[str, list[str]]) -> Made:
    data = load("table", path=path, label="clicked", cache=path.parent / "cache", progress=False)
    told = _told("data", "table", "--path", str(path), "--label", "clicked", folder=path.parent)
    wanted = [name for name in columns if name not in ("clicked", "")]
    return {
        "same": ([field.name for field in data.fields], wanted),
        "html fields": summarise(data)._repr_html_(),
        "html datasets": compare([data])._repr_html_(),
        "text": told,
    }


def _label(name: str, folder: Path) -> Made | None:
    """The label's own name, in the message on a value that it may not have."""
    if not name:
        return None
    columns = {name: ["0", "1"] * (ROWS // 2 - 1) + ["no", name], "day": ["d", "e"] * (ROWS // 2)}
    pa.parquet.write_table(pa.table(columns), folder / "made.parquet")
    path = str(folder / "made.parquet")
    return {"text": _told("data", "table", "--path", path, f"--label={name}", folder=folder)}


def _told(*arguments: str, folder: Path) -> str:
    """What a command says."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        command(*arguments, "--quiet", cache=folder / "cache")()
    return said.getvalue()


# --- runs -----------------------------------------------------------------------------------------


def _run(name: str, folder: Path) -> int:
    return command(
        "sweep",
        "--dataset",
        "table",
        "--path",
        str(_written(name, folder)),
        "--label",
        "clicked",
        *SIZE,
        "--models",
        "dcnv2",
        "--scales",
        "1,4",
        "--seeds",
        "0,1",
        "--epochs",
        "1",
        "--output",
        str(folder / "output"),
        cache=folder / "cache",
    )()


def _figures(name: str, folder: Path) -> Made:
    """Every figure and explorer that names the fields of runs, as a notebook gets it."""
    code = _run(name, folder)
    assert code == 0, code
    runs = records.load_all(folder / "output")
    shown: list[dict[str, Any]] = []
    IPython.display.display = lambda bundle, **_: shown.append(bundle)
    me = [run for run in runs if run.label == "ME 4x"]
    for figure, of in {
        plots.abundance_by_field: runs,
        plots.spectra_by_field: runs,
        mechanism.projection_norms: me,
        lambda runs: mechanism.diversity_by_field(groups.by_cell(runs)): runs,
        interaction_collapse.sub_embeddings: runs,
    }.items():
        plots.show(figure(of), "a figure", source=of)
    made: Made = {"html summary": groups.summary(runs)._repr_html_()}
    for explorer in (explorers.spectrum.explorer(runs), sub_embeddings.explorer(runs)):
        view = explorer.view(explorer.data, explorer.start)
        made[f"figure {explorer.name}"] = explorer.figure(view).to_plotly_json()
        made[f"html {explorer.name}"] = page(explorer)
    for number, bundle in enumerate(shown):
        made[f"html {number}"] = bundle["text/html"]
        made[f"figure {number}"] = bundle.get("application/vnd.plotly.v1+json", {})
    return made


def _record(name: str, folder: Path) -> Made | None:
    """Someone else's record, whose key is such a name."""
    source = next((Path(__file__).parents[2] / "results" / "decide").glob("*.json"))
    content = json.loads(source.read_text()) | {"key": name}
    (folder / "made.json").write_text(json.dumps(content))
    return {"html": plots.provenance(records.load_all(folder))}


SURFACES: dict[str, Callable[[str, Path], Made | None]] = {
    "tensors of safetensors": _safetensors,
    "tensors of torch": _pt,
    "tensors of .npz": _npz,
    "tensors of HDF5": _hdf5,
    "a checkpoint's file": _file_name,
    "columns of CSV": _csv,
    "columns of Parquet": _parquet,
    "a label": _label,
    "fields in figures": _figures,
    "fields beside weights": _field_names,
    "a record's key": _record,
}
