import contextlib

import pytest

from projections.files import Files


@pytest.fixture
def open_files(tmp_path):
    with contextlib.ExitStack() as stack:

        def open_now(root="runs"):
            (tmp_path / "data").mkdir(exist_ok=True)
            files = Files(tmp_path / "data", tmp_path / root)
            stack.callback(files.close)
            return files

        yield open_now


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"
