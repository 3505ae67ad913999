"""Chapter 5: base, SE and ME trained side by side, and what came of it."""

import inspect
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from embedding_collapse.book import paper
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.claims import Expected
from embedding_collapse.book.analysis.ledger import Judged, difference, judge
from embedding_collapse.book.analysis.measures import Measure
from embedding_collapse.book.plots import BELOW, colour
from embedding_collapse.lab import data, groups, records, studies
from embedding_collapse.lab.device import choose_device
from embedding_collapse.lab.groups import by_label
from embedding_collapse.lab.models import Recommender
from embedding_collapse.lab.records import Record
from embedding_collapse.lab.spec import Spec, parameter_counts
from embedding_collapse.lab.studies.sweep import grid
from embedding_collapse.lab.training import WORTH_BLOCKING
from embedding_collapse.parameters import ParameterError, check_whole

STORED = "results/05_multi_embedding"  # the runs that the page's text speaks of
ROWS = dict.fromkeys(("us-flights", "us-flights-forecast"), 300_000)  # where fewer than all do
WORTH_A_PROCESS = 100_000  # rows, from which on a run takes longer than its process to start
FORWARD = (Recommender.forward, Recommender.embed, Recommender.arrange, Recommender.decide)

# --- the idea -------------------------------------------------------------------------------------


def source() -> str:
    """The code of a model's forward pass as it stands in the library, in Markdown."""
    code = "\n".join(textwrap.dedent(inspect.getsource(function)) for function in FORWARD)
    return f"```python\n{code}```"


# --- training -------------------------------------------------------------------------------------


def specs_of(
    dataset: str,
    rows: int,
    of_data: Mapping[str, Any],
    *,
    model: str,
    scale: int,
    seeds: int,
    **parameters: Any,
) -> list[Spec]:
    """Base, SE and ME of the same total embedding size, for each seed in turn.

    Args:
        dataset: see `data.DATASETS`.
        rows: 0 is all, or what `ROWS` says.
        of_data: further arguments of `data.describe`.
        model: see `lab.models.MODELS`.
        scale: of SE and ME, at least 2.
        seeds: how many, counted from 0.
        parameters: of `studies.sweep.grid`.

    Raises:
        ParameterError: what cannot be; the message says what is accepted.
    """
    check_whole("scale", scale, least=2)
    check_whole("seeds", seeds, least=1)
    described = data.describe(dataset, rows=rows or ROWS.get(dataset), **of_data)
    return grid(
        datasets=[described], models=[model], scales=(1, scale), seeds=range(seeds), **parameters
    )


def sizes(specs: Sequence[Spec], cardinalities: Sequence[int]) -> pd.DataFrame:
    """What base, SE and ME hold: sets, their width, and parameters by part."""
    columns = {
        spec.label: {"embedding sets": spec.sets, "width of a set": spec.width}
        | {
            f"parameters, {part}": count
            for part, count in parameter_counts(spec, cardinalities).items()
        }
        for spec in specs[:3]
    }
    return pd.DataFrame(columns).map("{:,}".format)


def train(
    specs: Sequence[Spec],
    clicks: data.Dataset,
    output: Path | None,
    device: str,
    weights: bool,
    max_rejected: float,
) -> list[Record]:
    """Run the specs, and tell the terminal that papermill was started from how far they are, and
    the page too which were still rising when they ended.

    Args:
        specs: what to run.
        clicks: the data of all.
        output: folder of records; None keeps none.
        device, weights: of `experiment.run`.
        max_rejected: of `data.load_spec`.

    Raises:
        ChildProcessError: a run failed.
    """
    done = studies.run_all(
        specs,
        output,
        weights=specs if weights else (),
        workers=_at_a_time(specs, clicks, choose_device(device)),
        device=device,
        max_rejected=max_rejected,
        bars=True,
        tell=_tell,
    )
    if done.failures:
        raise ChildProcessError("; ".join(map(str, done.failures)))
    if rising := groups.still_rising(done.records):
        print(rising)
        _tell(rising)
    return done.records


def _at_a_time(specs: Sequence[Spec], clicks: data.Dataset, device: torch.device) -> int | None:
    """How many runs take place at a time, one per core; None is one after another in this process,
    where they are over before another has started or where each needs all memory's speed."""
    cores, table = torch.get_num_threads(), sum(clicks.cardinalities)
    largest = table * max(spec.sets * spec.width for spec in specs)
    apart = len(clicks) >= WORTH_A_PROCESS and largest < WORTH_BLOCKING
    return cores if device.type == "cpu" and cores > 1 and apart else None


def _tell(line: str) -> None:
    """Write past the notebook: papermill shows a cell's own output only once the cell is done."""
    try:
        terminal = sys.stderr.fileno()  # of a kernel's stream: where it led before the page
    except OSError:  # a kernel that left it as it was
        terminal = 2
    os.write(terminal, f"\n{line}\n".encode())


def stored() -> list[Record]:
    """The runs that the page's text speaks of; none without the repository."""
    try:
        return records.load_all(records.folder_of(STORED))
    except ParameterError:
        return []


# --- what came out --------------------------------------------------------------------------------


