"""Chapter 8's model of one's own: a training loop as a reader may have one, and what it shows."""

import difflib
import runpy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedding_collapse.book.plots import BELOW, COLOURS, DASHES, as_text, colour, one_of
from embedding_collapse.files import load_json
from embedding_collapse.inspection import report
from embedding_collapse.lab import calibration
from embedding_collapse.lab.contrast import Group, contrast
from embedding_collapse.lab.data import Dataset
from embedding_collapse.lab.metrics import Placements, auc, grouped, placements
from embedding_collapse.lab.records import in_repository
from embedding_collapse.monitor import CollapseMonitor
from embedding_collapse.verdict import COLLAPSED, PARTLY, Collapse

MOST_POINTS = 64
WIDTH, SCALE, HIDDEN = 10, 4, 64
EVERY = 20  # steps between measurements: these runs take seconds, and a curve needs points


@lru_cache
def example(name: str) -> Callable[..., nn.Module]:
    """The model of a file in the repository's `examples/`."""
    return runpy.run_path(str(in_repository("examples") / f"{name}.py"))["DeepFM"]


DESIGNS: dict[str, Callable[[Sequence[int]], nn.Module]] = {
    "base": lambda fields: example("deepfm")(fields, WIDTH, HIDDEN),
    f"SE {SCALE}x": lambda fields: example("deepfm")(fields, SCALE * WIDTH, HIDDEN),
    f"ME {SCALE}x": lambda fields: example("deepfm_me")(fields, WIDTH, SCALE, HIDDEN),
}


@dataclass(frozen=True)
class Run:
    """A trained model: its design, seed and test AUC, and what the monitor saw.

    Attributes:
        placements: where the test rows stand, from `metrics.grouped`.
        history: `CollapseMonitor.history` as a table; the last step is the end of training.
        overhead: the share of the training time that the monitor took.
        state: the trained weights.
    """

    label: str
    seed: int
    auc: float
    placements: Placements
    parameters: int
    history: pd.DataFrame
    overhead: float
    state: dict[str, Tensor]


def compare(clicks: Dataset, *, epochs: int, seeds: int, batch_size: int = 256) -> list[Run]:
    """Train the base model, SE and ME at the same total embedding size, for each seed."""
    return [
        _run(label, seed, clicks, epochs, batch_size) for seed in range(seeds) for label in DESIGNS
    ]


def _run(label: str, seed: int, clicks: Dataset, epochs: int, batch_size: int) -> Run:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DESIGNS[label](clicks.cardinalities)
        monitor = CollapseMonitor(model, every=EVERY)
        scores = train(model, clicks, epochs, batch_size, monitor)
    overhead = monitor.overhead
    monitor.measure()
    labels = torch.as_tensor(clicks.labels[:])[clicks.split[2]]
    return Run(
        label,
        seed,
        auc(scores, labels),
        grouped(placements(scores, labels)),
        sum(weights.numel() for weights in model.parameters()),
        pd.DataFrame(monitor.history),
        overhead,
        model.state_dict(),
    )


def train(
    model: nn.Module, clicks: Dataset, epochs: int, batch_size: int, monitor: CollapseMonitor
) -> Tensor:
    """Train from ids `[B, N]` to logits `[B]` with Adam; returns those of the test rows."""
    ids, labels = torch.as_tensor(clicks.ids[:]).long(), torch.as_tensor(clicks.labels[:]).float()
    rows, _, test = (torch.as_tensor(part[:]) for part in clicks.split)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-6)
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows))]
        for start in range(0, len(rows) - batch_size + 1, batch_size):
            batch = order[start : start + batch_size]
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(ids[batch]), labels[batch]).backward()
            optimizer.step()
            monitor.step()
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in ids[test].split(8192)])


def told_by_the_monitor(runs: list[Run]) -> str:
    """Where each design's tables began and ended, and what looking on cost."""
    lines = []
    for label in DESIGNS:
        ends = [_ends(run) for run in runs if run.label == label]
        first, last = (sum(side) / len(side) for side in zip(*ends, strict=True))
        lines.append(
            f"{label}: IA/random, mean of tables and seeds, from {first:.2f} to {last:.2f}"
        )
    most = max(run.overhead for run in runs)
    return "\n".join([*lines, f"the monitor took at most {most:.2%} of the training time"])


def _ends(run: Run) -> tuple[float, float]:
    means = run.history.groupby("step")["against_random"].mean()
    return means.iloc[0], means.iloc[-1]


def summary(runs: list[Run]) -> pd.DataFrame:
    """A column per design: parameters, test AUC and collapse, mean and range over seeds."""
    columns = {}
    for label in DESIGNS:
        group = [run for run in runs if run.label == label]
        columns[label] = {
            "parameters": f"{group[0].parameters:,}",
            "test AUC": _spread([run.auc for run in group], 4),
            "IA/random": _spread([_ends(run)[1] for run in group], 3),
        }
    return pd.DataFrame(columns)


