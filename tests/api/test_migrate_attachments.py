"""`runlog migrate`: what comes with a v1 record is in its append, and its blobs are in the store."""

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import events_in, migrate, record, written
from tests.server import FILES, Server, digest

BLOB = "079a3f9b4a549997874e06798233ced96fee7cf8902ace429ad9872a61b581ea"
WITH_EXTENSION = "a3fa04b9457ff5ffed4e9c32d215d30d1403352f9f4073d0b215f5e7c3706591"


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_what_comes_with_a_record_is_in_its_append_and_is_served(own_server: Server, layout: str) -> None:
    """The run, its advisories, its explanation and its attachments are one batch; blobs have their bytes."""
    own_server.stop()
    folder = own_server.folder / "blobs"
    for source in FILES.iterdir():
        inner = folder / source.name[:2] / source.name[2:4] if layout == "nested" else folder
        inner.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, inner)
    attachments = [{"sha256": one, "kind": "gcode"} for one in (BLOB, WITH_EXTENSION)]
    v1 = record(
        "run_" + "0" * 16,
        advisory_inputs=[{"advisory_id": "a", "kind": "note"}],
        explanation_status="READY",
        explanation_summary="why",
        attachments=attachments,
    )
    ran = migrate(written(own_server.folder, v1), own_server.data_dir, "--v1-attachments", folder)
    assert ran.code == 0, ran.err
    segment = next((own_server.data_dir / "log" / "segments").iterdir())
    frames = [json.loads(line) for line in segment.read_bytes().splitlines()]
    assert [(frame["first"], frame["last"]) for frame in frames] == [(0, 4)] * 5
    assert [frame["event"]["type"].removeprefix("rmos.") for frame in frames] == [
        "run.imported.v1",
        "advisory.attached.v1",
        "explanation.set.v1",
        "attachment.added.v1",
        "attachment.added.v1",
    ]
    own_server.start()
    run = own_server.run(v1["run_id"])
    assert [one["advisory_id"] for one in run["advisory_inputs"]] == ["a"]
    assert (run["explanation_status"], run["explanation_summary"]) == ("READY", "why")
    assert [one["sha256"] for one in run["attachments"]] == [BLOB, WITH_EXTENSION]
    for one in run["attachments"]:
        served = own_server.get(f"/runs/{run['run_id']}/attachments/{one['sha256']}/download")
        assert digest(served.body) == one["sha256"]


def test_an_attachment_whose_bytes_are_not_found_or_do_not_match_gets_no_event(tmp_path: Path) -> None:
    """It stays in meta.v1, with a note, and nothing is put into the store."""
    folder = tmp_path / "blobs"
    folder.mkdir()
    (folder / BLOB).write_bytes(b"other bytes")
    v1 = record("run_" + "0" * 16, attachments=[{"sha256": BLOB}, {"sha256": WITH_EXTENSION}])
    ran = migrate(written(tmp_path, v1), tmp_path / "data", "--no-backup", "--v1-attachments", folder)
    assert ran.code == 0
    (event,) = events_in(tmp_path / "data")
    assert event["data"]["run"]["meta"]["v1"]["attachments"] == v1["attachments"]
    assert {"attachments[0]", "attachments[1]"} <= {note["field"] for note in ran.json["notes"]}
    assert not [path for path in (tmp_path / "data" / "attachments").rglob("*") if path.is_file()]
