"""Pickles: none of their tricks runs anything, and none makes memory or time that is not theirs."""

import argparse
import collections
import dataclasses
import datetime
import enum
import functools
import io
import os
import pickle
import resource
import struct
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from embedding_collapse.inspection.page import html
from embedding_collapse.inspection.report import inspect
from embedding_collapse.inspection.tables import find
from embedding_collapse.inspection.weights import read
from embedding_collapse.parameters import ParameterError

TABLE = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """A pickle that calls a function."""
    return f"c{module}\n{name}\n(".encode() + b"".join(arguments) + b"tR"


TOUCH = "__import__('pathlib').Path({!r}).touch()"
# Each makes a file if it is run; `trace` is its name, `code` Python that makes it.
PAYLOADS: dict[str, Callable[[str, str], bytes]] = {
    "os.system": lambda trace, code: call("os", "system", text(f"touch {trace}")),
    "posix.system": lambda trace, code: call("posix", "system", text(f"touch {trace}")),
    "subprocess": lambda trace, code: call("subprocess", "getoutput", text(f"touch {trace}")),
    "eval": lambda trace, code: call("builtins", "eval", text(code)),
    "exec": lambda trace, code: call("builtins", "exec", text(code)),
    "Python 2's eval": lambda trace, code: call("__builtin__", "eval", text(code)),
    "open": lambda trace, code: call("io", "open", text(trace), text("w")),
    "a part of a module": lambda trace, code: call("pathlib", "os.system", text(f"touch {trace}")),
    "runpy": lambda trace, code: call("runpy", "run_path", text(trace)),
    "timeit": lambda trace, code: call("timeit", "timeit", text(code)),
    "an old opcode": lambda trace, code: b"(" + text(f"touch {trace}") + b"ios\nsystem\n",
    "another old opcode": lambda trace, code: b"(cos\nsystem\n" + text(f"touch {trace}") + b"o",
    "a name from the stack": lambda trace, code: (
        text("os") + text("system") + b"\x93(" + text(f"touch {trace}") + b"tR"
    ),
    "a registered extension": lambda trace, code: b"\x82\x01(" + text(trace) + b"tR",
    "a tensor's rebuilding": lambda trace, code: (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\neval\nctorch\nTensor\n("
        + text(code)
        + b"t}tR"
    ),
    "a state": lambda trace, code: (
        b"ctorch\nTensor\n)\x81(" + call("os", "system", text(f"touch {trace}")) + b"tb"
    ),
    "torch's own loader": lambda trace, code: call("torch.serialization", "load", text(trace)),
    "a persistent name": lambda trace, code: (
        b"(" + text("storage") + call("os", "system", text(f"touch {trace}")) + b"tQ"
    ),
    "a pickle in it": lambda trace, code: call("pickle", "loads", text(code)),
}


def archive_of(pickled: bytes) -> bytes:
    """What `torch.save` makes, with another pickle in it."""
    saved, changed = io.BytesIO(), io.BytesIO()
    torch.save({"emb": TABLE}, saved)
    with zipfile.ZipFile(saved) as whole, zipfile.ZipFile(changed, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, pickled if name.endswith("data.pkl") else whole.read(name))
    return changed.getvalue()


def before_1_6(pickled: bytes) -> bytes:
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    return b"".join(head) + pickled + pickle.dumps([], 2)


def npy_of(pickled: bytes) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    return file.getvalue() + pickled


@pytest.mark.parametrize("around", [archive_of, before_1_6, bytes, npy_of])
@pytest.mark.parametrize("kind", PAYLOADS)
def test_nothing_in_a_pickle_is_run(tmp_path, kind, around):
    trace = tmp_path / "it_ran"
    payload = PAYLOADS[kind](str(trace), TOUCH.format(str(trace)))
    (tmp_path / "model.pt").write_bytes(around(b"\x80\x02" + payload + b"."))
    with pytest.raises(ParameterError) as caught:
        read(tmp_path / "model.pt")
    assert str(caught.value).isprintable()
    assert not trace.exists()


def test_the_payloads_do_run_where_pickles_are(tmp_path):
    """Else the test above would hold of anything."""
    for kind in ("os.system", "eval", "exec", "a name from the stack", "another old opcode"):
        trace = tmp_path / kind.replace(" ", "_")
        payload = PAYLOADS[kind](str(trace), TOUCH.format(str(trace)))
        pickle.loads(b"\x80\x02" + payload + b".")
        assert trace.exists(), kind


@pytest.mark.parametrize(
    ("pickled", "asks"),
    [
        (call("builtins", "bytearray", b"J\xff\xff\xff\x7f"), "builtins.bytearray"),
        (call("__builtin__", "bytearray", b"J\xff\xff\xff\x7f"), "builtins.bytearray"),
        (call("_codecs", "encode", text("é" * 9), text("punycode")), "_codecs.encode:punycode"),
        (call("_codecs", "encode", text("a"), text("HEX_codec")), "_codecs.encode:HEX_codec"),
    ],
)
@pytest.mark.parametrize("around", [archive_of, before_1_6])
def test_bytes_out_of_nothing_are_refused(tmp_path, pickled, asks, around):
    (tmp_path / "model.pt").write_bytes(around(b"\x80\x02" + pickled + b"."))
    with pytest.raises(ParameterError, match=rf"holds more than tensors \(it asks for {asks}\)"):
        read(tmp_path / "model.pt")


@pytest.mark.parametrize("archive", [True, False])
def test_bytes_and_other_plain_values_beside_tensors_are_let_by(tmp_path, archive):
    content = {"emb": TABLE, "b": b"\xff\x00", "s": {1, 2}, "c": 1j, "n": None, "hex": 3.5}
    del content["hex"]
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=archive)
    assert list(read(tmp_path / "model.pt")) == ["emb"]


