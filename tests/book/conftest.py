"""What the tests of several chapters need."""

from collections.abc import Iterator

import pytest
from chapters import Kernel


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    """For the tests of chapters, one after the other."""
    made = Kernel()
    yield made
    made.end()
