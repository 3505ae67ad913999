"""Modules joined to one script: all of them, once, what is needed before what needs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[2] / "book"
sys.path.insert(0, str(BOOK / "_ext"))
from joining import joined  # noqa: E402


def test_the_joined_script_of_every_figure_that_trains_runs_as_a_classic_script() -> None:
    node = shutil.which("node")
    if not node:
        pytest.fail("no node: the page's scripts are tested with it (20 or newer)")
    page = "globalThis.document = { currentScript: { src: 'x' }, querySelectorAll: () => [] };"
    for module in ("collapse",):
        script = joined(BOOK / "_static" / "live" / f"{module}.js")
        ran = subprocess.run(
            [node, "-e", f"{page} new Function(process.argv[1])()", script],
            capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr


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
