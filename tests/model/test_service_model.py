"""The whole service, as a process of its own on a real disk, does what a page of model says, whatever happens between.

It is stopped, killed, rebuilt, and its clock leaps; after each step everything that it serves is compared.
`make soak` takes longer.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.commands import events_in, runlog
from tests.model.model import Command, Model, Run
from tests.server import Answer, Server, body, digest, running, unique, until

EXAMPLES, STEPS = (200, 50) if "SOAK" in os.environ else (5, 14)
DAY_S = 86_400
NUMBERS = st.integers(0, 3)
KEYS = st.none() | st.sampled_from(["k1", "k2"])
ADVISORY_IDS = st.sampled_from(["a/b", "a_b", "é"])
BLOBS = st.sampled_from([b"", b"G1 X1\n", b"\x89PNG" * 1000])


class Clocked(Server):
    """A server whose clock the test sets."""

    ahead_s = 0.0

    def command(self) -> list[str]:
        """The command of every server, under the clock of a file."""
        python, _, _, *arguments = super().command()
        return [python, "-m", "tests.model.clocked", str(self.folder / "clock"), *arguments]

    @property
    def now_s(self) -> float:
        """What its clock says."""
        return time.time() + self.ahead_s

    def leap(self, to_s: float) -> None:
        """Set its clock."""
        self.ahead_s = to_s - time.time()
        draft = self.folder / "clock.tmp"
        draft.write_text(str(int(self.ahead_s * 1e6)))
        draft.replace(self.folder / "clock")


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    with running(Clocked(tmp_path)) as server:
        yield server


class Machine(RuleBasedStateMachine):
    """One example: runs of its own on a server that all examples share."""

    server: ClassVar[Clocked]

    def __init__(self) -> None:
        super().__init__()
        self.model, self.name = Model(), unique()
        self.answers: dict[str, bytes] = {}

    @initialize()
    def the_clock_is_right(self) -> None:
        """Ahead of every example before."""
        newest = self.server.get("/runs", query={"limit": 1, "include_withdrawn": "true"}).json["items"]
        if newest:
            self.server.leap(max(self.server.now_s, seconds_of(newest[0]["created_at_utc"]) + 1))

    @rule(number=NUMBERS, status=st.sampled_from(["OK", "BLOCKED"]), key=KEYS)
    def create(self, number: int, status: str, key: str | None) -> None:
        run_id = self.run_id(number)
        content = body(run_id=run_id, status=status, tool_id=self.name)
        self.post(Command("create", run_id, (status,), key), "", content)

    @rule(number=NUMBERS, advisory_id=ADVISORY_IDS, kind=st.sampled_from(["note", "advisory"]), key=KEYS)
    def attach(self, number: int, advisory_id: str, kind: str, key: str | None) -> None:
        command = Command("attach", self.run_id(number), (advisory_id, kind), key)
        self.post(command, "/attach-advisory", {"advisory_id": advisory_id, "kind": kind})

    @rule(number=NUMBERS, status=st.sampled_from(["PENDING", "READY"]), summary=st.none() | st.just("s"), key=KEYS)
    def explain(self, number: int, status: str, summary: str | None, key: str | None) -> None:
        command = Command("explain", self.run_id(number), (status, summary), key)
        self.post(command, "/explanation", {"status": status, "summary": summary})

    @rule(number=NUMBERS, content=BLOBS, kind=st.sampled_from(["gcode", "other"]), key=KEYS)
    def upload(self, number: int, content: bytes, kind: str, key: str | None) -> None:
        command = Command("upload", self.run_id(number), (digest(content), kind, content), key)
        self.post(command, f"/attachments?kind={kind}", content)

    @rule(number=NUMBERS)
    def withdraw(self, number: int) -> None:
        run_id = self.run_id(number)
        expected = self.model.status_of(Command("withdraw", run_id, ("a mistake",)))
        answer = self.server.post(f"/admin/runs/{run_id}/withdraw", {"reason": "a mistake"})
        assert answer.status == expected, answer.body

    @rule(is_killed=st.booleans())
    def restart(self, is_killed: bool) -> None:
        """In order, or as a crash ends it."""
        if is_killed:
            self.server.kill()
        self.server.restart()

    @rule(name=st.sampled_from(["catalog", "stats", "files"]))
    def rebuild(self, name: str) -> None:
        """It begins, and goes on beside what comes."""
        assert self.server.post(f"/admin/projections/{name}/rebuild", {}).status == 202

    @rule(by_s=st.sampled_from([-365 * DAY_S, -7, 7, DAY_S, 365 * DAY_S]))
    def leap(self, by_s: int) -> None:
        self.server.leap(self.server.now_s + by_s)

    @rule()
    def nearly_midnight(self) -> None:
        """What comes next falls on both sides of it."""
        self.server.leap(self.server.now_s // DAY_S * DAY_S + DAY_S - 0.02)

    @invariant()
    def what_is_served_is_what_the_model_says(self) -> None:
        for run_id, run in self.model.runs.items():
            served = self.server.get(f"/runs/{run_id}?include_withdrawn=true")
            assert served.status == 200, served.body
            assert told(served.json) == expected(run_id, run, self.name)
            assert self.server.get(f"/runs/{run_id}").status == (410 if run.withdrawn else 200)
            if not run.withdrawn:
                for sha256, (_, _, content) in run.given["upload"].items():
                    assert self.server.get(f"/runs/{run_id}/attachments/{sha256}/download").body == content
        listed = self.server.get("/runs", query={"tool_id": self.name, "include_total": "true"}).json
        in_force = [run_id for run_id, run in reversed(self.model.runs.items()) if not run.withdrawn]
        assert [item["run_id"] for item in listed["items"]] == in_force
        assert listed["total"] == len(in_force)

    def post(self, command: Command, path: str, content: Any) -> None:
        """Send it, and compare the answer; that of a retry is the first one's, byte for byte."""
        is_replay = command.key in self.model.keys
        status = self.model.status_of(command)
        target = "/runs" if command.verb == "create" else f"/runs/{command.run_id}{path}"
        headers = {"Idempotency-Key": f"{self.name}-{command.key}"} if command.key else {}
        answer: Answer = self.server.post(target, content, headers)
        assert answer.status == status, (command, answer.body)
        if command.key in self.model.keys and status < 400:
            assert ("Idempotency-Replayed" in answer.headers) == is_replay
            assert self.answers.setdefault(command.key, answer.body) == answer.body

    def run_id(self, number: int) -> str:
        return f"run_{digest(self.name.encode())[:11]}{number}"


