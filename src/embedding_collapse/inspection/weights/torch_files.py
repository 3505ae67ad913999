"""What `torch.save` writes: a pickle, and beside it the entries of the tensors."""

import io
import mmap
import shutil
import struct
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from embedding_collapse.parameters import ParameterError

from .given import Tensors, tensors_in
from .mapping import check_packing, check_room, map_file, map_path, start_of
from .unpickler import Storage, Unpickler

# the first pickle of a file that torch wrote before 1.6
BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
Content = mmap.mmap | bytearray  # of a file, which a tensor may lie in


def read_torch(path: Path) -> Tensors:
    """The tensors of a file, by dotted names; mapped, unless packed or of torch before 1.6."""
    with path.open("rb") as opened:
        content, unpickler = load(opened, map_path(path), str(path))
    return tensors_in(content, str(path), path.stem, unpickler.strangers.values())


def read_torch_bytes(content: bytes) -> Tensor:
    """A tensor that `torch.save` made bytes of."""
    tensor, _ = load(io.BytesIO(content), bytearray(content), "a chunk")
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
        raise ValueError("it holds something else than a tensor")
    return tensor


def load(opened: IO[bytes], content: Content, what: str) -> tuple[Any, Unpickler]:
    """What `torch.load` would give, as data, and the unpickler that knows the strangers in it."""
    if zipfile.is_zipfile(opened):
        with zipfile.ZipFile(opened) as archive:
            return _load_archive(archive, content, what)
    opened.seek(0)
    return _load_before_1_6(opened, content)


def _load_archive(archive: zipfile.ZipFile, content: Content, what: str) -> tuple[Any, Unpickler]:
    """What an archive holds. Its checksums are compared where it has any."""
    if any(name.endswith("constants.pkl") for name in archive.namelist()):
        raise ParameterError(
            f"{what} is a TorchScript program, which would have to be run; save its state_dict() "
            "instead"
        )
    (pickled,) = (one for one in archive.infolist() if one.filename.endswith("/data.pkl"))
    root = pickled.filename.removesuffix("data.pkl")
    if pickled.CRC == 0:  # torch was asked to leave them out
        for member in archive.infolist():
            member.CRC = None  # type: ignore[assignment]  # zipfile then compares none
    elif damaged := archive.testzip():
        raise zipfile.BadZipFile(f"the checksum of {damaged!r} differs")
    order = f"{root}byteorder"
    if order in archive.namelist() and archive.read(order) != sys.byteorder.encode():
        raise ParameterError(
            f"{what} holds numbers in another order of bytes than this machine's; loaded and saved "
            "by torch here, they are in its order"
        )
    storages: dict[str, torch.UntypedStorage] = {}

    def storage(dtype: torch.dtype, key: str, _: Any, numel: int, *__: Any) -> Storage:
        if key not in storages:
            member = archive.getinfo(f"{root}data/{key}")
            if member.compress_type == zipfile.ZIP_STORED:
                entries = _entries(content, start_of(content, member), member.file_size)
            else:
                entries = _entries(_unpacked(archive, member), 0, member.file_size)
            storages[key] = entries
        return _of_size(storages[key], dtype, numel)

    check_packing(pickled)
    unpickler = Unpickler(io.BytesIO(archive.read(pickled)), pickled.file_size, storage)
    return unpickler.load(), unpickler


def _load_before_1_6(opened: IO[bytes], content: Content) -> tuple[Any, Unpickler]:
    """What a file holds whose entries follow several pickles, one behind the other."""
    storages: dict[str, torch.UntypedStorage] = {}
    types: dict[str, torch.dtype] = {}

    def storage(dtype: torch.dtype, key: str, _: Any, numel: int, view: Any) -> Storage:
        if key not in storages:
            if not 0 <= numel * dtype.itemsize <= len(content):
                raise ValueError(f"{numel:,} numbers of {dtype} do not lie in the file")
            storages[key], types[key] = torch.UntypedStorage(numel * dtype.itemsize), dtype
        if view is None:
            return _of_size(storages[key], dtype, numel)
        _, first, count = view
        part = storages[key][first * dtype.itemsize : (first + count) * dtype.itemsize]
        return _of_size(part, dtype, count)

    size = len(content)
    for _ in range(3):  # a mark, the version, the system; every system wrote the little end first
        Unpickler(opened, size).load()
    unpickler = Unpickler(opened, size, storage)
    held = unpickler.load()
    keys = Unpickler(opened, size).load()
    if missing := storages.keys() - set(keys):
        raise ValueError(f"the entries of {len(missing):,} tensors are missing")
    for key in keys:
        (count,) = struct.unpack("<q", opened.read(8))
        size = count * types[key].itemsize
        if size != storages[key].nbytes():
            raise ValueError(f"{size:,} bytes follow in place of {storages[key].nbytes():,}")
        storages[key].copy_(_entries(content, opened.tell(), size))
        opened.seek(size, io.SEEK_CUR)
    return held, unpickler


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> mmap.mmap:
    check_room(member.file_size)
    with tempfile.TemporaryFile() as room:
        with archive.open(member) as packed:
            shutil.copyfileobj(packed, room, 1 << 20)
        room.write(b"\0")  # an empty file cannot be mapped
        room.flush()
        return map_file(room)


def _entries(content: Content, start: int, size: int) -> torch.UntypedStorage:
    """Bytes as they lie there, or a `ValueError` if there are not as many."""
    if size == 0:
        return torch.UntypedStorage(0)
    flat = torch.frombuffer(content, dtype=torch.uint8, count=size, offset=start)
    return flat.untyped_storage()


def _of_size(entries: torch.UntypedStorage, dtype: torch.dtype, numel: int) -> Storage:
    if not 0 <= numel * dtype.itemsize <= entries.nbytes():
        raise ValueError(f"{numel:,} numbers of {dtype} should lie in {entries.nbytes():,} bytes")
    return Storage(entries, dtype)
