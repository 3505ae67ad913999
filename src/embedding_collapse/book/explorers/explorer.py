"""What an explorer is: controls, the data that they act on, and a view of both.

A view is a pure function of data and state. It exists once in Python, for a live kernel, and once
in the book's script (`book/_static/explorers.js`), for a page without one; titles, controls, data
and the look of everything drawn are stated here alone and travel with the page. A browser test
holds the two to the same numbers.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from embedding_collapse.book.plots.style import as_text
from embedding_collapse.lab.records import Record

State = dict[str, Any]
Options = Sequence[tuple[Any, str]]  # values and their names
LEVELS = 65_535  # shares are stored in 16 bits


class Control(NamedTuple):
    """One thing to turn.

    Attributes:
        kind: "choice", a menu; "slider"; "presets", buttons that set other controls; or "pin", a
            button that keeps a copy of the state to compare with, and takes it away again.
        name: of the value in the state.
        label: what the reader sees.
        options: the values and their names; of presets, the changes of the state and their names.
            Where they depend on another control, a mapping from that one's value to them.
        by: the name of that other control.
    """

    kind: str
    name: str
    label: str
    options: Options | Mapping[str, Options] = ()
    by: str = ""

    def choices(self, state: State) -> Options:
        """The options that there are in a state."""
        options = self.options
        return options[str(state[self.by])] if isinstance(options, Mapping) else options


class View(NamedTuple):
    """What an explorer shows in one state.

    Attributes:
        marks: what is drawn: numbers in plotly's terms, and under "like" the name of a style.
        readout: a table of text, row by row, its first row the head.
        layout: what differs from the explorer's own layout.
    """

    marks: list[dict[str, Any]]
    readout: list[list[str]]
    layout: Mapping[str, Any] = MappingProxyType({})


class Step(NamedTuple):
    """One of the three to five things that an explorer shows a reader, in order.

    Attributes:
        text: what this step is about.
        look: what is to be seen in it; a test holds its numbers to the readout.
        change: of the state that the explorer starts with.
    """

    text: str
    look: str
    change: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Explorer:
    """One explorer.

    Attributes:
        name: of it, and of its view in the book's script.
        title, alt: what it asks, and what its figure shows.
        controls: in the order of the page.
        start: the state to begin with.
        data: what the view needs, ready for JSON.
        styles: plotly traces without their numbers, by name.
        layout: of the figure, in plotly's terms.
        view: from data and state to what is shown.
        height: of the figure, in pixels.
        sources: the runs that the data come from.
        steps: what to see in it, the last of which answers the title; none over runs of which
            nobody has said what they show.
    """

    name: str
    title: str
    alt: str
    controls: Sequence[Control]
    start: State
    data: dict[str, Any]
    styles: dict[str, dict[str, Any]]
    layout: dict[str, Any]
    view: Callable[[dict[str, Any], State], View]
    height: int = 400
    sources: Sequence[Record] = ()
    steps: Sequence[Step] = ()

    def at(self, number: int) -> State:
        """The state that a step shows; the first is number 0."""
        return self.start | dict(self.steps[number].change)

    def changed(self, state: State, name: str, value: Any) -> State:
        """The state after one control was turned.

        A control whose options no longer hold its value goes to the last of them.
        """
        control = next(control for control in self.controls if control.name == name)
        if control.kind == "presets":
            return state | value
        if control.kind == "pin":
            copy = {key: kept for key, kept in state.items() if key != name}
            return state | {name: copy if value else None}
        state = state | {name: value}
        for dependent in self.controls:
            if dependent.by == name:
                values = [option for option, _ in dependent.choices(state)]
                if state[dependent.name] not in values:
                    state[dependent.name] = values[-1]
        return state

    def figure(self, view: View) -> go.Figure:
        """What a view draws, as a plotly figure."""
        traces = []
        for mark in view.marks:
            numbers = {key: _without_markup(value) for key, value in mark.items() if key != "like"}
            traces.append(self.styles[mark["like"]] | numbers)
        layout = self.layout | _without_markup(dict(view.layout))
        return go.Figure({"data": traces, "layout": layout})


def _without_markup(value: Any) -> Any:
    """Text that plotly draws as it stands, save for line breaks: it may hold somebody's name of a
    field."""
    if isinstance(value, str):
        return "<br>".join(map(as_text, value.split("<br>")))
    if isinstance(value, dict):
        return {key: _without_markup(part) for key, part in value.items()}
    return [_without_markup(part) for part in value] if isinstance(value, list) else value


def by_cardinality(dataset: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Fields as options, from few features to many."""
    names, sizes = dataset["fields"], dataset["cardinalities"]
    order = sorted(range(len(names)), key=sizes.__getitem__)
    return [(i, f"{names[i]} ({sizes[i]:,})") for i in order]


def by_design(labels: Iterable[str]) -> list[str]:
    """The labels of runs, each once: base, then SE, then ME, from small to large."""
    order = ["base", "SE", "ME"]
    return sorted(dict.fromkeys(labels), key=lambda label: order.index(label.split()[0]))


def signed(value: float, digits: int) -> str:
    """A change: with its sign, of which a minus is one, and so many decimals."""
    return f"{value:+.{digits}f}".replace("-", "−")


def packed(shares: np.ndarray) -> str:
    """Numbers from 0 to 1 as text: 16 bits each, in base 64."""
    levels = np.rint(np.asarray(shares, dtype=float) * LEVELS).astype("<u2")
    return base64.b64encode(levels.tobytes()).decode()


def unpacked(text: str, *shape: int) -> np.ndarray:
    """What was packed, as float64 of that shape."""
    return np.frombuffer(base64.b64decode(text), dtype="<u2").reshape(shape) / LEVELS
