"""Commands as an operator runs them: each a process of its own, with nothing of Runlog's in its environment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.server import ROOT, clean_environment

V1_FILE = ROOT / "tests" / "data" / "v1_runs.json"


@frozen
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def runlog(*arguments: object, **environment: str) -> Ran:
    """Run `runlog` with *arguments*, and *environment* beside the cleaned one."""
    command = [sys.executable, "-m", "api.cli.__main__", *map(str, arguments)]
    ended = subprocess.run(
        command, cwd=ROOT, env=clean_environment() | environment, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def events_in(data_dir: Path) -> list[dict[str, Any]]:
    """Return every event of the log, read from its segments."""
    segments = sorted((data_dir / "log" / "segments").glob("*.jsonl"))
    return [json.loads(line)["event"] for segment in segments for line in segment.read_bytes().splitlines()]


def everything_under(folder: Path) -> dict[str, bytes | None]:
    """Return every file under *folder* with its bytes, and every folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def record(run_id: str, **fields: Any) -> dict[str, Any]:
    """A v1 record that becomes a run."""
    return {"run_id": run_id, "created_at_utc": "2026-01-05T05:07:16.000000Z", "status": "OK", **fields}


def written(folder: Path, *records: dict[str, Any]) -> Path:
    """A v1 file with these records."""
    path = folder / "v1.json"
    path.write_text(json.dumps({one["run_id"]: one for one in records}))
    return path


def migrate(path: Path, data_dir: Path, *options: object) -> Ran:
    """Migrate the v1 file at *path*."""
    return runlog("migrate", "--v1-path", path, "--data-dir", data_dir, "--json", *options)
