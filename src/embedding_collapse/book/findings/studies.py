"""Studies outside the grid: runs that differ in other things than model, design and scale."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from embedding_collapse.lab.data.dataset import split_sizes
from embedding_collapse.lab.experiment import Spec, parameter_counts
from embedding_collapse.lab.groups import IN_WORDS, auc_change, by_cell, spread
from embedding_collapse.lab.metrics import Difference
from embedding_collapse.lab.models import MODELS
from embedding_collapse.lab.records import Record
from embedding_collapse.parameters import ParameterError

from .comparisons import Measure, abundance, decline, fair_abundance

Groups = Mapping[str, Sequence[Record]]  # runs of several seeds by what they are called
Pairs = Mapping[str, tuple[str, str]]  # two such names, new and old, by what the pair is called


def group_by(records: Iterable[Record], *names: str) -> dict[tuple, list[Record]]:
    """Records grouped by parameters of their specs, ordered by them; in a group by seed.

    Args:
        records: any runs.
        names: of the parameters; `rows` is the number that the dataset has, also where the spec
            says "all".

    Returns:
        From the parameters' values, in the order of `names`, to the runs.

    Raises:
        ValueError: runs of one group that differ in more than the seed.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(_value(record, name) for name in names), []).append(record)
    for values, group in groups.items():
        group.sort(key=lambda record: record.spec["seed"])
        for name in group[0].spec:
            found = {_value(record, name) for record in group}
            if name != "seed" and len(found) > 1:
                raise ValueError(
                    f"runs of {dict(zip(names, values, strict=True))} differ in {name}: "
                    f"{sorted(map(str, found))}; group them by it too"
                )
    return {values: groups[values] for values in sorted(groups)}


def where(records: Iterable[Record], **parameters: Any) -> list[Record]:
    """The runs whose specs have these parameters; `rows` as in `group_by`.

    A record that is older than a parameter has None for it.
    """
    return [
        record
        for record in records
        if all(_value(record, name) == value for name, value in parameters.items())
    ]


def _value(record: Record, name: str) -> Any:
    return record.dataset["rows"] if name == "rows" else record.spec.get(name)


def with_parameters(spec: Spec, cardinalities: Sequence[int], parameters: int) -> Spec:
    """The spec with that embedding size at which its model comes closest to so many parameters.

    Args:
        spec: the model, its design and scale; its own embedding size does not matter.
        cardinalities: features per field.
        parameters: of embedding, interaction and head together.

    Raises:
        ParameterError: fewer parameters than the model has at embedding size 1.
    """

    def count(size: int) -> int:
        return sum(parameter_counts(replace(spec, embedding_size=size), cardinalities).values())

    if count(1) > parameters:
        raise ParameterError(
            f"parameters is {parameters}; {MODELS[spec.model].name} {spec.label} has {count(1):,} "
            "at embedding size 1, and no fewer"
        )
    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= parameters else (low, middle)
    closest = min((low, high), key=lambda size: abs(count(size) - parameters))
    return replace(spec, embedding_size=closest)


def twins(records: Iterable[Record], me: Sequence[Record]) -> tuple[int, list[Record]]:
    """The width of SE that has as many parameters as these runs of ME, and the runs of it.

    Args:
        records: to look among.
        me: runs of one cell.

    Returns:
        The embedding size that `with_parameters` finds for one set, and the runs of one set that
        wide which share all else with `me`: data, model and hyper-parameters; none if there are
        none.
    """
    one = me[0]
    alike = Spec.read(one.spec | {"design": "se", "scale": 1})
    width = with_parameters(alike, one.dataset["cardinalities"], total_parameters(me))
    free = {"design", "scale", "embedding_size", "seed", "rows"}
    found = [
        record
        for record in records
        if record.dataset["fingerprint"] == one.dataset["fingerprint"]
        and np.shape(record.spectra[0]) == (1, width.embedding_size)
        and all(record.spec.get(name) == one.spec[name] for name in one.spec if name not in free)
    ]
    return width.embedding_size, found


