"""An explorer's first state without a script: a small SVG of its figure, and its readout.

The SVG knows what explorers draw (lines, bands, dots, bars, heat-maps, on linear, logarithmic and
named axes). It travels as an image, which Jupyter shows even of a notebook that it does not trust.
"""

import base64
import html
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from embedding_collapse.book.plots.style import FAINT, NEUTRAL

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 90, 20, 24, 64  # room around the plot
INK = NEUTRAL
SHADES = 24  # of a heat-map


def as_json(content: Any) -> str:
    """Content for a script, in which no element of HTML can end."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def table(rows: Sequence[Sequence[str]]) -> str:
    """A readout as an HTML table, its first row the head."""
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
    parts = f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody>"
    return f'<table class="ec-readout">{parts}</table>'


def key(figure: go.Figure) -> str:
    """The legend of a figure as a line of HTML."""
    traces = [trace for trace in figure.to_plotly_json()["data"] if trace.get("showlegend", True)]
    entries = "".join(
        f'<span><span style="color:{_colour(trace)}" aria-hidden="true">■</span> '
        f"{_plain(trace['name'])}</span> "
        for trace in traces
        if "name" in trace
    )
    return f'<p class="ec-key">{entries}</p>' if entries else ""


def image(figure: go.Figure, alt: str) -> str:
    """The figure as an HTML image with that description."""
    content = base64.b64encode(svg(figure).encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{content}" alt="{html.escape(alt)}" width="100%">'


def svg(figure: go.Figure) -> str:
    """The figure as SVG."""
    content = figure.to_plotly_json()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for trace in content["data"]:
        groups.setdefault((trace.get("xaxis", "x"), trace.get("yaxis", "y")), []).append(trace)
    drawn = "".join(
        _panel(traces, *(content["layout"].get(f"{axis[0]}axis{axis[1:]}", {}) for axis in axes))
        for axes, traces in groups.items()
    )
    notes = "".join(
        _text(LEFT + note["x"] * (WIDTH - LEFT - RIGHT), TOP - 8, note["text"])
        for note in content["layout"].get("annotations", [])
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" fill="{INK}" '
        f'font-family="sans-serif" font-size="11">{drawn}{notes}</svg>'
    )


class _Axis:
    """From values to pixels, and where the ticks are."""

    def __init__(self, layout: dict[str, Any], values: list[Any], start: float, end: float) -> None:
        self.start, self.end = start, end
        self.log = layout.get("type") == "log"
        self.names = list(dict.fromkeys(values)) if isinstance(values[0], str) else None
        if self.names is not None:
            self.low, self.high = -0.5, len(self.names) - 0.5
            step = -(-len(self.names) // 30)
            self.ticks = [(name, name) for name in self.names[::step]]
            return
        places = [self._place(value) for value in values]
        low, high = min(places), max(places)
        margin = 0.05 * (high - low) or 0.5
        self.low, self.high = layout.get("range", (low - margin, high + margin))
        if "tickvals" in layout:
            self.ticks = list(zip(layout["tickvals"], layout["ticktext"], strict=True))
        elif self.log:
            tens = range(int(np.ceil(self.low)), int(self.high) + 1)
            self.ticks = [(10.0**ten, f"{10**ten:,}") for ten in tens if ten % 2 == 0]
        else:
            self.ticks = [(float(v), f"{v:.4g}") for v in np.linspace(self.low, self.high, 5)]

    def _place(self, value: Any) -> float:
        if self.names is not None:
            return self.names.index(value)
        return float(np.log10(value)) if self.log else value

    def __call__(self, value: Any, shift: float = 0) -> float:
        share = (self._place(value) + shift - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _panel(traces: list[dict[str, Any]], across: dict[str, Any], up: dict[str, Any]) -> str:
    first, last = across.get("domain", (0, 1))
    room = WIDTH - LEFT - RIGHT
    xs = [value for trace in traces for value in trace["x"]]
    ys = [value for trace in traces for value in trace["y"]]
    x = _Axis(across, xs, LEFT + first * room, LEFT + last * room)
    y = _Axis(up, ys, HEIGHT - BOTTOM, TOP)
    frame = (
        f'<rect x="{x.start:.1f}" y="{y.end}" width="{x.end - x.start:.1f}" '
        f'height="{y.start - y.end}" fill="none" stroke="{INK}" stroke-opacity=".4"/>'
    )
    marks = "".join(_mark(trace, x, y) for trace in traces)
    named = x.names is not None and len(x.names) > 8
    ticks = "".join(
        _text(x(value), y.start + 14, text, turned=named) for value, text in x.ticks
    ) + "".join(_text(x.start - 4, y(value) + 4, text, "end") for value, text in y.ticks)
    titles = [axis.get("title", {}).get("text", "") for axis in (across, up)]
    label = "" if named else _text((x.start + x.end) / 2, y.start + 34, titles[0])
    label += _text(4, y.end - 8, titles[1], "start") if first == 0 else ""
    return frame + marks + ticks + label


def _mark(trace: dict[str, Any], x: _Axis, y: _Axis) -> str:
    kind, colour = trace["type"], _colour(trace)
    if kind == "heatmap":
        return _cells(trace, x, y)
    if kind == "bar":
        colours = [colour] * len(trace["x"]) if isinstance(colour, str) else colour
        return "".join(
            f'<path fill="{shade}" d="M{x(name, -0.35)} {y(0)}V{y(value)}H{x(name, 0.35)}V{y(0)}"/>'
            for name, value, shade in zip(trace["x"], trace["y"], colours, strict=True)
        )
    places = [(x(a), y(b)) for a, b in zip(trace["x"], trace["y"], strict=True)]
    if trace["mode"] == "markers":
        dots = "".join(f"M{a} {b}h.01" for a, b in places)
        return f'<path stroke="{colour}" stroke-width="7" stroke-linecap="round" d="{dots}"/>'
    path = "M" + "L".join(f"{a} {b}" for a, b in places)
    if trace.get("fill") == "toself":
        return f'<path fill="{trace["fillcolor"]}" d="{path}Z"/>'
    return f'<path fill="none" stroke="{colour}" stroke-width="2" d="{path}"/>'


def _cells(trace: dict[str, Any], x: _Axis, y: _Axis) -> str:
    """One path per shade, so that a large map stays a small image."""
    shades: dict[int, str] = {}
    for row, values in zip(trace["y"], trace["z"], strict=True):
        for column, value in zip(trace["x"], values, strict=True):
            corner = f"M{x(column, -0.5)} {y(row, -0.5)}H{x(column, 0.5)}V{y(row, 0.5)}"
            shade = round(value / trace["zmax"] * (SHADES - 1))
            shades[shade] = shades.get(shade, "") + f"{corner}H{x(column, -0.5)}"
    colours = sample_colorscale(trace["colorscale"], [s / (SHADES - 1) for s in shades])
    return "".join(
        f'<path fill="{colour}" d="{path}"/>'
        for colour, path in zip(colours, shades.values(), strict=True)
    )


def _colour(trace: dict[str, Any]) -> str | list[str]:
    """The colour of a trace, or those of its bars."""
    if "fillcolor" in trace:
        return trace["fillcolor"].replace(f"{FAINT})", "0.5)")
    for part in ("line", "marker"):
        if "color" in trace.get(part, {}):
            return trace[part]["color"]
    return INK


def _text(x: float, y: float, text: str, anchor: str = "middle", turned: bool = False) -> str:
    turn = f' transform="rotate(-40 {x} {y:.1f})"' if turned else ""
    anchor = "end" if turned else anchor
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{_plain(text)}</text>'


def _plain(text: str) -> str:
    """A figure's text, in which plotly takes some of HTML for markup, as HTML without it."""
    return html.escape(html.unescape(text.replace("<sub>", "").replace("</sub>", "")))
