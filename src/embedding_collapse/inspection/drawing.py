"""Normalised spectra as a small inline SVG."""

from collections.abc import Sequence
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
    alt = escape(f"Normalised singular values of {name}: {means}", quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alt}">{_axes()}'
        f"{''.join(lines)}{entries}</svg>"
    )


def _axes() -> str:
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>']
    for share in (0, 0.5, 1):
        x, y = _place(share, share)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{share:g}</text>')
        parts.append(f'<text x="{x:g}" y="{BOTTOM + 15}" text-anchor="middle">{share:g}</text>')
    middle = (LEFT + RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">direction k / K</text>')
    down = (TOP + BOTTOM) / 2
    parts.append(
        f'<text transform="translate(10,{down}) rotate(-90)" text-anchor="middle">σₖ / σ₁</text>'
    )
    return "".join(parts)


def _line(spectrum: Tensor, kind: str, most: int) -> str:
    """A spectrum as a line; a long one is thinned to points at equal distances."""
    width = len(spectrum)
    top = spectrum.max().item() or 1.0
    step = max(1, -(-width // most))
    kept = sorted({*range(0, width, step), width - 1})
    points = " ".join(
        "{:.1f},{:.1f}".format(*_place((k + 1) / width, spectrum[k].item() / top)) for k in kept
    )
    return f'<polyline class="{kind}" points="{points}"/>'


def _place(x: float, y: float) -> tuple[float, float]:
    """From shares of the axes to the picture's units."""
    return LEFT + x * (RIGHT - LEFT), BOTTOM - y * (BOTTOM - TOP)
