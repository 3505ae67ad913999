"""The page on training loops runs as it stands there."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from embedding_collapse.monitor import LIGHTNING

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "book" / "your_training_loop.md").read_text(encoding="utf-8")
START, *SECTIONS = re.split(r"^##+ ", PAGE, flags=re.MULTILINE)
WITH_CODE = [section for section in SECTIONS if "```" in section]


def blocks(section: str) -> list[tuple[str, str]]:
    """The language and the text of each."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # of the packages, of which there are many
@pytest.mark.parametrize("section", WITH_CODE, ids=[one.partition("\n")[0] for one in WITH_CODE])
def test_a_section_runs(section, tmp_path, monkeypatch, capfd):
    """After the page's first block; where a package that it shows is not installed it's skipped."""
    for name in re.findall(r"^(?:from|import) (\w+)", section, flags=re.MULTILINE):
        if name == "lightning":  # one project under two names
            monkeypatch.setitem(sys.modules, name, pytest.importorskip(LIGHTNING[1]))
        elif name != "model":
            pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs what mlflow alone has
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    # what compiles to C++ takes a minute; what comes before is the part that could refuse a model
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    ((_, first),) = blocks(START)
    Path("model.py").write_text(first)
    names: dict = {}
    exec(first, names)
    for language, text in blocks(section):
        if language == "bash":
            command = text.replace("torchrun", f"{sys.executable} -m torch.distributed.run").split()
            subprocess.run(command, check=True, timeout=300)
            assert "8 steps, 3 measurements\n" in capfd.readouterr().out
        elif text.startswith("# train.py"):
            Path("train.py").write_text(text)
        else:
            exec(text, names)
            assert names["monitor"].history
    if section.startswith(("A DLRM", "Numbers beside ids")):
        assert names["model"].loop_reason is None  # all sets at once
    if "print" in section and "monitor" in names:
        assert capfd.readouterr().out == "[0, 1, 2]\n"
