"""`study`: a named list of runs, made or counted."""

import argparse
from datetime import datetime, timedelta

from embedding_collapse.options import list_of, print_result
from embedding_collapse.parameters import ParameterError, at_home

from ..device import choose_device
from ..studies import STUDIES, Outcome, progress, run_all, study, title, with_members
from .arguments import add_machines, machines, output_of, teller
from .sweep import exit_code


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `study`: which runs, for how long, and where."""
    command.description = "\n".join(f"{one.name}: {one.question}" for one in STUDIES.values())
    command.add_argument("name", metavar="STUDY", choices=[*STUDIES], help=", ".join(STUDIES))
    command.add_argument("--status", action="store_true", help="tell what is done, and make no run")
    command.add_argument("--parts", type=list_of(str), metavar="P,P", help="of the study (all)")
    command.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="runs whose title holds it, as 'dnn ME 4x, seed 0', or that one whose key it is",
    )
    add_machines(command, workers=1)
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    command.add_argument("--output", metavar="FOLDER", help="of records (results/STUDY)")


def execute(parsed: argparse.Namespace) -> int:
    """Make the runs of a study, or tell how far they are; an exit code of 1 where one failed."""
    chosen = study(parsed.name)
    choose_device(parsed.device)
    parts = [chosen.part(name) for name in parsed.parts or [part.name for part in chosen.parts]]
    specs = [spec for spec in with_members(parts) if parsed.only in f"{title(spec)}, {spec.key}"]
    if not specs:
        raise ParameterError(f"no run of {chosen.name} has {parsed.only!r} in its title or key")
    folder = at_home(parsed.output) if parsed.output else chosen.folder
    done = Outcome([], 0, [])
    if not parsed.status:
        weights = chosen.unmade_members(output_of(str(folder)), set(specs))
        done = run_all(
            specs,
            folder,
            weights=weights,
            device=parsed.device,
            bars=parsed.progress,
            tell=teller(parsed),
            **machines(parsed),
        )
    recorded = chosen.records(folder, missing_ok=True)
    progresses = {part.name: progress(part.specs, recorded) for part in parts}
    progresses["all of these"] = whole = progress(specs, recorded)
    lines = [chosen.question, *(f"{name:16}{come}" for name, come in progresses.items())]
    if whole.left and (workers := machines(parsed)["workers"]):
        end = datetime.now() + timedelta(seconds=whole.left / workers)
        lines.append(f"with {workers} at work all the time it ends about {end:%A %H:%M}")
    content = {
        "study": chosen.name,
        "question": chosen.question,
        "folder": str(folder),
        "failures": [str(failure) for failure in done.failures],
        "parts": {name: come._asdict() for name, come in progresses.items()},
    }
    print_result(parsed, content, "\n".join(lines))
    return exit_code(done)
