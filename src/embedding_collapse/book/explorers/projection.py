"""What a projection leaves of a table: the sub-embedding that another field sees."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from embedding_collapse.book.plots.style import AMBER, BELOW, NEUTRAL, SKY
from embedding_collapse.spectrum import information_abundance

from .explorer import Control, Explorer, State, Step, View, packed, unpacked

WIDTH = 8
DRAWS = 200  # of a turn at random, over which spectra are averaged
UP = 1e-9  # takes a tie up, whatever the last bit of a sum is; its twin adds it too
TABLES = {
    "flat": [1.0] * WIDTH,
    "falling": [0.8**k for k in range(WIDTH)],
    "collapsed": [1, 0.3, 0.15, 0.1, 0.07, 0.05, 0.04, 0.03],
}
FACTORS = [0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]
ENDS = {0.0: "0: one direction", 1.0: "1: orthogonal"}
FAVOURS = {"strong": "the table's strong ones", "weak": "its weak ones", "random": "any, at random"}
STEPS = [
    Step(
        "A table that falls slowly meets a projection that favours the same directions.",
        "The table's IA is 4.16, the sub-embedding's 2.25: emptier than either of the two.",
    ),
    Step(
        "An orthogonal projection, which the penalty asks for, treats all directions alike.",
        "The sub-embedding keeps the table's 4.16.",
        {"factor": 1.0},
    ),
    Step(
        "So it does with a table that has collapsed.",
        "1.74 before and after: nothing is lost, and nothing mended.",
        {"factor": 1.0, "table": "collapsed"},
    ),
    Step(
        "A projection that favours the weak directions could mend it.",
        "From 1.74 to 5.12, as no orthogonal one can.",
        {"factor": 0.6, "table": "collapsed", "favours": "weak"},
    ),
]


def projected(table: Tensor, projection: Tensor, favours: str) -> Tensor:
    """Singular values of a table after a projection, over the largest.

    Args:
        table, projection: their singular values, falling, [K].
        favours: which of the table's directions the projection's first ones are, of `FAVOURS`; at
            random, the mean over turns.
    """
    if favours == "random":
        drawn = torch.Generator().manual_seed(0)
        square = (DRAWS, len(table), len(table))
        turned, _ = torch.linalg.qr(torch.randn(square, dtype=table.dtype, generator=drawn))
        values = torch.linalg.svdvals(table[:, None] * turned * projection)
        return (values / values[:, :1]).mean(0)
    values = table * (projection if favours == "strong" else projection.flip(0))
    values = values.sort(descending=True).values
    return values / values[0]


def explorer() -> Explorer:
    """Spectra of a table, of a projection and of the sub-embedding that these make."""
    tables = torch.tensor(list(TABLES.values()), dtype=torch.float64)
    projections = torch.tensor(FACTORS, dtype=torch.float64)[:, None] ** torch.arange(WIDTH)
    seen = [projected(*of) for of in product(tables, projections, FAVOURS)]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "hovertemplate": "%{fullData.name}<br>direction %{x}: %{y:.2f}<extra></extra>",
    }
    return Explorer(
        name="projection",
        title="What does a projection leave of a table?",
        alt="Singular values of a table, of a projection and of the sub-embedding they make",
        controls=[
            Control("choice", "table", "Table", [(name, name) for name in TABLES]),
            Control(
                "slider",
                "factor",
                "σₖ₊₁/σₖ of W",
                [(factor, ENDS.get(factor, str(factor))) for factor in FACTORS],
            ),
            Control("choice", "favours", "W favours", list(FAVOURS.items())),
        ],
        start={"table": "falling", "factor": 0.7, "favours": "strong"},
        steps=STEPS,
        data={
            "choices": [list(TABLES), FACTORS, list(FAVOURS)],
            "tables": packed(tables.numpy()),
            "projections": packed(projections.numpy()),
            "seen": packed(torch.stack(seen).numpy()),
        },
        styles={
            "table": line | {"line": {"color": NEUTRAL, "dash": "dash"}},
            "projection": line | {"line": {"color": AMBER, "dash": "dot"}},
            "seen": line | {"line": {"color": SKY}},
        },
        layout={
            "xaxis": {"title": {"text": "direction k"}, "dtick": 1},
            "yaxis": {"title": {"text": "σ<sub>k</sub> / σ<sub>1</sub>"}, "range": [0, 1.05]},
            "legend": BELOW,
            "hovermode": "closest",
        },
        view=view,
        height=360,
    )


def view(data: dict[str, Any], state: State) -> View:
    """The three spectra, and the IA of each."""
    tables, factors, favours = data["choices"]
    table, factor, favoured = (
        values.index(state[name])
        for name, values in (("table", tables), ("factor", factors), ("favours", favours))
    )
    spectra = {
        "table": unpacked(data["tables"], len(tables), WIDTH)[table],
        "projection": unpacked(data["projections"], len(factors), WIDTH)[factor],
        "seen": unpacked(data["seen"], len(tables), len(factors), len(favours), WIDTH)[
            table, factor, favoured
        ],
    }
    names = {"table": "table E", "projection": "projection W", "seen": "sub-embedding E Wᵀ"}
    marks, readout = [], [["", "IA", "IA/K"]]
    for like, spectrum in spectra.items():
        marks.append(
            {"like": like, "name": names[like], "x": [*range(1, WIDTH + 1)], "y": spectrum.tolist()}
        )
        abundance = information_abundance(torch.from_numpy(spectrum)).item()
        share = abundance / WIDTH
        readout.append([names[like], f"{abundance + UP:.2f}", f"{share + UP:.2f}"])
    return View(marks, readout)
