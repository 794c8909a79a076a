"""Through a server no record ends an import, and what is recorded is what an import without a server records."""

import asyncio
import json
from base64 import b64encode
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from api.migration import offline, online, reaching
from api.migration.report import Report
from api.migration.v1 import RecordError
from api.migration.v1_source import V1Attachments
from api.migration.v1_text import V1Record
from api.settings import Settings
from tests.api.test_migrate_online import AS_LINES, BLOB, HEAD, OTHER_BLOB, SAME, url_of
from tests.commands import events_in, migrate, record, runlog, written
from tests.server import Server

NASTY = (
    f'"feasibility":{{"x":{"[" * 62}{"]" * 62}}}',  # 64 levels, with the record's own
    f'"feasibility":{{"x":{"[" * 63}{"]" * 63}}}',
    '"request_summary":{"z":{"feasibility":1},"a":{"feasibility":2},"m":[{"feasibility":3,"b":4}]}',
    '"advisory_inputs":[{"zeta":1,"advisory_id":"b","alpha":2},"a"],"meta":{"z":1,"a":2},"z":1,"a":2',
    '"feasibility":{"safety":{"score":1e-7}},"x":[0.0000001,1E22,-0.0,5e-324,0.1,1.0,1,100000000000000000000.0]',
    '"x":[123456789012345678901234567890,-18446744073709551616,9007199254740993]',
    '"x":1e400',
    '"x":NaN',
    f'"x":{"9" * 1001}',
    f'"x":{"9" * 1000}',
    '"x":"\\ud800"',
    '"x":"\\ud83d\\ude00 \\u0000\\u2028 \\/ \\u00e9 é","é\\n":" 😀"',
    '"x":1,"x":2',
    '"x":\r\n\t"y"\n',
    '"status":"ok","created_at_utc":"2026-01-05T05:07:16"',
    '"x":',
)


def test_no_record_ends_an_import_and_all_that_is_recorded_is_what_an_import_without_a_server_records(
    own_server: Server, tmp_path: Path
) -> None:
    records = []
    for number, fields in enumerate(NASTY):
        beginning = "" if '"status"' in fields else '"created_at_utc":"2026-01-05T05:07:16Z","status":"OK",'
        records.append(f'"run_{number:016x}":{{{beginning}{fields}}}')
    good = json.dumps(record("run_" + "f" * 16))
    records += [f'"{"é" * (6 << 20)}":{{}}', f'"run_/../x?":{good}', '"":null', '"run_\\ud800":{}', '"run_00":\n']
    path = tmp_path / "v1.json"
    path.write_text("{" + ",".join([*records, f'"run_{"f" * 16}":{good}']) + "}", "utf-8", newline="")
    without = migrate(path, tmp_path / "offline", "--no-backup")
    ran = migrate(path, own_server.data_dir, "--no-backup", "--url", url_of(own_server))
    assert (ran.code, ran.err) == (without.code, without.err) == (1, "")
    assert {name: ran.json[name] for name in SAME} == {name: without.json[name] for name in SAME}
    assert (ran.json["imported"], ran.json["failed"]) == (10, 12)
    assert recorded(own_server.data_dir) == recorded(tmp_path / "offline")
    compared = runlog("verify", "--v1-path", path, "--data-dir", own_server.data_dir, "--json")
    assert (compared.json["same"], compared.json["different"]) == (10, [])
    assert counts_of(own_server.data_dir) == counts_of(tmp_path / "offline")


def recorded(data_dir: Path) -> list[tuple[str, str, str]]:
    """What the events say, but for when and by whom."""
    events = [one | {"data": {**one["data"], "import_id": ""}} for one in events_in(data_dir)]
    return [(one["type"], one["subject"], json.dumps(one["data"])) for one in events]


def counts_of(data_dir: Path) -> dict[str, int]:
    (kept,) = (data_dir / "imports").iterdir()
    facts = json.loads(kept.read_bytes())
    assert facts["state"] == "done"
    counts: dict[str, int] = facts["counts"]
    return counts


