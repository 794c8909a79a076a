"""What the replaced store got wrong over HTTP: each lesson, by its number, is a test here.

The lessons of the migration, the settings and the hashing function are held where those are tested.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from eventlog.canonical import sha256_json
from tests.server import NOBODY, TIME, Server, body, digest, faults, fresh_id, refused, unique, until


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and the content of every file below *folder*, databases left out."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "sqlite" not in path.name
    }


def run_files(server: Server, run: dict[str, Any], count: int = 1) -> list[Path]:
    """Wait until a run has *count* files and return them."""
    folder = server.data_dir / "runs" / run["created_at_utc"][:10]
    return until(
        lambda: len(files := sorted(folder.glob(f"{run['run_id']}*.json"))) >= count and files,
        f"{count} files are there",
    )


def test_diff_is_a_route_and_not_an_id(server: Server) -> None:
    """Lesson 1."""
    a, b = server.create()["run_id"], server.create()["run_id"]
    assert server.get("/runs/diff", query={"a": a, "b": b}).json["severity"] == "INFO"
    assert faults(server.get("/runs/diff")) == ["?a", "?b"]


def test_verify_is_a_route_and_not_a_digest(server: Server) -> None:
    """Lesson 2."""
    run_id = server.create()["run_id"]
    assert server.get(f"/runs/{run_id}/attachments/verify").json["all_valid"] is True


def test_a_bad_word_is_a_422_with_every_fault(server: Server) -> None:
    """Lesson 3."""
    assert faults(server.post("/runs", body(status="FOO", risk_level=""))) == ["$.risk_level", "$.status"]
    run_id = server.create()["run_id"]
    assert faults(server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "", "kind": "FOO"})) == [
        "$.advisory_id",
        "$.kind",
    ]


@pytest.mark.parametrize("run_id", ["nope", "*", "%00", "RUN_0123456789AB", "run_" + "0" * 16, "0" * 32, "events"])
def test_a_bad_id_is_a_404_and_never_a_500(server: Server, run_id: str) -> None:
    """Lesson 4."""
    refused(server.get(f"/runs/{run_id}"), 404, "RUN_NOT_FOUND")


def test_an_id_with_a_newline_is_none_and_no_file_gets_its_name(server: Server) -> None:
    """Lesson 5."""
    run = server.create(run_id=fresh_id())
    refused(server.get(f"/runs/{run['run_id']}%0A"), 404, "RUN_NOT_FOUND")
    refused(server.post(f"/runs/{run['run_id']}%0A/attach-advisory", {"advisory_id": "a"}), 404, "RUN_NOT_FOUND")
    assert faults(server.post("/runs", body(run_id=fresh_id() + "\n"))) == ["$.run_id"]
    assert not [name for name in tree(server.data_dir) if "\n" in name]


def test_a_nan_is_refused_and_the_hash_is_of_what_is_stored(server: Server) -> None:
    """Lesson 6."""
    assert faults(server.post("/runs", body(feasibility={"score": float("nan")})))
    run = server.create(feasibility={"score": None, "x": 1e-7})
    served = server.run(run["run_id"])
    assert sha256_json(served["feasibility"]) == served["hashes"]["feasibility_sha256"]


def test_one_nan_score_does_not_break_the_list(server: Server) -> None:
    """Lesson 7."""
    tool = unique()
    run_id = server.create(tool_id=tool)["run_id"]
    assert faults(server.post("/runs", body(tool_id=tool, score=float("nan"))))
    assert [item["run_id"] for item in server.get("/runs", query={"tool_id": tool}).json["items"]] == [run_id]


def test_one_id_is_one_create_whatever_its_date(server: Server) -> None:
    """Lesson 8."""
    run = server.create(run_id=fresh_id())
    assert faults(server.post("/runs", body(run_id=run["run_id"], created_at_utc="2020-01-01T00:00:00Z"))) == [
        "$.created_at_utc"
    ]
    refused(server.post("/runs", body(run_id=run["run_id"])), 409, "ARTIFACT_EXISTS")
    assert server.run(run["run_id"]) == run


def test_two_advisories_whose_ids_clean_to_the_same_name_are_both_kept(server: Server) -> None:
    """Lesson 9."""
    run = server.create()
    for advisory_id in ("a/b", "a_b"):
        server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": advisory_id})
    assert [a["advisory_id"] for a in server.run(run["run_id"])["advisory_inputs"]] == ["a/b", "a_b"]
    names = [path.name.removeprefix(run["run_id"]) for path in run_files(server, run, 3)]
    assert sorted(names) == [".json", "_advisory_a_b.json", f"_advisory_a_b~{digest(b'a/b')[:12]}.json"]


def test_the_same_advisory_id_with_other_content_is_not_dropped_with_a_200(server: Server) -> None:
    """Lesson 10."""
    path = f"/runs/{server.create()['run_id']}/attach-advisory"
    server.post(path, {"advisory_id": "a", "kind": "note"})
    refused(server.post(path, {"advisory_id": "a", "kind": "advisory"}), 409, "ADVISORY_CONFLICT")


def test_an_advisory_id_has_1_to_512_characters_and_its_file_a_name_that_fits(server: Server) -> None:
    """Lesson 11."""
    run = server.create()
    path = f"/runs/{run['run_id']}/attach-advisory"
    for length, status in ((0, 422), (1, 200), (65, 200), (221, 200), (512, 200), (513, 422)):
        assert server.post(path, {"advisory_id": "x" * length}).status == status
    files = run_files(server, run, 5)
    assert f"{run['run_id']}_advisory_{'x' * 64}~{digest(b'x' * 512)[:12]}.json" in [file.name for file in files]


def test_an_unknown_explanation_status_is_neither_stored_nor_served(server: Server) -> None:
    """Lesson 12."""
    run = server.create()
    assert faults(server.post(f"/runs/{run['run_id']}/explanation", {"status": "FOO"})) == ["$.status"]
    assert server.run(run["run_id"]) == run


def test_an_overwritten_explanation_stays_in_the_history_with_its_author(server: Server) -> None:
    """Lesson 13."""
    run_id = server.create()["run_id"]
    for summary in ("first", "second"):
        server.post(f"/runs/{run_id}/explanation", {"status": "READY", "summary": summary})
    events = [entry["event"] for entry in server.get(f"/runs/{run_id}/events").json["events"][1:]]
    assert [event["data"]["summary"] for event in events] == ["first", "second"]
    assert all(event["actor"] == "anonymous" and TIME.fullmatch(event["time"]) for event in events)


def test_runs_of_one_day_are_listed_newest_first(server: Server) -> None:
    """Lesson 14."""
    tool = unique()
    ids = [server.create(tool_id=tool)["run_id"] for _ in range(12)]
    assert [item["run_id"] for item in server.get("/runs", query={"tool_id": tool}).json["items"]] == ids[::-1]


def test_the_total_counts_what_the_filters_match(server: Server) -> None:
    """Lesson 15."""
    tool = unique()
    for status in ("OK", "OK", "BLOCKED"):
        server.create(tool_id=tool, status=status)
    query = {"tool_id": tool, "status": "OK", "limit": 1, "include_total": "true"}
    assert server.get("/runs", query=query).json["total"] == 2


def test_a_filter_in_the_future_finds_nothing_and_a_misspelt_one_is_refused(server: Server) -> None:
    """Lesson 16."""
    server.create()
    assert server.get("/runs", query={"date_from": "2999-01-01"}).json["items"] == []
    assert faults(server.get("/runs", query={"datefrom": "2999-01-01"})) == ["?datefrom"]


def test_a_refused_write_leaves_nothing_behind(own_server: Server) -> None:
    """Lesson 17."""
    run = own_server.create(run_id=fresh_id())
    run_files(own_server, run)
    before = tree(own_server.data_dir)
    own_server.post(f"/runs/{NOBODY}/attach-advisory", {"advisory_id": "a"})
    own_server.post(f"/runs/{NOBODY}/explanation", {"status": "READY"})
    own_server.upload(NOBODY, b"bytes", kind="k")
    own_server.post("/runs", body(run_id=run["run_id"], outputs={"gcode_text": "x" * 204_801}))
    own_server.get(f"/runs/{NOBODY}/download")
    after = tree(own_server.data_dir)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    # The signed head may have been written meanwhile: that is of the first run.
    assert {name for name in changed if not name.startswith(("log/checkpoint", "log/tiles"))} == set()


def test_a_file_that_someone_edited_is_not_served_and_is_put_aside(own_server: Server) -> None:
    """Lesson 18."""
    run = own_server.create(status="BLOCKED")
    explain = f"/runs/{run['run_id']}/explanation"
    own_server.post(explain, {"status": "READY", "summary": "true"})
    core, explanation = run_files(own_server, run, 2)
    for file, word in ((core, b"BLOCKED"), (explanation, b"true")):
        edited = file.read_bytes().replace(word, b"forged")
        file.unlink()
        file.write_bytes(edited)
    view = own_server.post(explain, {"status": "READY", "summary": "still true"}).json
    assert (view["status"], view["explanation_summary"]) == ("BLOCKED", "still true")
    assert own_server.run(run["run_id"]) == view
    kept = until(
        lambda: [f for f in (own_server.data_dir / "quarantine").rglob("*") if f.is_file()], "it is in quarantine"
    )
    assert b"forged" in kept[0].read_bytes()
    until(lambda: explanation.exists() and b"still true" in explanation.read_bytes(), "the right file is there")
    (line,) = [line for line in own_server.log_lines() if line["event"] == "file.changed_outside"]
    assert line["level"] == "error"
    assert {"path", "expected_sha256", "found_sha256"} <= set(line)


def test_a_hash_is_64_hex_digits(server: Server) -> None:
    """Lesson 19."""
    assert faults(server.post("/runs", body(hashes={"toolpaths_sha256": "not-a-hash"}))) == [
        "$.hashes.toolpaths_sha256"
    ]


def test_times_and_days_are_those_of_utc(server: Server) -> None:
    """Lesson 20."""
    run = server.create(tool_id=unique())
    assert TIME.fullmatch(run["created_at_utc"])
    day = run["created_at_utc"][:10]
    (item,) = server.get("/runs", query={"tool_id": run["tool_id"], "date_from": day, "date_to": day}).json["items"]
    assert item["artifact_path"] == f"{day}/{run['run_id']}.json"
    assert run_files(server, run)[0] == server.data_dir / "runs" / item["artifact_path"]


def test_one_lock_for_the_writer_and_none_for_a_file(own_server: Server) -> None:
    """Lesson 21: reading makes no file at all."""
    run = own_server.create()
    own_server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": "a"})
    run_files(own_server, run, 2)
    assert [name for name in tree(own_server.data_dir) if name.endswith(".lock")] == ["writer.lock"]
    names = {name for name in tree(own_server.data_dir) if not name.startswith("log/")}
    for path in ("", "/events", "/download", "/advisories", "/attachments", "/attachments/verify"):
        own_server.get(f"/runs/{run['run_id']}{path}")
    own_server.get(f"/runs/{NOBODY}")
    own_server.get("/runs")
    assert {name for name in tree(own_server.data_dir) if not name.startswith("log/")} == names


def test_files_are_whole_read_only_and_without_leftovers(server: Server) -> None:
    """Lesson 22."""
    run = server.create(block_reason="größer")
    (core,) = run_files(server, run)
    assert os.stat(core).st_mode & 0o777 == 0o444
    assert b'\n  "run_id": "' in core.read_bytes()
    assert b"gr\xc3\xb6\xc3\x9fer" in core.read_bytes()
    until(lambda: not list((server.data_dir / "runs").rglob("*.tmp")), "no .tmp file is left")


def test_a_corrupt_blob_is_found_and_the_next_upload_repairs_it(server: Server) -> None:
    """Lesson 23."""
    run_id, content = server.create()["run_id"], unique().encode()
    sha256 = server.upload(run_id, content, kind="k").json["sha256"]
    assert sha256 == digest(content)
    blob = server.data_dir / "attachments" / sha256[:2] / sha256[2:4] / sha256
    blob.unlink()
    blob.write_bytes(content[::-1])
    assert server.get(f"/runs/{run_id}/attachments/verify").json["all_valid"] is False
    assert server.upload(run_id, content, kind="k").status == 200
    assert server.get(f"/runs/{run_id}/attachments/verify").json["all_valid"] is True
    assert blob.read_bytes() == content


def test_no_path_of_the_server_leaks_and_none_of_a_client_is_followed(server: Server) -> None:
    """Lesson 24."""
    outputs = {"gcode_path": "../../etc/passwd", "opplan_path": "/etc/passwd", "preview_svg_path": "attachments/../x"}
    run = server.create(outputs=outputs)
    assert outputs.items() <= run["outputs"].items()
    for sha256 in ("..%2f..%2f..%2fetc%2fpasswd", "%2Fetc%2Fpasswd", "....//etc/passwd"):
        for part in ("", "/download"):
            answer = server.get(f"/runs/{run['run_id']}/attachments/{sha256}{part}")
            assert answer.status == 404
            assert b"root:" not in answer.body
    sha256 = server.upload(run["run_id"], b"bytes", kind="k").json["sha256"]
    for path in ("", "/attachments", f"/attachments/{sha256}", "/download"):
        assert str(server.data_dir).encode() not in server.get(f"/runs/{run['run_id']}{path}").body
    assert server.get("/runs?limit=1").json["runs_dir"] == "."


def test_a_hash_of_other_characters_than_ascii_is_a_422(server: Server) -> None:
    """Lesson 25."""
    assert faults(server.post("/runs", body(hashes={"feasibility_sha256": "é" * 64}))) == [
        "$.hashes.feasibility_sha256"
    ]
    refused(
        server.upload(server.create()["run_id"], b"x", {"Content-Digest": "sha-256=:\xe9:"}, kind="k"),
        422,
        "VALIDATION_ERROR",
    )


def test_a_diff_is_the_same_bytes_in_every_process(own_server: Server) -> None:
    """Lesson 40: and a hash on one side, or a block reason, counts."""
    texts = [f"w{n}" for n in range(30)]
    a = own_server.create(warnings=texts, details=dict.fromkeys(texts), outputs={"gcode_text": "G0"})["run_id"]
    b = own_server.create(warnings=[*texts[::-1][:20], "new"], details={"w3": 1}, block_reason="r")["run_id"]
    first = own_server.get("/runs/diff", query={"a": a, "b": b})
    assert {"hashes.gcode_sha256", "decision.block_reason"} <= {entry["field"] for entry in first.json["differences"]}
    assert first.json["severity"] == "WARNING"
    own_server.restart()
    assert own_server.get("/runs/diff", query={"a": a, "b": b}).body == first.body


def test_a_missing_root_is_made_at_start(own_server: Server) -> None:
    """Lesson 41: this server was started on a folder that was not there."""
    assert own_server.data_dir.is_dir()
    assert own_server.request("GET", "/readyz").json["status"] == "ready"
    assert own_server.get("/runs").json["items"] == []
    assert own_server.create()["log"]["seq"] == 0


def test_the_clients_request_id_in_meta_is_kept(server: Server) -> None:
    """Lesson 42."""
    answer = server.post("/runs", body(meta={"request_id": "mine"}), {"X-Request-Id": "other"})
    assert answer.json["meta"] == {"request_id": "mine"}
    assert answer.headers["X-Request-Id"] == "other"


def test_a_duplicate_can_be_told_by_its_id_and_a_retry_by_its_key(server: Server) -> None:
    """Lesson 43."""
    sent, key = body(run_id=fresh_id()), {"Idempotency-Key": unique()}
    assert server.post("/runs", sent, key).status == 201
    assert server.post("/runs", sent, key).status == 201
    refused(server.post("/runs", sent), 409, "ARTIFACT_EXISTS")


def test_the_clients_own_feasibility_is_stripped_and_its_hash_kept(server: Server) -> None:
    """Lesson 44."""
    own = {"risk_level": "GREEN"}
    run = server.create(request_summary={"feasibility": own, "depth": 1})
    assert run["request_summary"] == {"depth": 1}
    assert run["meta"]["stripped"] == [{"path": "$.request_summary.feasibility", "sha256": sha256_json(own)}]