def told(view: dict[str, Any]) -> dict[str, Any]:
    """What a view says of what the model knows."""
    return {
        "run_id": view["run_id"],
        "tool_id": view["tool_id"],
        "status": view["status"],
        "explanation": (view["explanation_status"], view["explanation_summary"]),
        "advisories": [(each["advisory_id"], each["kind"]) for each in view["advisory_inputs"]],
        "attachments": [(each["sha256"], each["kind"]) for each in view["attachments"] or []],
        "withdrawn": view.get("withdrawn", {}).get("reason"),
    }


def expected(run_id: str, run: Run, tool_id: str) -> dict[str, Any]:
    """The same, as the model has it."""
    return {
        "run_id": run_id,
        "tool_id": tool_id,
        "status": run.status,
        "explanation": run.explanation,
        "advisories": [content[:2] for content in run.given["attach"].values()],
        "attachments": [content[:2] for content in run.given["upload"].values()],
        "withdrawn": run.withdrawn,
    }


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def everything_once(machine: Machine) -> None:
    """One life with each thing in it, which chance might leave out."""
    machine.the_clock_is_right()
    for step in (
        lambda: machine.create(0, "OK", "k1"),
        lambda: machine.leap(-365 * DAY_S),
        lambda: machine.create(1, "BLOCKED", None),
        lambda: machine.attach(0, "a/b", "note", "k2"),
        lambda: machine.leap(366 * DAY_S),
        lambda: machine.nearly_midnight(),
        lambda: machine.create(2, "OK", None),
        lambda: machine.explain(2, "READY", "s", None),
        lambda: machine.upload(0, b"G1 X1\n", "gcode", None),
        lambda: machine.restart(True),
        lambda: machine.create(0, "OK", "k1"),
        lambda: machine.create(3, "OK", "k1"),
        lambda: machine.rebuild("catalog"),
        lambda: machine.withdraw(1),
        lambda: machine.attach(1, "a_b", "note", None),
        lambda: machine.restart(False),
    ):
        step()
        machine.what_is_served_is_what_the_model_says()


def test_the_service_does_what_the_model_says_whatever_happens_between(clocked: Clocked) -> None:
    machine = type("OnThisServer", (Machine,), {"server": clocked})
    everything_once(machine())
    bounds = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=[*HealthCheck]
    )
    run_state_machine_as_test(machine, settings=bounds)
    until(lambda: no_lag(clocked), "every projection was at the head", 60)
    assert clocked.stop() == 0
    verified = runlog("log", "verify", "--json", "--data-dir", clocked.data_dir)
    assert verified.code == 0, verified
    checked = runlog("projections", "check", "files", "--data-dir", clocked.data_dir)
    assert checked.code == 0, checked
    times = [event["time"] for event in events_in(clocked.data_dir)]
    assert times == sorted(set(times)), "in order, whatever the clock did"
    for path in (clocked.data_dir / "log" / "segments").iterdir():
        days = {line.partition(b'"time":"')[2][:10].decode() for line in path.read_bytes().splitlines()}
        assert days == {path.name[:10]}, "each in the segment of its day"


def no_lag(server: Server) -> bool:
    ready = server.request("GET", "/readyz").json
    return all(one["lag"] == 0 and one["state"] == "running" for one in ready["projections"].values())
