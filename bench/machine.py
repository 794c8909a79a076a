"""What a reader must know of the machine to judge the figures; nothing that names it."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.processes import ROOT

_IN_MEMORY = {"tmpfs", "ramfs"}


def facts(data_folder: Path) -> dict[str, object]:
    """Return the facts; *data_folder* is where the data directories lie."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _first_value(Path("/proc/cpuinfo"), "model name"),
        "memory_mb": int(_first_value(Path("/proc/meminfo"), "MemTotal").split()[0]) // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "filesystem": filesystem(data_folder),
        "packages": {name: version(name) for name in ("aiohttp", "orjson", "uvloop")},
        "commit": _commit(),
    }


def filesystem(folder: Path) -> str:
    """Return the type of the file system that *folder* lies on."""
    target = str(folder.resolve())
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, behind = line.partition(" - ")
        mount = before.split()[4]
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, behind.split()[0]
    return kind


def remarks(known: dict[str, object]) -> list[str]:
    """Return what makes figures from this machine weak."""
    found = []
    if known["filesystem"] in _IN_MEMORY:
        found.append(f"the data lies on {known['filesystem']}: nothing is durable there, P1 to P3 mean nothing")
    if isinstance(known["cores"], int) and known["cores"] < 4:
        found.append(f"{known['cores']} cores are shared by server and client: they take time from each other")
    return found


def _first_value(path: Path, key: str) -> str:
    lines = path.read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "0")


def _commit() -> str | None:
    """Return the commit that was measured, with `+` if files differ from it."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
