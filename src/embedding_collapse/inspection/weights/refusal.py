"""What is said of a pickle that is not read: why, and how its owner saves what is in it."""

import re
import zipfile
from pathlib import Path

from .torch_files import BEFORE_1_6

OF_ARRAYS = (
    "numpy.savez({}, **{{name: saved[name] for name in saved if getattr(saved[name], 'dtype', "
    "object) != object}})",
    ", where it is a dict, of which the arrays are saved",
)
RECIPES = {  # how to load what only its owner may, how to save it so that it is read, and when
    "torch": (
        "torch.load({}, weights_only=False)",
        "torch.save(saved.state_dict() if hasattr(saved, 'state_dict') else saved['state_dict'], "
        "{})",
        ", or by the name that it has the weights under",
    ),
    "numpy": ("numpy.load({}, allow_pickle=True).item()", *OF_ARRAYS),
    "npz": ("numpy.load({}, allow_pickle=True)", *OF_ARRAYS),
    "frame": (
        "pandas.read_pickle({})",
        "numpy.savez({}, table=saved.to_numpy())",
        ", where it is a frame of numbers",
    ),
    "pickle": ("pickle.loads(pathlib.Path({}).read_bytes())", *OF_ARRAYS),
}


def refusal(path: Path, error: str) -> str:
    """Why a pickle is not read, and lines that save what is in it in a form that is."""
    asks = re.search(r"GLOBAL (\S+)", error)
    holds = "is damaged or holds more than tensors"
    if asks:
        holds = f"holds more than tensors (it asks for {asks[1]})"
    if path.is_dir():
        whole = repr(str(path.with_name(f"{path.name}-state.pt")))
        return (
            f"{path} has metadata that {holds}, so it is not read. Where you trust it, a line of "
            f"torch.distributed.checkpoint.format_utils makes one file of it: dcp_to_torch_save("
            f"{str(path)!r}, {whole})"
        )
    with path.open("rb") as file:
        head = file.read(len(BEFORE_1_6))
    kind = "numpy" if head.startswith(b"\x93NUMPY") else "pickle"
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            torch_made = any(name.endswith("/data.pkl") for name in archive.namelist())
        kind = "torch" if torch_made else "npz"
    elif head == BEFORE_1_6:
        kind = "torch"
    if asks and asks[1].startswith("pandas."):
        kind = "frame"
    state = path.with_name(f"{path.stem}-state{'.pt' if kind == 'torch' else '.npz'}")
    load, save, where = RECIPES[kind]
    return (
        f"{path} is a pickle that {holds}; loading it could run any code, so it is not read. Where "
        f"you trust it, two lines save what is needed: saved = {load.format(repr(str(path)))} and "
        f"{save.format(repr(str(state)))}{where}"
    )
