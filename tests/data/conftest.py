"""The standard library is read and parsed once for all tests; every module keeps what it has read."""

import pytest

from bench.config import Task
from bench.data.example import TaskData


@pytest.fixture(scope="session")
def pydoc_data() -> TaskData:
    """The whole task `pydoc`."""
    from bench.data import pydoc

    return pydoc.load(Task())