def test_a_record_whose_line_is_too_long_fails_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    one = V1Record("run_" + "0" * 16, b'{"a":\r\n1}')
    line = online.line_of(one, {BLOB: 1})
    assert json.loads(line) == {"run_id": one.key, "blobs": {BLOB: 1}, "record": {"a": 1}}
    assert line.count(b"\n") == 1
    monkeypatch.setattr(online, "LINE_BYTES_MAX", len(line) - 1)
    assert online.line_of(one, {BLOB: 1}) == line
    with pytest.raises(RecordError, match="without --url"):
        online.line_of(one, {BLOB: 10})


def imported(server: Server, *lines: dict[str, Any]) -> list[dict[str, Any]]:
    """Send an import of these lines; return those of the answer."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in (HEAD, *lines))
    answer = server.post("/admin/import", body, AS_LINES)
    assert answer.status == 200
    return [json.loads(one) for one in answer.body.splitlines()]


def test_attachments_that_changed_while_they_were_sent_cost_their_records_alone(own_server: Server) -> None:
    ids = [f"run_{number:016x}" for number in range(4)]
    other = {"data": b64encode(b"other").decode(), "more": True}
    part = {"sha256": BLOB, "size_bytes": 5}
    _, *verdicts, end = imported(
        own_server,
        {"blob": {**part, **other}},
        {"blob": {**part, "data": "", "more": False}},
        {"run_id": ids[0], "record": record(ids[0], attachments=[BLOB]), "blobs": {BLOB: 5}},
        {"blob": {**part, **other, "size_bytes": 4}},
        {"blob": {**part, **other, "more": False}},
        {"run_id": ids[1], "record": record(ids[1], attachments=[BLOB]), "blobs": {BLOB: 4}},
        {"run_id": ids[2], "record": record(ids[2], attachments=[OTHER_BLOB]), "blobs": {OTHER_BLOB: 1}},
        {"run_id": ids[3], "record": record(ids[3])},
        {"end": True, "failed": 7},
    )
    assert [one["outcome"] for one in verdicts] == ["failed", "failed", "failed", "imported"]
    assert {one["errors"][0]["field"] for one in verdicts[:3]} == {"attachments"}
    assert end == {"end": {"position": 0}}
    assert counts_of(own_server.data_dir) == {
        "total": 11,
        "imported": 1,
        "unchanged": 0,
        "conflicts": 0,
        "failed": 10,
    }


class Vanishing(V1Attachments):
    """Attachments that were there when they were looked at."""

    def size(self, digest: str) -> int | None:
        return 5

    def path(self, digest: str) -> Path | None:
        return None if digest == OTHER_BLOB else Path("not-there") / digest


def test_attachments_that_vanish_before_they_are_sent_cost_their_records_alone(
    own_server: Server, tmp_path: Path
) -> None:
    ids = [f"run_{number:016x}" for number in range(3)]
    given = ([BLOB], [OTHER_BLOB], [])
    path = written(tmp_path, *(record(one, attachments=blobs) for one, blobs in zip(ids, given, strict=True)))
    for url in (url_of(own_server), None):
        settings = Settings(data_dir=tmp_path / "offline")
        way: dict[str, Any] = {
            "with_backup": False,
            "batch_size": 2,
            "bars": lambda *_: nullcontext(lambda _done: None),
            "say": print,
        }
        with closing(Report()) as report:
            if url:
                online.migrate_online(path, Vanishing(None), settings, url, report, **way)
            else:
                offline.migrate_offline(path, Vanishing(None), settings, report, **way)
            assert (report.imported, report.failed) == (1, 2)
            assert [(one["run_id"], one["field"]) for one in report.errors] == [(one, "attachments") for one in ids[:2]]


def test_a_client_that_reads_for_long_shows_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server ends a request of which no byte comes for a while."""

    async def heard() -> None:
        monkeypatch.setattr(reaching, "_BEAT_S", 0)
        work = asyncio.get_running_loop().create_future()
        beats = reaching.beats(work)
        assert [await anext(beats), await anext(beats)] == [b"\n", b"\n"]
        work.set_result({})
        assert [beat async for beat in beats] == []

    asyncio.run(heard())
