"""Whether the entries of a tensor lie in a mapped file, as the system tells."""

import sys
from pathlib import Path

import pytest
from torch import Tensor


def mapping_of(tensor: Tensor) -> str:
    """The addresses of the mapped file that a tensor lies in, "" where it is in memory.

    Linux alone tells: elsewhere the rest of a test is skipped.
    """
    if sys.platform != "linux":
        pytest.skip("this system does not tell what is mapped")
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, _, _, _, inode = line.split()[:5]
        begin, end = (int(part, 16) for part in place.split("-"))
        if begin <= tensor.data_ptr() < end:
            return place if int(inode) else ""
    return ""
