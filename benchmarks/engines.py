"""How recorded runs took their steps, and whether all did so in CUDA graphs.

    python benchmarks/engines.py FOLDER ... [--expect captured]

Prints a line per record. The exit code is 1 where a run took its steps otherwise than expected, for
instance by the plain loop after the engine was found to differ from it.
"""

import argparse
import sys
from pathlib import Path

from embedding_collapse.lab.records import load_all


def main() -> int:
    """Print, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of records")
    parser.add_argument("--expect", default="captured", help="(default %(default)s)")
    options = parser.parse_args()
    runs = load_all(*options.folders)
    for run in runs:
        precision = run.spec.get("precision") or "float32"
        print(
            f"{run.spec['model']} {run.label}, products in {precision}, "
            f"{run.speed:,.0f} samples/s: steps {run.engine}"
        )
    return int(not runs or any(run.engine != options.expect for run in runs))


if __name__ == "__main__":
    sys.exit(main())
