"""Normalised spectra, and courses over checkpoints, as a small inline SVG."""

from collections.abc import Iterable, Sequence
from html import escape

from torch import Tensor

from embedding_collapse.verdict import Collapse

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 350, 28, 166  # of the axes, in the picture's own units


def spectra(labelled: Sequence[tuple[str, Collapse]], name: str, most: int = 128) -> str:
    """The spectra of a table, one line per set, beside that of a random table of its shape.

    Args:
        labelled: one or two of a label ("" for a single one, else "A" and "B") and a measured
            table.
        name: of the table, for those who cannot see it.
        most: points of a line, about.
    """
    lines, legend = [], []
    for position, (label, table) in enumerate(labelled):
        kind = "ab"[position]
        assert table.random is not None and table.spectra is not None  # it was measured
        lines.append(_line(table.random, f"random {kind}", most))
        lines += [_line(spectrum, f"measured {kind}", most) for spectrum in table.spectra]
        legend.append((f"measured {kind}", label or "this table"))
    legend.append(("random a", "random"))
    entries = "".join(
        f'<g transform="translate({LEFT + 90 * i},11)"><line x2="18" class="{kind}"/>'
        f'<text x="24" y="4">{escape(text)}</text></g>'
        for i, (kind, text) in enumerate(legend)
    )
    means = ", ".join(
        f"{label + ' ' if label else ''}IA {table.measures['abundance']:.2f} of {table.width}"
        for label, table in labelled
    )
    alt = f"Normalised singular values of {name}: {means}"
    return framed([*_axes(), *lines, entries], alt)


def grid(cards: Iterable[str]) -> str:
    """Cards beside and below each other."""
    return f'<div class="cards">{"".join(cards)}</div>'


def framed(parts: Iterable[str], alt: str) -> str:
    """A picture of these parts within its two axes, and what it tells those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(alt, quote=True)}">'
        f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>{"".join(parts)}</svg>'
    )


def level(value: float, share: float, kind: str) -> str:
    """A line across at that share of the height, and beside it the value that it stands for."""
    _, y = place(0, share)
    return (
        f'<line class="{kind}" x1="{LEFT}" x2="{RIGHT}" y1="{y:g}" y2="{y:g}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{value:g}</text>'
    )


def under(x: float, text: str, anchor: str = "middle") -> str:
    """A text below the axis, at that share of the width."""
    at, _ = place(x, 0)
    return f'<text x="{at:g}" y="{BOTTOM + 15}" text-anchor="{anchor}">{escape(text)}</text>'


def _axes() -> list[str]:
    parts = [level(share, share, "grid") + under(share, f"{share:g}") for share in (0, 0.5, 1)]
    middle = (LEFT + RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">direction k / K</text>')
    down = (TOP + BOTTOM) / 2
    parts.append(
        f'<text transform="translate(10,{down}) rotate(-90)" text-anchor="middle">σₖ / σ₁</text>'
    )
    return parts


def _line(spectrum: Tensor, kind: str, most: int) -> str:
    """A spectrum as a line; a long one is thinned to points at equal distances."""
    width = len(spectrum)
    top = spectrum.max().item() or 1.0
    step = max(1, -(-width // most))
    kept = sorted({*range(0, width, step), width - 1})
    points = " ".join(
        "{:.1f},{:.1f}".format(*place((k + 1) / width, spectrum[k].item() / top)) for k in kept
    )
    return f'<polyline class="{kind}" points="{points}"/>'


def place(x: float, y: float) -> tuple[float, float]:
    """From shares of the axes to the picture's units."""
    return LEFT + x * (RIGHT - LEFT), BOTTOM - y * (BOTTOM - TOP)
