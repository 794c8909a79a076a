"""Are the pinned packages known to be vulnerable? Fails only where a newer version mends it; never because of the network.

A vulnerability that nobody has mended yet is told and does not fail: nobody who builds could do anything about it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).resolve().parents[1] / "constraints.txt"
ALL_S, ANSWER_S = 20, 5


def main() -> int:
    """Tell what pip-audit finds, and return the exit code."""
    command = ["-m", "pip_audit", "--requirement", str(PINNED), "--disable-pip", "--no-deps", "--format", "json"]
    command += ["--timeout", str(ANSWER_S), "--progress-spinner", "off", "--desc", "off"]
    try:
        ended = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=ALL_S)
        packages = json.loads(ended.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return left_out(f"it took more than {ALL_S} s")
    except (ValueError, KeyError, TypeError):
        last = ended.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        return left_out(last[0][:200])
    audited = [one for one in packages if "skip_reason" not in one]
    if not audited:
        return left_out("the package index has no such data")
    return told(audited, len(packages) - len(audited))


def left_out(why: str) -> int:
    """Say that nothing was audited."""
    print(f"pip-audit was left out: {why}")
    return 0


def told(audited: list[dict[str, Any]], unknown: int) -> int:
    """Print each vulnerability; 1 if one of them can be mended by taking a newer version."""
    found = [(one, vulnerability) for one in audited for vulnerability in one["vulns"]]
    for one, vulnerability in found:
        fixes = ", ".join(vulnerability["fix_versions"])
        does = f"take {fixes} (constraints.txt)" if fixes else "no version mends it yet"
        print(f"{one['name']} {one['version']}: {vulnerability['id']}: {does}")
    print(
        f"pip-audit: {len(audited)} packages, {len(found)} known vulnerabilities, {unknown} packages not known there."
    )
    return int(any(vulnerability["fix_versions"] for _, vulnerability in found))


if __name__ == "__main__":
    sys.exit(main())
