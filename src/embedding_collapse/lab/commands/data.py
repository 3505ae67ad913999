"""`data`: a dataset, loaded into the cache, and what is in it."""

import argparse
import shlex

from embedding_collapse.options import print_result
from embedding_collapse.parameters import printable

from .. import processes
from ..data import DATASETS, Dataset, load_spec, summarise
from .arguments import add_options_of_data, data_of


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `data`."""
    command.description = "\n".join(f"{name}: {about}" for name, about in DATASETS.items())
    command.add_argument("dataset", metavar="DATASET", help=", ".join(DATASETS))
    add_options_of_data(command)
    command.add_argument(
        "--cache",
        metavar="FOLDER",
        help="where encoded data are kept ($EMBEDDING_COLLAPSE_CACHE, where every command looks, "
        "or ~/.cache/embedding-collapse)",
    )
    command.add_argument(
        "--workers", type=int, metavar="W", help="threads; one per core by default"
    )


def execute(parsed: argparse.Namespace) -> int:
    """Load a dataset and print what is in it."""
    with processes.without_notes():  # which are printed below
        loaded = load_spec(
            data_of(parsed),
            max_rejected=parsed.max_rejected,
            cache=parsed.cache,
            workers=parsed.workers,
            progress=parsed.progress,
        )
    fields = summarise(loaded)
    features, rare = fields["features"], fields["rare share"]
    lines = [
        f"{loaded.name}: {len(loaded):,} rows, {len(fields)} fields, {features.sum():,} features",
        f"label rate {loaded.labels.mean():.4f}, rare share {rare.mean():.4f}",
        *map(printable, loaded.notes),
    ]
    assert loaded.spec is not None  # it was loaded by it
    if guess := _guess_as_options(loaded):
        lines.append(f"to correct the guess, edit {printable(guess)}")
    formats = {"features": "{:,}".format, "rare share": "{:.4f}".format}
    lines.append(fields.rename(index=printable).to_string(formatters=formats))
    content = {
        "name": loaded.name,
        "rows": len(loaded),
        "label_rate": float(loaded.labels.mean()),
        "notes": list(loaded.notes),
        "spec": loaded.spec.written(),
        "fields": [
            {"name": name, "features": int(count), "rare_share": float(share)}
            for name, count, share in zip(fields.index, features, rare, strict=True)
        ],
    }
    print_result(parsed, content, "\n".join(lines))
    return 0


def _guess_as_options(data: Dataset) -> str:
    """The columns that a guess found, as a shell takes the options that correct it; "" where the
    spec names them, and where a name with a comma could not be given so."""
    spec, options = data.spec, []
    if spec is None or spec.name != "table" or spec.categorical or spec.numeric:
        return ""
    assert data.codebook is not None  # a table has one
    for kind in ("categorical", "numeric"):
        names = [entry.column for entry in data.codebook.entries if entry.kind == kind]
        if any("," in name for name in names):
            return ""
        options += [f"--{kind} {shlex.quote(','.join(names))}"] if names else []
    return " ".join(options)