def test_what_trainers_keep_beside_the_weights_is_let_by_and_looked_into(tmp_path):
    options = argparse.Namespace(lr=0.1, out=tmp_path, seen=[2 * TABLE])
    content = {
        "emb": TABLE,
        "args": options,
        "at": datetime.datetime(2026, 1, 1),
        "more": types.SimpleNamespace(emb=3 * TABLE),
    }
    torch.save(content, tmp_path / "model.pt")
    assert list(read(tmp_path / "model.pt")) == ["emb", "args.seen.0", "more.emb"]


@dataclasses.dataclass
class Options:
    rate: float = 0.1
    seen: Tensor = dataclasses.field(default_factory=lambda: 2 * TABLE)


class Slotted:
    __slots__ = ("best",)

    def __init__(self) -> None:
        self.best = 3 * TABLE


class Kind(enum.Enum):
    PAIRWISE = 1


class Model(torch.nn.Module):
    """With what real ones have: parts of its own, functions, arrays, what is not to be saved."""

    def __init__(self) -> None:
        super().__init__()
        self.user = torch.nn.Embedding(50, 6, _weight=TABLE)
        self.parts = torch.nn.ModuleList([torch.nn.EmbeddingBag(30, 4), torch.nn.Linear(6, 1)])
        self.twice = self.user
        self.register_buffer("seen", torch.ones(50))
        self.register_buffer("scratch", torch.ones(50, 6), persistent=False)
        self.offsets, self.kind = np.arange(3), Kind.PAIRWISE
        self.activation = torch.nn.functional.relu
        self.norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("it was run")