def overview(groups: Groups) -> pd.DataFrame:
    """One row per group: parameters, test AUC and IA against random tables (means and standard
    deviations over seeds), and epochs and training steps up to the best epoch."""
    rows = {}
    for name, group in groups.items():
        abundance = [record.abundance_against_random.mean().item() for record in group]
        best = [record.best_epoch + 1 for record in group]
        steps = split_sizes(group[0].dataset["rows"])[0] / group[0].spec["batch_size"]  # an epoch's
        rows[name] = {
            "parameters": f"{total_parameters(group):,}",
            "test AUC": spread([record.test["auc"] for record in group]),
            "IA / random": spread(abundance),
            "best epoch": f"{np.mean(best):.1f} of {group[0].spec['epochs']}",
            "steps": f"{np.mean(best) * steps:,.0f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def total_parameters(group: Sequence[Record]) -> int:
    """Of embedding, interaction and head; all runs of a group have the same number."""
    return sum(group[0].parameters.values())


MEASURES: dict[str, tuple[Callable[[Record], float], Measure]] = {
    "test AUC": (lambda record: record.test["auc"], auc_change),
    "IA / random": (
        lambda record: record.abundance_against_random.mean().item(),
        fair_abundance,
    ),
    "IA / K": (lambda record: record.relative_abundance.mean().item(), abundance),
}


def changes(groups: Groups, pairs: Pairs, measure: str = "test AUC") -> dict[str, Difference]:
    """The difference of every pair of groups, new minus old, by what the pair is called.

    Args:
        groups: runs by name.
        pairs: two names each, new and old; a pair that lacks runs is left out.
        measure: one of `MEASURES`.

    Raises:
        ValueError: a pair of groups on different data.
    """
    found = {}
    for label, (new, old) in pairs.items():
        if groups.keys() >= {new, old}:
            if groups[new][0].dataset["fingerprint"] != groups[old][0].dataset["fingerprint"]:
                raise ValueError(
                    f"{new} and {old} are runs on different data; they can't be paired"
                )
            found[label] = MEASURES[measure][1](groups[new], groups[old])
    return found


def contrasts(
    groups: Groups,
    pairs: Pairs,
    measures: Sequence[str] = ("test AUC", "IA / random"),
    columns: tuple[str, str] = ("new", "old"),
) -> list[pd.DataFrame]:
    """Pairs of groups side by side, a table per measure and a row per pair; see `changes`.

    Args:
        columns: what to call the two sides.
    """
    tables = []
    for measure in measures:
        value, _ = MEASURES[measure]
        rows = {}
        for label, change in changes(groups, pairs, measure).items():
            means = [np.mean([value(record) for record in groups[name]]) for name in pairs[label]]
            sides = {side: f"{mean:.4f}" for side, mean in zip(columns, means, strict=True)}
            rows[label] = sides | in_columns(change)
        tables.append(_titled(rows, measure))
    return tables


def in_columns(change: Difference) -> dict[str, str]:
    """A difference as the columns of a table: itself, its interval, and its verdict."""
    if not np.isfinite(change.high - change.low):
        return {"difference": _signed(change.mean), "95% interval": "", "verdict": "not known"}
    return {
        "difference": _signed(change.mean),
        "95% interval": f"{_signed(change.low)} to {_signed(change.high)}",
        "verdict": IN_WORDS[change.verdict],
    }


def tallied(cells: Mapping[str, Groups], pairs: Pairs, measure: str = "test AUC") -> str:
    """The `tally` of pairs on several datasets.

    Args:
        cells: groups by dataset.
    """
    of = (changes(groups, pairs, measure).values() for groups in cells.values())
    return tally(change for found in of for change in found)


def as_table(differences: Mapping[str, Difference], title: str) -> pd.DataFrame:
    """Differences by name, a row each; the title stands in the corner."""
    return _titled({name: in_columns(change) for name, change in differences.items()}, title)


def _signed(value: float) -> str:
    return f"{value:+z.4f}".replace("-", "\u2212")


def _titled(rows: Mapping[str, Mapping[str, str]], title: str) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=title)


def tally(differences: Iterable[Difference]) -> str:
    """How differences came out: "2 higher, 1 lower, 3 inside the noise (of 6)"."""
    verdicts = [difference.verdict for difference in differences]
    parts = [f"{verdicts.count(v)} {word}" for v, word in IN_WORDS.items() if v in verdicts]
    return f"{', '.join(parts) or 'none'} (of {len(verdicts)})"


def named(records: Iterable[Record], dataset: str) -> dict[str, list[Record]]:
    """The cells of one dataset, by model and size: "DCNv2 ME 10x"."""
    cells = by_cell(record for record in records if record.spec["dataset"] == dataset)
    return {f"{MODELS[cell.model].name} {cell.label}": group for cell, group in cells.items()}


def change_of(later: Difference, earlier: Difference) -> Difference:
    """A difference minus another that is independent of it.

    The reaches of their 95% intervals add up in squares, which is exact for normal noise and a
    little too wide for few runs.
    """
    mean = later.mean - earlier.mean
    reach = float(np.hypot(later.high - later.low, earlier.high - earlier.low) / 2)
    return Difference(mean, mean - reach, mean + reach)


