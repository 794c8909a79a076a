"""The audit of the pinned packages fails only where somebody can do something about it, and never for want of a network."""

import os
import runpy
import subprocess
import sys
from typing import Any

import pytest

from tests.server import ROOT

SCRIPT = ROOT / ".ci" / "audit.py"


def package(*fixes: list[str]) -> dict[str, Any]:
    return {
        "name": "p",
        "version": "1",
        "vulns": [{"id": f"X-{n}", "fix_versions": each} for n, each in enumerate(fixes)],
    }


@pytest.mark.parametrize(
    ("audited", "code"),
    [([package()], 0), ([package([])], 0), ([package([], ["1.1"])], 1), ([package(), package(["2", "3"])], 1)],
)
def test_only_a_vulnerability_that_a_newer_version_mends_is_a_failure(audited: list[Any], code: int) -> None:
    assert runpy.run_path(str(SCRIPT))["told"](audited, 0) == code


def test_without_a_network_it_is_left_out_and_says_so() -> None:
    nowhere = os.environ | dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    ended = subprocess.run([sys.executable, str(SCRIPT)], env=nowhere, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "left out" in ended.stdout