def _spread(values: list[float], digits: int) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def outcome(runs: list[Run]) -> str:
    """ME against SE in a sentence each for AUC and collapse, with 95% intervals: over seeds, and of
    AUC over test rows too, which are the same for all runs."""
    se, me = ([run for run in runs if run.label.startswith(design)] for design in ("SE", "ME"))
    sentences = []
    for name, digits, value, tested in (
        ("test AUC", 4, lambda run: run.auc, True),
        ("IA/random", 3, lambda run: _ends(run)[1], False),
    ):
        change = contrast(
            [
                Group(weight, list(map(value, of)), [r.placements for r in of] if tested else None)
                for weight, of in ((1, me), (-1, se))
            ]
        )
        apart = "higher" if change.low > 0 else "lower" if change.high < 0 else "inside the noise"
        sentences.append(
            f"{name}, ME minus SE: {change.value:+.{digits}f} (95% interval "
            f"{change.low:+.{digits}f} to {change.high:+.{digits}f}): {apart}."
        )
    return "\n".join(sentences)


def report_table(inspection: report.Inspection) -> pd.DataFrame:
    """The report's rows as a notebook shows them; the verdict first, or it would be off screen, and
    what all tables' names begin with, up to a dot, said once."""
    rows = pd.DataFrame(report.table(inspection)).set_index("table")
    same = commonprefix(rows.index.to_list()).rpartition(".")  # noqa: RUF071, no paths
    if len(rows) > 1 and same[0]:
        rows.index = rows.index.str.removeprefix("".join(same[:2]))
        rows.index.name = f"{same[0]}."
    return rows[["verdict", *rows.columns.drop("verdict")]]


def calibrated() -> dict[str, Any]:
    """What `lab.calibration` stored of the verdict's errors."""
    return load_json(in_repository("results/verdict") / "calibration.json")


def errors_by_kind(cases: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """How often the report's verdict is wrong of tables whose truth is known, by kind of table."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for case in cases:
        kinds.setdefault(case["kind"], []).append(case)
    rows = {}
    for kind, of_kind in kinds.items():
        rates = calibration.rates(of_kind)
        rows[kind] = {
            "in truth": of_kind[0]["truth"],
            "tables judged": rates["of sound tables"] + rates["of collapsed tables"],
            "wrong": rates["false alarms"] + rates["misses"],
            "too small to tell": rates["too small to tell"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def source(name: str) -> str:
    """An example's code as Markdown."""
    return f"```python\n{_text(name)}```"


def difference(before: str, after: str) -> str:
    """What changes from one example to another, as Markdown."""
    lines = difflib.unified_diff(
        _text(before).splitlines(), _text(after).splitlines(), before, after, n=1, lineterm=""
    )
    return "```diff\n" + "\n".join(lines) + "\n```"


def _text(name: str) -> str:
    return (in_repository("examples") / f"{name}.py").read_text(encoding="utf-8")


# --- figures of tables ------------------------------------------------------------------------


def table_spectra(tables: Sequence[Collapse]) -> go.Figure:
    """Normalised spectra of one table, chosen from a menu, beside a random one of its shape."""
    figures = {}
    for table in tables:
        if table.spectra is None:
            continue
        figures[as_text(table.name)] = figure = go.Figure()
        width = table.width
        kept = np.unique(np.linspace(0, width - 1, min(width, MOST_POINTS)).round().astype(int))
        lines = [(spectrum, "ME" if table.sets > 1 else "SE") for spectrum in table.spectra]
        for m, (spectrum, kind) in enumerate([*lines, (table.random, "random")]):
            name = {"random": "random table", "SE": "this table", "ME": f"set {m + 1}"}[kind]
            figure.add_scatter(
                x=((kept + 1) / width).round(4),
                name=name,
                mode="lines+markers",
                y=(spectrum / spectrum.max().clamp(min=1e-300)).numpy()[kept].round(4),
                line={"color": COLOURS[kind], "dash": DASHES[m % len(DASHES)]},
                marker={"size": 4},
            )
    figure = one_of(figures, "Table")
    figure.update_xaxes(title="direction k, as a share of K", range=[0, 1.02])
    return figure.update_yaxes(title="σ<sub>k</sub> / σ<sub>1</sub>", rangemode="tozero")


def collapse_in_training(histories: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Every table's IA against random over the steps of training, by design; verdicts' lines
    across.

    Args:
        histories: tables of `CollapseMonitor.history`, by "SE" or "ME" and what follows it.
    """
    figure = go.Figure()
    for label, history in histories.items():
        mean = history.groupby("step")["against_random"].mean()
        for table, rows in history.groupby("table", sort=False):
            figure.add_scatter(
                x=rows["step"],
                y=rows["against_random"].round(4),
                mode="lines",
                opacity=0.25,
                line={"color": colour(label), "width": 1},
                showlegend=False,
                name=f"{label}, {as_text(str(table))}",
                legendgroup=label,
            )
        figure.add_scatter(
            x=mean.index,
            y=mean.round(4),
            mode="lines",
            name=f"{label}, mean of tables",
            line={"color": colour(label), "width": 3},
            legendgroup=label,
        )
    for threshold in (COLLAPSED, PARTLY):
        figure.add_hline(threshold, line={"color": COLOURS["random"], "dash": "dot"})
    figure.update_xaxes(title="step of training")
    figure.update_yaxes(title="IA / IA of a random table", rangemode="tozero")
    return figure.update_layout(legend=BELOW)