def dump(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def save_before_1_6(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


SAVERS = [
    pytest.param(torch.save, id="torch"),
    pytest.param(save_before_1_6, id="torch before 1.6"),
    *(
        pytest.param(
            lambda content, path, n=n: torch.save(content, path, pickle_protocol=n),
            id=f"torch, protocol {n}",
        )
        for n in (3, 4, 5)
    ),
    *(
        pytest.param(
            lambda content, path, n=n: path.write_bytes(pickle.dumps(content, n)),
            id=f"pickle, protocol {n}",
        )
        for n in (2, 4, 5)
    ),
]


@pytest.mark.parametrize("save", SAVERS)
def test_a_whole_model_is_read_as_its_state_dict_with_its_classes_and_nothing_is_run(
    tmp_path, save
):
    model = Model()
    save({"net": model, "epoch": 3}, tmp_path / "model.pt")
    tensors = read(tmp_path / "model.pt")
    expected = {f"net.{name}": value for name, value in model.state_dict().items()}
    del expected["net.twice.weight"]  # the module had its turn
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    tables = {name: one.why for name, one in tensors.known.items() if one.is_table}
    assert tables == {"net.user.weight": "Embedding", "net.parts.0.weight": "EmbeddingBag"}
    assert {f"{__name__}.Model", f"{__name__}.Kind"} <= set(tensors.strangers)
    inspection = inspect(tmp_path / "model.pt")
    assert [(one.name, one.known_by) for one in inspection.tables] == list(tables.items())
    assert any(f"holds objects of {__name__}.Kind" in note for note in inspection.notes)


@pytest.mark.parametrize("save", SAVERS)
def test_objects_beside_the_weights_are_looked_into_and_named(tmp_path, save):
    log = collections.defaultdict(list, {"table": [TABLE]})
    content = {
        "emb": TABLE,
        "options": Options(),
        "slotted": Slotted(),
        "log": log,
        "last": collections.deque([4 * TABLE], maxlen=1),
        "rows": range(10**12),
        "some": frozenset({1}),
    }
    save(content, tmp_path / "model.pt")
    tensors = read(tmp_path / "model.pt")
    names = ["emb", "options.seen", "slotted.best", "log.table.0", "last.0"]
    assert list(tensors) == names
    assert [round((value / TABLE).mean().item()) for value in tensors.values()] == [1, 2, 3, 1, 4]
    assert tensors.strangers == [f"{__name__}.{name}" for name in ("Options", "Slotted")]


ARRAYS = {
    "plain": TABLE.numpy(),
    "by columns": np.asfortranarray(TABLE.numpy()),
    "big end first": TABLE.numpy().astype(">f8"),
    "part": np.random.default_rng(0).normal(size=(40, 9))[::2, 1::3],
    "whole numbers": np.arange(12, dtype=np.int16).reshape(3, 4),
    "none": np.zeros((0, 3)),
}


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_in_pickles_are_read_as_numpy_would(tmp_path, save, kind):
    save({"deep": [ARRAYS[kind], {"names": np.array(["a", None], dtype=object)}]}, tmp_path / "a")
    (tensor,) = read(tmp_path / "a").values()
    assert np.array_equal(tensor.numpy(), ARRAYS[kind])


def test_arrays_of_objects_are_looked_into(tmp_path):
    np.save(tmp_path / "a.npy", {"emb": TABLE.numpy()}, allow_pickle=True)
    assert torch.equal(read(tmp_path / "a.npy")["emb"], TABLE)
    held = np.array({"emb": 2 * TABLE.numpy(), "options": Options()}, dtype=object)
    np.savez(tmp_path / "a.npz", table=TABLE.numpy(), held=held)
    tensors = read(tmp_path / "a.npz")
    assert set(tensors) == {"table", "held.emb", "held.options.seen"}
    assert torch.equal(tensors["held.emb"], 2 * TABLE)
    assert tensors.strangers == [f"{__name__}.Options"]


ODD: dict[str, Callable[[], Tensor]] = {
    "part of a storage": lambda: torch.arange(40.0).view(10, 4)[2:8, 1:],
    "transposed": lambda: TABLE.t(),
    "bfloat16": lambda: TABLE.bfloat16(),
    "float8": lambda: TABLE.to(torch.float8_e5m2),
    "uint16": lambda: torch.tensor([[1, 2, 65535]], dtype=torch.uint16),
    "parameter": lambda: torch.nn.Parameter(TABLE),
    "with attributes": lambda: marked(TABLE.clone()),
    "complex, conjugated": lambda: torch.view_as_complex(TABLE.view(50, 3, 2)).conj(),
    "empty": lambda: torch.empty(0, 4),
    "scalar": lambda: torch.tensor(2.5),
}


def marked(tensor: Tensor) -> Tensor:
    tensor.note = "kept"  # type: ignore[attr-defined]
    return tensor


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("kind", ODD)
def test_tensors_are_what_torch_would_load(tmp_path, save, kind):
    tensor = ODD[kind]()
    save({"a": tensor, "b": [tensor]}, tmp_path / "model.pt")
    found = read(tmp_path / "model.pt")
    assert list(found) == ["a", "b.0"]
    for value in found.values():
        assert value.dtype is tensor.dtype and value.shape == tensor.shape
        bits = [
            one.resolve_conj().contiguous().flatten().view(torch.uint8) for one in (value, tensor)
        ]
        assert torch.equal(*bits)


def test_numbers_of_a_machine_with_the_big_end_first_are_refused(tmp_path):
    torch.save({"emb": TABLE}, tmp_path / "here.pt")
    with (
        zipfile.ZipFile(tmp_path / "here.pt") as here,
        zipfile.ZipFile(tmp_path / "there.pt", "w") as there,
    ):
        for name in here.namelist():
            there.writestr(name, b"big" if name.endswith("byteorder") else here.read(name))
    with pytest.raises(ParameterError, match=r"there\.pt holds numbers in another order of bytes"):
        read(tmp_path / "there.pt")


def test_what_an_optimizer_keeps_is_no_table_whatever_its_names(tmp_path):
    model = Model()
    optimizer = torch.optim.Adagrad(model.parameters())
    for name, content in {
        "states": {"opt": optimizer.state_dict(), "net": model.state_dict()},
        "whole": {"opt": optimizer, "net": model},
    }.items():
        torch.save(content, tmp_path / name)
        found = inspect(tmp_path / name, include=() if name == "whole" else "net.user*")
        assert "net.user.weight" in [table.name for table in found.tables]
        tensors = read(tmp_path / name)
        kept = [one for one in tensors if one.startswith("opt.")]
        assert kept and all(tensors.known[one].why == "an optimizer keeps it" for one in kept)
        assert all(one.replace(".", "_").isidentifier() for one in tensors)


class Rows(torch.nn.Embedding):
    pass


class Towers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.r = Rows(20, 6)
        self.wide = torch.nn.Linear(6, 3000, bias=False)


def test_the_class_of_a_part_tells_tables_from_layers(tmp_path):
    model = Towers()
    torch.save(model, tmp_path / "model.pt")
    for found in (inspect(tmp_path / "model.pt"), inspect(model)):
        assert [(one.name, one.known_by) for one in found.tables] == [("r.weight", "Rows")]
        assert [(one.name, one.why) for one in found.left_out] == [
            ("wide.weight", "a layer, Linear")
        ]


def test_torchs_containers_of_parameters_do_not_hide_tables(tmp_path):
    model = torch.nn.Module()
    tables = {"user_emb": torch.nn.Parameter(torch.randn(40, 6))}
    model.by_name = torch.nn.ParameterDict(tables)
    model.emb = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(50, 6))])
    torch.save(model, tmp_path / "model.pt")
    for given in (model, model.state_dict(), tmp_path / "model.pt"):
        assert [one.name for one in inspect(given).tables] == ["by_name.user_emb", "emb.0"]