CLAIMS: tuple[tuple[str, Measure, Expected, str, str], ...] = (
    (
        "SE uses a smaller share of its directions than base",
        measures.ABUNDANCE,
        "lower",
        "SE",
        "base",
    ),
    ("ME, set by set, uses a larger share than SE", measures.ABUNDANCE, "higher", "ME", "SE"),
    (
        "ME, its sets joined to one table, uses a larger share than SE",
        measures.JOINED_ABUNDANCE,
        "higher",
        "ME",
        "SE",
    ),
    ("SE gains nothing over base", measures.AUC, "no gain", "SE", "base"),
    ("ME gains over base", measures.AUC, "higher", "ME", "base"),
    ("ME gains over SE", measures.AUC, "higher", "ME", "SE"),
)


def results(runs: Sequence[Record]) -> pd.DataFrame:
    """Accuracy and collapse of base, SE and ME, means and standard deviations: a column each."""
    return groups.summary(runs)[["test AUC", "test log-loss", "mean IA/K", "seeds", "parameters"]].T


def verdicts(runs: Sequence[Record]) -> pd.DataFrame:
    """A row per claim: the `Effect` (new minus old), the smallest effect that could have been seen,
    and the verdict, corrected for there being several claims (Holm)."""
    models = {label.split()[0]: group for label, group in by_label(runs).items()}
    rows, judged = {}, []
    for text, measure, expected, new, old in CLAIMS:
        pair = models[new], models[old]
        effect = difference(*pair, measure)
        rows[text] = {"new - old": effect, "smallest to be seen": effect.smallest}
        band = measure.band if expected == "no gain" else 0.0
        judged.append(Judged(difference(*pair, measure, against=band), expected, measure))
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.insert(0, "verdict", [verdict for verdict, _ in judge(judged)])
    return table


def accuracy(runs: Sequence[Record]) -> go.Figure:
    """Test AUC and log-loss: a dot per seed, a line at the mean."""
    figure = make_subplots(cols=2, subplot_titles=["test AUC", "test log-loss (nats per row)"])
    for label, group in by_label(runs).items():
        hover = [
            f"seed {run.spec['seed']}<br>{sum(run.parameters.values()):,} parameters<br>"
            f"{run.speed:,.0f} samples/s"
            for run in group
        ]
        for column, metric in ((1, "auc"), (2, "log_loss")):
            values = [run.test[metric] for run in group]
            dots = go.Scatter(
                x=[label] * len(values),
                y=values,
                mode="markers",
                hovertext=hover,
                name=label,
                marker={"color": colour(label), "size": 9, "opacity": 0.7},
                showlegend=False,
            )
            line = {"width": 3, "color": colour(label)}
            mean = go.Scatter(
                x=[label],
                y=[np.mean(values)],
                mode="markers",
                name=f"{label}, mean",
                marker={"symbol": "line-ew", "size": 34, "line": line},
                showlegend=False,
            )
            figure.add_traces([mean, dots], rows=1, cols=column)
    return figure.update_yaxes(tickformat=".4f")


def training_curves(runs: Sequence[Record]) -> go.Figure:
    """Training loss along the way and validation AUC after each epoch, one line per seed."""
    titles = ["training loss (nats per row)", "validation AUC"]
    figure = make_subplots(cols=2, subplot_titles=titles)
    for label, group in by_label(runs).items():
        for position, run in enumerate(group):
            losses = [loss for epoch in run.epochs for loss in epoch["losses"]]
            progress = np.arange(1, len(losses) + 1) / len(run.epochs[0]["losses"])
            aucs = [epoch["valid_auc"] for epoch in run.epochs]
            style = {
                "name": label,
                "legendgroup": label,
                "line": {"color": colour(label)},
                "hovertext": f"{label}, seed {run.spec['seed']}",
            }
            figure.add_scatter(
                x=progress.round(3),
                y=np.round(losses, 5),
                mode="lines",
                opacity=0.7,
                showlegend=position == 0,
                row=1,
                col=1,
                **style,
            )
            figure.add_scatter(
                x=np.arange(1, len(aucs) + 1),
                y=aucs,
                mode="lines+markers",
                showlegend=False,
                row=1,
                col=2,
                **style,
            )
    figure.update_xaxes(title="epochs", dtick=1)
    figure.update_xaxes(rangemode="tozero", col=1)
    return figure.update_layout(legend=BELOW)


def by_epoch(runs: Sequence[Record]) -> pd.DataFrame:
    """Validation AUC after each epoch: a row per epoch that all runs have, a column per model,
    means over seeds."""
    ended = min(len(run.epochs) for run in runs)
    return pd.DataFrame(
        {
            label: np.mean([[e["valid_auc"] for e in run.epochs[:ended]] for run in group], axis=0)
            for label, group in by_label(runs).items()
        },
        index=[f"epoch {number}" for number in range(1, ended + 1)],
    )


def beside_paper(runs: Sequence[Record], model: str) -> pd.DataFrame:
    """Test AUC of base, SE and ME: the paper's of the same model and scale, and ours."""
    return paper.aucs(runs, model).loc[list(by_label(runs))]
