"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.server")
settings.register_profile("runlog", deadline=None)  # no test goes by the clock, whatever a machine does meanwhile
settings.load_profile("runlog")

from tests.server import Server, running  # noqa: E402 (the rewrite must be registered first)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server that the tests of one module share; no request of theirs may have made it stumble."""
    with running(Server(tmp_path_factory.mktemp("server"))) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A running server for one test alone, which may stop, kill and restart it."""
    with running(Server(tmp_path)) as server:
        yield server
