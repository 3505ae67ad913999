"""Appendix: the datasets side by side, three million flights, and a table of one's own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from embedding_collapse.book.plots.style import AMBER, COLOURS, PINK, SKY
from embedding_collapse.lab.data import Dataset, summarise
from embedding_collapse.lab.data.vocabulary import RARE

# millions of features, as the paper prints them; the authors' talk lists Criteo's field by field
PUBLISHED = {"criteo": 1.08, "avazu": 2.02}


def features_per_field(datasets: Sequence[Dataset]) -> go.Figure:
    """How many features the fields have, largest first, a line per dataset."""
    tables = [
        summarise(dataset)
        .sort_values("features", ascending=False)
        .reset_index()
        .assign(dataset=dataset.name, rank=range(1, 1 + len(dataset.fields)))
        for dataset in datasets
    ]
    inks = [COLOURS["ME"], COLOURS["base"], COLOURS["SE"], PINK, AMBER, SKY]
    figure = px.line(
        pd.concat(tables),
        x="rank",
        y="features",
        color="dataset",
        log_y=True,
        markers=True,
        hover_data=["field", "rare share"],
        color_discrete_sequence=inks,
    )
    return figure.update_yaxes(dtick=1)


# --- three million flights ------------------------------------------------------------------------


def decoded(dataset: Dataset, rows: Sequence[int]) -> pd.DataFrame:
    """Rows of a dataset as the values that their ids stand for, and their labels."""
    table = {
        field.name: [field.decode(number) for number in dataset.ids[rows, i]]
        for i, field in enumerate(dataset.fields)
    }
    return pd.DataFrame(table).assign(label=dataset.labels[rows])


def column(dataset: Dataset, name: str) -> np.ndarray:
    """The ids of a field, by its name."""
    return dataset.ids[:, [field.name for field in dataset.fields].index(name)]


def depends(dataset: Dataset, field: str, on: Sequence[str]) -> bool:
    """Whether a field is a function of others, in the rows where none of them is rare."""
    ids = np.stack([column(dataset, name) for name in (*on, field)])
    ids = ids[:, (ids != RARE).all(0)]
    before, after = (pd.DataFrame(part.T).drop_duplicates() for part in (ids[:-1], ids))
    return len(before) == len(after)


def late_by_hour(flights: Dataset) -> pd.Series:
    """The share of late flights by the hour in which they left, "0" to "23"."""
    hours = flights.fields[[field.name for field in flights.fields].index("hour")]
    late = pd.Series(flights.labels).groupby(column(flights, "hour")).mean()
    return late.rename(index={number: hours.decode(int(number)) for number in late.index})


def late(shares: pd.Series) -> go.Figure:
    """A bar per hour of `late_by_hour`."""
    figure = go.Figure(go.Bar(x=shares.index, y=shares.round(4), marker={"color": COLOURS["ME"]}))
    figure.update_xaxes(title="hour of departure")
    return figure.update_yaxes(title="share of late flights", tickformat=".0%")


# --- a table of one's own -------------------------------------------------------------------------


def write_visits(path: Path, count: int = 6000) -> None:
    """Make up visits to a library as CSV: who, which shelf, when, how long, and whether a book was
    borrowed. That depends on who meets which shelf. Three lines are broken."""
    random = np.random.default_rng(0)
    reader = random.zipf(1.5, count).clip(max=3000)
    shelf = random.choice(["poetry", "maps", "history", "cooking", "comics"], count)
    weekday = random.choice(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], count)
    visits = pd.DataFrame({"reader": reader, "shelf": shelf, "weekday": weekday})
    visits["minutes"] = random.exponential(25, count).round(1)
    taste = random.normal(size=(3001, 5))[reader, visits["shelf"].astype("category").cat.codes]
    chance = 1 / (1 + np.exp(-1.5 * taste - 0.02 * visits["minutes"]))
    visits["borrowed"] = (random.random(count) < chance).astype(int)
    lines = visits.to_csv(index=False).splitlines()
    lines[1000] = "17,poetry"
    lines[2000] = lines[2000][:-1] + "maybe"
    lines[3000] = ""
    path.write_text("\n".join(lines), encoding="utf-8")