@pytest.mark.filterwarnings("ignore")  # torch leaves quantisation to another library in the end
def test_packed_weights_are_told(tmp_path):
    parts = {"user": torch.nn.Embedding(90, 16), "item": torch.nn.Embedding(60, 16)}
    model = torch.nn.ModuleDict(parts).eval()
    model["user"].qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig
    model = torch.ao.quantization.convert(torch.ao.quantization.prepare(model))
    torch.save(model, tmp_path / "model.pt")
    found = inspect(tmp_path / "model.pt")
    assert [one.name for one in found.tables] == ["item.weight"]
    assert any("has packed weights that are not read" in note for note in found.notes)
    with pytest.raises(ParameterError, match=r"its state_dict\(\) has them open"):
        inspect(tmp_path / "model.pt", include="user*")
    torch.save(model.state_dict(), tmp_path / "open.pt")
    assert len(inspect(tmp_path / "open.pt").tables) == 2


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_that_joblib_wrote_are_read(tmp_path, order):
    joblib = pytest.importorskip("joblib")
    array = np.array(TABLE.numpy(), order=order)
    content = {"emb": array, "of": [Options(), array[:0], np.array([array, None], dtype=object)]}
    joblib.dump(content, tmp_path / "a.joblib")
    tensors = read(tmp_path / "a.joblib")
    assert set(tensors) == {"emb", "of.0.seen", "of.1", "of.2.0"}
    assert all(np.array_equal(tensors[name].numpy(), array) for name in ("emb", "of.2.0"))
    assert tensors.strangers == [f"{__name__}.Options"]


