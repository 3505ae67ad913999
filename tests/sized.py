"""A study's runs, made by hand: every size on two data sets, better the larger."""

from collections.abc import Callable
from dataclasses import replace

from embedding_collapse.lab.records import Record
from embedding_collapse.lab.studies.decide import (
    BASE,
    DRAWN,
    FLIGHTS,
    ME4,
    ME10,
    SE4,
    SE10,
    TELLING,
    cells,
)

AUCS = {BASE: 0.80, SE4: 0.81, ME4: 0.83, SE10: 0.815, ME10: 0.84}


def runs_of_sizes(make_record: Callable[..., Record]) -> list[Record]:
    """Three seeds of every size on two data sets, and of other settings one that is no part."""
    made = []
    for data in (FLIGHTS, DRAWN):
        for spec in cells([data], TELLING, list(AUCS), range(3)):
            auc = AUCS[spec.design, spec.scale] + spec.seed / 2000
            like = make_record(spec.design, spec.scale, spec.seed, auc=auc)
            dataset = like.dataset | {"name": data.name, "rows": 920_000}
            made.append(replace(like, key=spec.key, spec=spec.written(), dataset=dataset))
    (other,) = cells([FLIGHTS], ["dnn"], [BASE], [0], dropout=0.5)
    return [*made, replace(made[0], key=other.key, spec=other.written())]
