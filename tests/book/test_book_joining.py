"""Modules joined to one script: all of them, once, what is needed before what needs it."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from embedding_collapse.book.joining import FIGURES, LIVE, joined


def test_the_joined_script_of_every_figure_that_trains_runs_as_a_classic_script() -> None:
    node = shutil.which("node")
    if not node:
        pytest.fail("no node: the page's scripts are tested with it (20 or newer)")
    page = "globalThis.document = { currentScript: { src: 'x' }, querySelectorAll: () => [] };"
    for module in FIGURES:
        script = joined(LIVE / f"{module}.js")
        ran = subprocess.run(
            [node, "-e", f"{page} new Function(process.argv[1])()", script],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr


def test_the_scripts_of_all_figures_that_train_weigh_less_than_150_kilobytes_compressed() -> None:
    scripts = [joined(LIVE / f"{module}.js").encode() for module in FIGURES]
    assert sum(len(gzip.compress(script)) for script in scripts) < 150_000


def test_a_module_that_two_others_import_comes_once_and_first(tmp_path: Path) -> None:
    (tmp_path / "low.js").write_text("export const name = 'low';\n")
    (tmp_path / "mid.js").write_text(
        'import { name } from "./low.js";\nexport function twice() {\n  return name + name;\n}\n'
    )
    (tmp_path / "top.js").write_text(
        'import * as low from "./low.js";\nimport { twice } from "./mid.js";\n'
        "console.log(low.name + twice());\n"
    )
    script = joined(tmp_path / "top.js")
    assert script.count("'low'") == 1
    assert "export" not in script and "import" not in script
    assert script.index("'low'") < script.index("name + name") < script.index("console.log")
