"""Embedding collapse in recommendation models: measure it, watch it, train with several sets.

The public names; each is imported, with what it needs, when it is first used.

- `measure`: the verdict of a table.
- `inspect`: the tables of a checkpoint.
- `CollapseMonitor`: a model's tables while it is trained.
- `MultiEmbedding`: several embedding sets around modules of one's own.

With the extra `lab`:

- `load_dataset`: a dataset by name.
- `Spec`, `run`, `load_records`: a run, what makes its record, and the records in folders.
- `load_scorer`: the model of a record, to score new rows.
- `study`: a named list of runs and the question that they answer.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .collapse import measure
    from .inspection.report import inspect
    from .lab.data import load as load_dataset
    from .lab.experiment import run
    from .lab.records import load_all as load_records
    from .lab.scoring import load_scorer
    from .lab.spec import Spec
    from .lab.studies import study
    from .monitor import CollapseMonitor
    from .multi_embedding import MultiEmbedding

    __version__: str

# After an operation torch's threads wait for the next at full load, for milliseconds, on the cores
# that passes compiled by Numba want: a tenth of a step of DCNv2, ME 10x. Torch reads this as it is
# loaded; where it has been before, nothing changes.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")  # a tenth of one

__all__ = [
    "CollapseMonitor",
    "MultiEmbedding",
    "Spec",
    "__version__",
    "inspect",
    "load_dataset",
    "load_records",
    "load_scorer",
    "measure",
    "run",
    "study",
]

_PLACES = {  # the module of a name, and the name there
    "CollapseMonitor": ("monitor", "CollapseMonitor"),
    "MultiEmbedding": ("multi_embedding", "MultiEmbedding"),
    "Spec": ("lab.spec", "Spec"),
    "inspect": ("inspection.report", "inspect"),
    "load_dataset": ("lab.data", "load"),
    "load_records": ("lab.records", "load_all"),
    "load_scorer": ("lab.scoring", "load_scorer"),
    "measure": ("collapse", "measure"),
    "run": ("lab.experiment", "run"),
    "study": ("lab.studies", "study"),
}


if not TYPE_CHECKING:  # to whom any name would do then

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value = version("embedding-collapse")
        elif name in _PLACES:
            from .parameters import import_part

            module, there = _PLACES[name]
            value = getattr(import_part(f"{__name__}.{name}", f"{__name__}.{module}", "lab"), there)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value  # the next time it is there
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
