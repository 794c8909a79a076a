"""What `serve` writes lies in its data directory, for its user alone; and what deployment needs is sound."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.server import ROOT, START_S, STOP_S, Server, clean_environment, free_port, serve_command, until

# Every call that opens to write, makes, moves, removes or changes a name; -y tells the folder that a path is relative to.
_CALLS = "open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,truncate,chmod,fchmodat,chown,mknod,mknodat"
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += +(\d+)")
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_PATH = re.compile(r'(?:AT_FDCWD|\d+<([^>]*)>), "((?:[^"\\]|\\.)*)"|"((?:[^"\\]|\\.)*)"')
_NO_FILES = ("/dev/null", "/dev/tty", "/proc/self/autogroup")  # the last one tells the kernel how nice a process is


def written_paths(trace: str, cwd: Path) -> set[Path]:
    """The paths of every call that succeeded and may have changed a file or a name."""
    found: set[Path] = set()
    for line in trace.splitlines():
        call = _CALL.match(line)
        if call is None or (call[1].startswith("open") and not _WRITES.search(call[2])):
            continue
        for folder, relative, alone in _PATH.findall(call[2]):
            found.add(cwd / folder / (relative or alone))
    return found


class Traced(Server):
    """A server under strace, in a working directory of its own."""

    def start(self, port: int = 0) -> None:
        """Start, and return once /readyz says 200."""
        self.port = port or free_port()
        self.cwd = self.folder / "cwd"
        self.cwd.mkdir()
        environment = {name: value for name, value in clean_environment().items() if not name.startswith("COV")}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
        traced = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={_CALLS}", "-o", str(self.folder / "trace")]
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self._process = subprocess.Popen(
                [*traced, *serve_command(self.data_dir, self.port)],
                cwd=self.cwd,
                env=environment,
                stdout=out,
                stderr=err,
            )
        until(lambda: self._is_ready() or self._process.poll() is not None, "it is ready", 2 * START_S)
        if self._process.poll() is not None:
            pytest.skip(f"strace cannot run a process here: {self.output()[-300:]}")

    def stop(self) -> int:
        """Stop the server below strace, which ends with it."""
        if self._process is not None and self._process.poll() is None:
            (child,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGTERM)
            self._process.wait(2 * STOP_S)
        self.hang_up()
        return 0


@pytest.mark.strace
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (apt install strace)")
def test_serve_writes_nowhere_but_in_its_data_directory_and_for_its_user_alone(tmp_path: Path) -> None:
    server = Traced(tmp_path)
    try:
        server.start()
        run_id = server.create(outputs={"gcode_text": "G1 X1\n" * 30_000})["run_id"]
        assert server.upload(run_id, b"bytes", kind="note").status == 201
        assert server.get("/runs").json["items"]
        until(lambda: [*(server.data_dir / "runs").rglob(f"{run_id}.json")], "its file is written", 60)
        server.post("/admin/projections/catalog/rebuild", {})
    finally:
        server.stop()
    written = written_paths((tmp_path / "trace").read_text(), server.cwd)
    inside = {path for path in written if path.is_relative_to(server.data_dir)}
    assert any(path.suffix == ".jsonl" for path in inside), "the trace has what was written"
    assert {str(path) for path in written - inside} - {*_NO_FILES} == set()
    assert [*server.cwd.iterdir()] == []
    shared = [path for path in (server.data_dir, *server.data_dir.rglob("*")) if path.stat().st_mode & 0o022]
    assert shared == []
    assert server.data_dir.stat().st_mode & 0o077 == 0
    assert "Traceback" not in server.output()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_systemd_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deploy" / "runlog.service").read_text()
    for line in ("ProtectSystem=strict", "NoNewPrivileges=yes", "ReadWritePaths=/var/lib/runlog", "UMask=0077"):
        assert f"\n{line}\n" in text
    (tmp_path / "runlog.service").write_text(text.replace("/opt/runlog/bin/runlog", "/bin/true"))
    ended = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "runlog.service")], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