def test_what_a_class_by_value_asks_for_is_told(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    made = type("Made", (), {"__module__": "__main__", "f": lambda self: 1})
    (tmp_path / "a.pkl").write_bytes(cloudpickle.dumps({"emb": TABLE.numpy(), "x": made()}))
    with pytest.raises(ParameterError, match=r"it asks for cloudpickle\."):
        read(tmp_path / "a.pkl")


def test_nothing_is_set_on_what_all_share(tmp_path):
    """A state for a class, or for a number, would be everyone's."""
    for target in ("cargparse\nNamespace\n", "cnumpy\ndtype\n", "cdatetime\ndate\n", "K\x01"):
        state = b"N}X\x04\x00\x00\x00evilK\x01s\x86b"
        (tmp_path / "a.pkl").write_bytes(b"\x80\x02" + target.encode() + state + b".")
        with pytest.raises(ParameterError):
            read(tmp_path / "a.pkl")
    assert not hasattr(argparse.Namespace, "evil") and not hasattr(datetime.date, "evil")


DAG = b"K\x01K\x02\x86q\x00" + 60 * b"0h\x00h\x00\x86q\x00"  # a tuple of itself twice, and so on
STORAGE = b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n"
SHORT = {  # pickles of a few bytes, each of which would take what no file should
    "a key of tuples": b"}" + DAG + b"K\x01s",
    "a set of tuples": b"\x8f(" + DAG + b"\x90",
    "a frozen set of tuples": b"(" + DAG + b"\x91",
    "a set that is called for": b"cbuiltins\nset\n](" + DAG + b"e\x85R",
    "a deep key": b"}" + b"K\x01" + 400_000 * b"\x85" + b"K\x01s",
    "a shape of text": b"cnumpy\nndarray\n)\x81(K\x01(" + text("x") + b"J\xff\xff\xff\x7ftcnumpy\n"
    b"dtype\n" + text("f4") + b"\x85RI00\nC\x00tb",
    "lists of one list": b"]("
    + 10_000 * b"K\x01"
    + b"eq\x000"
    + 9_000 * b"ccollections\ndeque\nh\x00\x85R0"
    + b"N",
    "parts of a tensor": STORAGE + text("0") + text("cpu") + b"K\x01tQK\x00K\x01\x85K\x01\x85\x89N"
    b"tR(K\x01\x90",
    "a view of more": STORAGE
    + text("0")
    + text("cpu")
    + b"K\x01tQK\x00J\xff\xff\xff\x7f\x85K\x01\x85\x89N"
    b"tR",
}


@pytest.mark.parametrize("around", [archive_of, bytes])
@pytest.mark.parametrize("kind", SHORT)
def test_a_short_pickle_takes_neither_memory_nor_time(tmp_path, kind, around):
    (tmp_path / "a.pt").write_bytes(around(b"\x80\x04" + SHORT[kind] + b"."))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ParameterError):
        read(tmp_path / "a.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_pickle_that_a_few_bytes_unpack_to_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + bytes(200_000_000))
    with pytest.raises(ParameterError, match=r"bytes make 200,000,002 of a pickle"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("save", SAVERS)
def test_arrays_whose_axes_are_turned_are_read_as_numpy_would(tmp_path, save, axes):
    array = np.arange(24.0).reshape(2, 3, 4).transpose(axes)
    save([array], tmp_path / "a")
    (tensor,) = read(tmp_path / "a").values()
    assert np.array_equal(tensor.numpy(), array)


def test_nothing_is_lost_where_names_meet(tmp_path):
    alone = np.empty(1, dtype=object)
    alone[0] = TABLE.numpy()
    held = np.array({"b": 2 * TABLE.numpy()}, dtype=object)
    np.savez(tmp_path / "a.npz", **{"a.b": TABLE.numpy(), "a": held, "alone": alone})
    assert set(read(tmp_path / "a.npz")) == {"a.b", "a.b (2)", "alone"}
    names = {"a.b": TABLE, "a": {"b": TABLE}, "a.b (2)": TABLE, "long": np.zeros(2, np.longdouble)}
    torch.save(names, tmp_path / "a.pt")
    tensors = read(tmp_path / "a.pt")
    assert list(tensors) == ["a.b", "a.b (2)", "a.b (2) (2)", "long"]
    assert tensors["long"].is_meta or np.longdouble is np.float64


def test_a_state_that_is_no_dict_is_taken_too(tmp_path):
    one, two = (pickle.dumps(array.numpy(), 2)[2:-1] for array in (TABLE, 2 * TABLE))
    made = b"\x80\x02cothers\nThing\n)\x81" + one + two + b"\x86b."
    (tmp_path / "a.pkl").write_bytes(made)
    tensors = read(tmp_path / "a.pkl")
    assert list(tensors) == ["state.0", "state.1"] and tensors.strangers == ["others.Thing"]


def test_the_name_of_a_class_is_text_whatever_it_is(tmp_path):
    pickled = pickle.dumps({"emb": TABLE.numpy(), "more": Slotted()})
    (tmp_path / "a.pkl").write_bytes(pickled.replace(b"Slotted", b"\x1b[31m<b"))
    inspection = inspect(tmp_path / "a.pkl")
    assert str(inspection).replace("\n", "").isprintable() and "[31m<b" in str(inspection)
    assert "[31m&lt;b" in html(inspection) and "\x1b" not in html(inspection)


def test_a_frame_in_a_pickle_is_refused_since_its_blocks_lie_on_their_side(tmp_path):
    dump(pd.DataFrame(TABLE.numpy()), tmp_path / "frame.pkl")
    with pytest.raises(ParameterError, match=r"holds more than tensors \(it asks for pandas\."):
        read(tmp_path / "frame.pkl")


def test_an_array_that_is_cut_short_or_has_another_shape_is_told(tmp_path):
    pickled = pickle.dumps({"emb": TABLE.numpy(), "more": TABLE.numpy()}, 4)
    at = pickled.index(b"K\x32K\x06")  # the shape, 50 by 6
    (tmp_path / "a.pkl").write_bytes(pickled[: at + 1] + b"\xff" + pickled[at + 2 :])
    with pytest.raises(ParameterError, match="1,530 numbers of float32 should lie in 1,200 bytes"):
        read(tmp_path / "a.pkl")
    for length in range(0, len(pickled), 97):
        (tmp_path / "a.pkl").write_bytes(pickled[:length])
        with pytest.raises(ParameterError):
            read(tmp_path / "a.pkl")


def test_a_number_of_bytes_that_do_not_follow_takes_no_memory(tmp_path):
    for code in (b"\x8e", b"\x96"):  # bytes, and an array of them
        (tmp_path / "a.pkl").write_bytes(b"\x80\x05" + code + struct.pack("<Q", 1 << 40) + b"a.")
        with pytest.raises(ParameterError, match="is damaged or cut short"):
            read(tmp_path / "a.pkl")


@pytest.mark.parametrize("archive", [True, False])
def test_numpys_numbers_beside_tensors_are_let_by(tmp_path, archive):
    content = {
        "emb": TABLE,
        "best_auc": np.float64(0.8),
        "more": [np.int64(3), np.float16(1), np.bool_(True), np.str_("a"), np.dtype("f4")],
        np.int64(7): TABLE,
    }
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=archive)
    assert list(read(tmp_path / "model.pt")) == ["emb", "7"]
    with pytest.raises(pickle.UnpicklingError):  # as before: nothing is allowed for good
        torch.load(tmp_path / "model.pt", weights_only=True)


def test_what_a_pickle_says_of_numpys_types_is_never_believed(tmp_path):
    """Made by numpy, a scalar of such a type would take a gigabyte, or point anywhere."""
    void = call("numpy", "dtype", text("V8"), b"\x89\x88")
    state = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\x7fK\x01K\x3ftb"
    for kind in (void, void + state):
        pickled = b"\x80\x02" + b"cnumpy.core.multiarray\nscalar\n(" + kind + b"tR."
        (tmp_path / "model.pt").write_bytes(archive_of(pickled))
        assert read(tmp_path / "model.pt") == {}


def test_containers_in_themselves_and_in_each_other_are_walked_once(tmp_path):
    nested: list = [TABLE]
    for _ in range(60):
        nested = [nested, nested]
    around: list = [TABLE]
    around.append(around)
    for name, content in (("nested", nested), ("around", around)):
        torch.save(content, tmp_path / name)
        (table,) = read(tmp_path / name).values()
        assert torch.equal(table, TABLE)


def test_two_tensors_of_one_dotted_name_are_both_read(tmp_path):
    torch.save({"a.b": TABLE, "a": {"b": 2 * TABLE}}, tmp_path / "model.pt")
    tensors = read(tmp_path / "model.pt")
    assert list(tensors) == ["a.b", "a.b (2)"]
    assert torch.equal(tensors["a.b (2)"], 2 * TABLE)


def odd() -> dict[str, Tensor]:
    return {
        "sparse.emb": TABLE.to_sparse(),
        "csr.emb": TABLE.to_sparse_csr(),
        "meta.emb": torch.empty(50, 6, device="meta"),
        "expanded.emb": TABLE[:1].clone().expand(50, 6),
    }


@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_without_entries_of_their_own_have_their_shape_alone(tmp_path):
    torch.save({**odd(), "emb": TABLE}, tmp_path / "model.pt")
    tensors = read(tmp_path / "model.pt")
    assert torch.equal(tensors.pop("emb"), TABLE)
    for name, tensor in tensors.items():
        assert tensor.is_meta and tensor.shape == (50, 6), name
    tables, notes = find(tensors)
    assert [table.name for table in tables] == list(odd()) and notes == []


def test_a_table_that_would_reach_beyond_its_storage_is_told(tmp_path):
    torch.save({"emb": TABLE}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        pickled = archive.read("model/data.pkl")
    assert pickled.count(b"K2K\x06") == 1  # the shape, 50 by 6
    (tmp_path / "model.pt").write_bytes(archive_of(pickled.replace(b"K2K\x06", b"K3K\x06")))
    with pytest.raises(ParameterError, match="is damaged or cut short"):
        read(tmp_path / "model.pt")


def test_checksums_are_compared_where_there_are_some(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"emb": TABLE}, path)
    content = bytearray(path.read_bytes())
    content[content.index(TABLE.numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"damaged or cut short .*the checksum of .*data/0"):
        read(path)
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"emb": TABLE}, path)
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read(path)["emb"], TABLE)


def test_an_archive_that_was_packed_again_is_read_as_it_was(tmp_path):
    """Mapped, the packed bytes were taken for the table's."""
    table = torch.zeros(500, 6)
    table[3, 2] = 1
    torch.save({"emb": table}, tmp_path / "model.pt")
    with (
        zipfile.ZipFile(tmp_path / "model.pt") as whole,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    assert torch.equal(read(tmp_path / "packed.pt")["emb"], table)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_program_is_told_from_weights(tmp_path):
    program = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
    torch.jit.save(program, str(tmp_path / "program.pt"))
    with pytest.raises(
        ParameterError, match="is a TorchScript program, which would have to be run"
    ):
        read(tmp_path / "program.pt")
    exported = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(exported, tmp_path / "program.pt2")
    with pytest.raises(ParameterError, match=r"is a program of torch.export; .*\.state_dict"):
        read(tmp_path / "program.pt2")


def test_a_pipe_is_told_before_anyone_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ParameterError, match="is a device or a pipe; a file is needed"):
            read(path)