def by_rows(records: Iterable[Record]) -> dict[int, dict[str, list[Record]]]:
    """From the number of rows to base, SE and ME at one scale, by label."""
    found: dict[int, dict[str, list[Record]]] = {}
    for (rows, *_), group in group_by(records, "rows", "scale", "design").items():
        found.setdefault(rows, {})[group[0].label] = group
    return {rows: dict(sorted(groups.items(), key=_base_se_me)) for rows, groups in found.items()}


def _base_se_me(item: tuple[str, Sequence[Record]]) -> tuple[int, bool]:
    spec = item[1][0].spec
    return spec["scale"], spec["design"] == "me"


def gains_by_rows(groups: Mapping[int, Groups], measure: str) -> dict[str, pd.DataFrame]:
    """Does a gain depend on the number of rows? A table for SE against base, one for ME against
    SE; their last rows say how far the gain moves from the fewest rows to the most.

    Args:
        groups: from `by_rows`; base, SE and ME at every number of rows.
        measure: one of `MEASURES`.
    """
    base, se, me = next(iter(groups.values()))
    tables = {}
    for new, old in ((se, base), (me, se)):
        of = {rows: changes(here, {new: (new, old)}, measure)[new] for rows, here in groups.items()}
        rows = {}
        for count, here in groups.items():
            (table,) = contrasts(here, {f"{count:,} rows": (new, old)}, [measure])
            rows |= table.to_dict("index")
        first, last = of[min(of)], of[max(of)]
        sides = {"new": _signed(last.mean), "old": _signed(first.mean)}
        rows["most − fewest"] = sides | in_columns(change_of(last, first))
        tables[f"{new} (new) against {old} (old)"] = _titled(rows, measure)
    return tables


def course(groups: Groups) -> pd.DataFrame:
    """How training went, one row per group: training loss in the first and the last epoch,
    validation AUC in the best and the last, and how far it fell in between (means over seeds)."""
    rows = {}
    for name, group in groups.items():
        losses = np.mean([[r.epochs[at]["train_loss"] for at in (0, -1)] for r in group], axis=0)
        best = np.mean([r.epochs[r.best_epoch]["valid_auc"] for r in group])
        last = np.mean([r.epochs[-1]["valid_auc"] for r in group])
        rows[name] = {
            "training loss": f"{losses[0]:.4f} → {losses[1]:.4f}",
            "best epoch": f"{np.mean([r.best_epoch + 1 for r in group]):.1f}",
            "AUC, best": f"{best:.4f}",
            "last": f"{last:.4f}",
            "fall": f"{best - last:.4f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def peaks(records: Iterable[Record]) -> pd.DataFrame:
    """How many runs of a cell had their best epoch first: one row per dataset and model, one
    column per design and scale, "2 of 3"."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell, group in by_cell(records).items():
        early = sum(record.best_epoch == 0 for record in group)
        row = rows.setdefault((cell.dataset, MODELS[cell.model].name), {})
        row[cell.label] = f"{early} of {len(group)}"
    found = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    return found.set_index(pd.MultiIndex.from_tuples(found.index))


def peaks_in_words(records: Iterable[Record]) -> str:
    """Which cells overfit from the second epoch on, in every seed? In Markdown, by dataset."""
    cells: dict[str, list[tuple[str, bool]]] = {}
    for cell, group in by_cell(records).items():
        name = f"{MODELS[cell.model].name} {cell.label}"
        cells.setdefault(cell.dataset, []).append((name, all(r.best_epoch == 0 for r in group)))
    lines = []
    for dataset, found in cells.items():
        early = [name for name, first in found if first]
        line = f"- **{dataset}.** {len(early)} of {len(found)} cells peak after the first epoch"
        lines.append(line + " in every seed" + (f": {', '.join(early)}." if early else "."))
    return "\n".join(lines)


def falls(records: Iterable[Record]) -> dict[str, dict[str, Difference]]:
    """How far validation AUC falls after its best epoch, ME minus SE of the same size: by dataset,
    then by model and scale."""
    cells = by_cell(records)
    found: dict[str, dict[str, Difference]] = {}
    for cell, group in cells.items():
        se = cells.get(cell._replace(design="se"))
        if cell.design == "me" and se:
            name = f"{MODELS[cell.model].name} {cell.scale}x"
            found.setdefault(cell.dataset, {})[name] = decline(group, se)
    return found


def falls_in_words(of: Mapping[str, Difference]) -> str:
    """Does validation AUC fall less in ME than in SE? A sentence on one dataset's `falls`."""
    less, more = (sum(d.verdict == way for d in of.values()) for way in ("lower", "higher"))
    told = f"Of {len(of)} pairs ME falls less in {less} and more in {more}"
    return f"{told}; {len(of) - less - more} are inside the noise."
