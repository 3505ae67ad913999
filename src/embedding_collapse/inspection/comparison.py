"""Two checkpoints side by side, table by table."""

import re
from collections import Counter

from embedding_collapse.collapse import MEASURES
from embedding_collapse.parameters import short

from .report import Inspection, number

WRAPPERS = re.compile(r"^((module|_orig_mod|state_dict)\.)+")  # of DDP, torch.compile, trainers
NO_MATCH = "no table of A has the name of a table of B, so none is compared"


def names_alike(first: Inspection, second: Inspection) -> list[dict[str, str]]:
    """For each checkpoint its tables' names and by which they are matched: where they do not as
    they are, without what DDP and `torch.compile` put before them, unless two would then be one."""
    both = [[table.name for table in one.tables] for one in (first, second)]
    shared = set(both[0]) & set(both[1])
    alike = []
    for names in both:
        bare = {name: name if name in shared else WRAPPERS.sub("", name) for name in names}
        times = Counter(bare.values())
        alike.append({name: new if times[new] == 1 else name for name, new in bare.items()})
    return alike


def comparison(first: Inspection, second: Inspection) -> list[dict[str, str]]:
    """A row per table, matched by name; a dash where one lacks it.

    What is compared is IA/random with the mean of the rows taken off, which the verdicts go by; and
    with rows weighted, where any are.
    """
    ours, theirs = (
        {names[table.name]: table for table in one.tables}
        for one, names in zip((first, second), names_alike(first, second), strict=True)
    )
    kinds = ["centred"]
    if any(table.weighted for table in [*first.tables, *second.tables]):
        kinds.append("weighted")
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        pair = {"A": ours.get(name), "B": theirs.get(name)}
        row = {"table": short(name)}
        for label, table in pair.items():
            measures = table.measures if table else {}
            row[f"{MEASURES['relative_abundance']} {label}"] = number(
                measures, "relative_abundance"
            )
        for kind in kinds:
            shares = []
            for label, table in pair.items():
                measures = getattr(table, kind, None) or {}
                row[f"IA/random, {kind} {label}"] = number(measures, "against_random")
                shares += [measures["against_random"]] if measures else []
            row[f"B - A, {kind}"] = f"{shares[1] - shares[0]:+.3f}" if len(shares) == 2 else "-"
        for label, table in pair.items():
            row[f"verdict {label}"] = table.verdict if table else "-"
        rows.append(row)
    return rows


def unmatched(first: Inspection, second: Inspection) -> str:
    """That no table of the one is in the other, if none is."""
    ours, theirs = (set(names.values()) for names in names_alike(first, second))
    return "" if ours & theirs else NO_MATCH
