"""One run, killed before each of its changes to files: `python runs_killed_everywhere.py FOLDER`.

Each time in a fork of this process, and then begun again in another. Prints a line of JSON per
kill: the change before which it came, and the files and results that the run begun again left.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from safetensors.torch import save_file

from embedding_collapse.files import checksum
from embedding_collapse.lab import checkpoint
from embedding_collapse.lab.data import DataSpec, load_spec
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.spec import Spec

CHANGES = ("os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "half a file")
SPEC = Spec(DataSpec("synthetic-mini", 500), embedding_size=2, hidden=4, cross_layers=1, epochs=1)
DATASET = load_spec(SPEC.data)
run(SPEC, DATASET, device="cpu", progress=False)  # what is set up when first used is so once


def train(output: Path) -> None:
    run(SPEC, DATASET, output=output, device="cpu", progress=False)


def killed_before(number: int, output: Path) -> None:
    """Train, and die before that change to a file below the folder."""
    left = number

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        in_tree = event in ("os.remove", "os.rmdir") and arguments[1] >= 0  # of an open folder
        if not (writes or event in CHANGES) or not (in_tree or str(output) in str(arguments[0])):
            return
        left -= 1
        if left < 0:
            print(event, Path(arguments[0]).name, file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def save_slowly(tensors: dict, path: Path) -> None:
        half = path.with_name(".tmpHALF")  # as safetensors writes them, in its own code
        half.write_bytes(b"half")
        sys.audit("half a file", path)
        half.unlink()
        save_file(tensors, path)

    checkpoint.save_file = save_slowly
    sys.addaudithook(hook)
    train(output)


def in_a_fork(task: Callable[[], None]) -> int:
    """The signal that ended it, 0 for none."""
    process = os.fork()
    if process == 0:
        try:
            task()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def result(output: Path) -> dict:
    record = json.loads((output / f"{SPEC.key}.json").read_text())
    return {
        "files": sorted(path.name for path in output.iterdir()),
        "test": record["test"],
        "losses": [epoch["train_loss"] for epoch in record["epochs"]],
        "weights": [record["weights"], checksum(output / f"{SPEC.key}.safetensors")],
    }


number, killed = 0, True
while killed:
    output = Path(sys.argv[1], str(number))
    output.mkdir()
    killed = in_a_fork(partial(killed_before, number, output)) == signal.SIGKILL
    in_a_fork(partial(train, output))
    print(json.dumps(result(output)), flush=True)
    number += 1
