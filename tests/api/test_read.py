"""Reading one run: the merged view, its versions, its past, its events; and what is no id."""

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.server import BASE, NOBODY, TIME, Server, body, canonical, digest, faults, refused, words

RUN = set(
    words(
        "run_id created_at_utc mode tool_id status request_summary feasibility decision hashes outputs advisory_inputs "
        "explanation_status explanation_summary attachments context meta log"
    )
)


def test_a_view_has_exactly_the_keys_of_the_contract(server: Server) -> None:
    """Null where unknown, never left out; times with six digits and a Z."""
    run = server.create()
    assert set(run) == RUN
    assert run["decision"] == {
        "risk_level": "GREEN",
        "score": None,
        "block_reason": None,
        "warnings": [],
        "details": {},
    }
    assert run["hashes"] == {
        "feasibility_sha256": run["hashes"]["feasibility_sha256"],
        "toolpaths_sha256": None,
        "gcode_sha256": None,
        "opplan_sha256": None,
    }
    assert run["outputs"] == dict.fromkeys(words("gcode_text opplan_json gcode_path opplan_path preview_svg_path"))
    assert (run["advisory_inputs"], run["attachments"], run["context"], run["meta"]) == ([], None, {}, {})
    assert (run["explanation_status"], run["explanation_summary"]) == ("NONE", None)
    assert TIME.fullmatch(run["created_at_utc"])
    assert set(run["log"]) == {"seq", "event_sha256", "revision", "last_seq"}
    assert (run["log"]["revision"], run["log"]["last_seq"]) == (0, run["log"]["seq"])


def test_what_is_added_shows_in_the_view_in_the_order_of_its_coming(server: Server) -> None:
    """`revision` counts the run's events from 0; `last_seq` is the last of them."""
    run = server.create()
    path = f"/runs/{run['run_id']}"
    for advisory_id in ("b", "a", "c"):
        server.post(f"{path}/attach-advisory", {"advisory_id": advisory_id})
    server.post(f"{path}/explanation", {"status": "READY", "summary": "because"})
    added = server.upload(run["run_id"], b"bytes", kind="k").json
    view = server.run(run["run_id"])
    assert [advisory["advisory_id"] for advisory in view["advisory_inputs"]] == ["b", "a", "c"]
    assert (view["explanation_status"], view["explanation_summary"]) == ("READY", "because")
    assert view["attachments"] == [added]
    assert view["log"] == run["log"] | {"revision": 5, "last_seq": run["log"]["seq"] + 5}
    added_since = {"advisory_inputs", "explanation_status", "explanation_summary", "attachments", "log"}
    assert {k: v for k, v in view.items() if k not in added_since} == {
        k: v for k, v in run.items() if k not in added_since
    }


def test_a_read_is_never_older_than_the_answer_before_it(server: Server) -> None:
    """Read your writes, every time."""
    run_id = server.create()["run_id"]
    for n in range(30):
        answer = server.post(f"/runs/{run_id}/explanation", {"status": "READY", "summary": f"{n}"})
        read = server.get(f"/runs/{run_id}")
        assert read.json == answer.json
        assert read.json["explanation_summary"] == f"{n}"


# --- versions


def test_the_etag_names_the_last_event_and_changes_with_it(server: Server) -> None:
    run = server.create()
    first = server.get(f"/runs/{run['run_id']}").headers["ETag"]
    assert re.fullmatch(rf'"{run["log"]["last_seq"]}-[^"]+"', first)
    server.post(f"/runs/{run['run_id']}/explanation", {"status": "READY"})
    assert server.get(f"/runs/{run['run_id']}").headers["ETag"] != first


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"other",W/{} , "third"', "*"])
def test_a_known_version_is_answered_with_304(server: Server, form: str) -> None:
    """One tag, a list, a weak one, or a star; without a body, with the tag."""
    path = f"/runs/{server.create()['run_id']}"
    etag = server.get(path).headers["ETag"]
    for method in ("GET", "HEAD"):
        answer = server.request(method, BASE + path, headers={"If-None-Match": form.format(etag)})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)


@pytest.mark.parametrize("form", ['"other"', '"0-1"', "", "nonsense"])
def test_another_version_is_answered_with_the_run(server: Server, form: str) -> None:
    run = server.create()
    answer = server.get(f"/runs/{run['run_id']}", {"If-None-Match": form})
    assert (answer.status, answer.json) == (200, run)


def test_an_old_version_is_answered_with_the_run(server: Server) -> None:
    run_id = server.create()["run_id"]
    old = server.get(f"/runs/{run_id}").headers["ETag"]
    now = server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"}).json
    answer = server.get(f"/runs/{run_id}", {"If-None-Match": old})
    assert (answer.status, answer.json) == (200, now)


# --- the past


def history(server: Server) -> list[dict[str, Any]]:
    """Return a run's views after each of its four events, with other runs' events before and in between."""
    server.create()
    run_id = server.create()["run_id"]
    views = [server.run(run_id)]
    for path, sent in [
        ("attach-advisory", {"advisory_id": "a"}),
        ("explanation", {"status": "PENDING"}),
        ("explanation", {"status": "READY", "summary": "s"}),
    ]:
        server.create()
        views.append(server.post(f"/runs/{run_id}/{path}", sent).json)
    return views


def test_a_run_can_be_read_as_it_was_at_any_place_of_the_log(server: Server) -> None:
    """Before its creation there is none; beyond the end is the present."""
    views = history(server)
    path = f"/runs/{views[0]['run_id']}"
    for view, after in zip(views, [*views[1:], None], strict=True):
        end = after["log"]["last_seq"] if after else view["log"]["last_seq"] + 3
        for seq in range(view["log"]["last_seq"], end):
            assert server.get(path, query={"at": seq}).json == view
    refused(server.get(path, query={"at": views[0]["log"]["seq"] - 1}), 404, "RUN_NOT_FOUND")
    assert server.get(path, query={"at": 10**12}).json == views[-1]
    assert server.get(path, query={"at": 10**30}).json == views[-1]


def test_a_run_can_be_read_as_it_was_at_any_time(server: Server) -> None:
    """The moment of an event is after it; any offset from UTC will do."""
    views = history(server)
    run_id = views[0]["run_id"]
    times = [entry["event"]["time"] for entry in server.get(f"/runs/{run_id}/events").json["events"]]
    for time, view, before in zip(times, views, [None, *views], strict=False):
        moment = datetime.fromisoformat(time)
        elsewhere = moment.astimezone(timezone(timedelta(hours=-5, minutes=-30))).isoformat(timespec="microseconds")
        assert server.get(f"/runs/{run_id}", query={"at": time}).json == view
        assert server.get(f"/runs/{run_id}", query={"at": elsewhere}).json == view
        just_before = server.get(f"/runs/{run_id}", query={"at": (moment - timedelta(microseconds=1)).isoformat()})
        if before is None:
            refused(just_before, 404, "RUN_NOT_FOUND")
        else:
            assert just_before.json == before
    assert server.get(f"/runs/{run_id}", query={"at": "2999-01-01T00:00:00Z"}).json == views[-1]
    refused(server.get(f"/runs/{run_id}", query={"at": "2001-01-01T00:00:00Z"}), 404, "RUN_NOT_FOUND")


@pytest.mark.parametrize(
    "at", ["yesterday", "1.5", "1_0", "\u0663", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "0x1"]
)
def test_a_moment_that_is_none_is_a_422(server: Server, at: str) -> None:
    run_id = server.create()["run_id"]
    assert faults(server.get(f"/runs/{run_id}", query={"at": at})) == ["?at"]


# --- download, advisories, events


def test_a_download_is_the_view_as_a_pretty_file(server: Server) -> None:
    run = server.create(block_reason="größer")
    answer = server.get(f"/runs/{run['run_id']}/download")
    assert answer.status == 200
    assert answer.headers.get_content_type() == "application/json"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{run["run_id"]}.json"'
    assert answer.json == run
    assert f'\n  "run_id": "{run["run_id"]}"'.encode() in answer.body


def test_the_advisories_of_a_run_can_be_read_alone(server: Server) -> None:
    run_id = server.create()["run_id"]
    empty = {
        "run_id": run_id,
        "advisory_inputs": [],
        "count": 0,
        "explanation_status": "NONE",
        "explanation_summary": None,
    }
    assert server.get(f"/runs/{run_id}/advisories").json == empty
    server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"})
    view = server.post(f"/runs/{run_id}/explanation", {"status": "ERROR", "summary": "s"}).json
    answer = server.get(f"/runs/{run_id}/advisories").json
    assert answer == {"count": 1} | {name: view[name] for name in empty if name != "count"}


def test_events_are_served_byte_for_byte_as_they_were_hashed(server: Server) -> None:
    """Numbers and characters that an encoder might rewrite are the test of it."""
    meta = {
        "floats": [1.0, -0.0, 1e-5, 1e22, 5e-324, 0.1],
        "big": [2**64, -(10**40)],
        "text": "é😀\u2028</script>\u0000",
    }
    run = server.post("/runs", body(meta=meta), {"X-Request-Id": "r-1"}).json
    server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": "ü/ü"})
    server.post(f"/runs/{run['run_id']}/explanation", {"status": "READY", "summary": "größer"})
    answer = server.get(f"/runs/{run['run_id']}/events")
    assert (answer.json["run_id"], answer.json["count"]) == (run["run_id"], 3)
    for entry in answer.json["events"]:
        assert set(entry) == {"seq", "hash", "event"}
        verbatim = canonical(entry["event"])
        assert verbatim in answer.body
        assert digest(verbatim) == entry["hash"]
    assert [entry["seq"] for entry in answer.json["events"]] == [run["log"]["seq"] + n for n in range(3)]
    assert answer.json["events"][0]["hash"] == run["log"]["event_sha256"]


def test_an_event_is_a_cloudevent_that_says_who_when_and_what(server: Server) -> None:
    """Absent means absent: no nulls among the attributes."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-Id": "r-2", "traceparent": trace}
    run = server.post("/runs", body(), headers).json
    server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": "a"})
    created, attached = [entry["event"] for entry in server.get(f"/runs/{run['run_id']}/events").json["events"]]
    plain = set(words("specversion id source type subject time datacontenttype data actor"))
    assert set(attached) == plain
    assert set(created) == plain | {"requestid", "traceparent"}
    assert (created["requestid"], created["traceparent"]) == ("r-2", trace)
    assert (created["type"], attached["type"]) == ("rmos.run.created.v1", "rmos.advisory.attached.v1")
    assert created["source"] == attached["source"]
    assert re.fullmatch(r"urn:runlog:[0-9a-f]{32}", created["source"])
    for event in (created, attached):
        assert (event["specversion"], event["datacontenttype"], event["actor"]) == (
            "1.0",
            "application/json",
            "anonymous",
        )
        assert event["subject"] == run["run_id"]
        assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", event["id"])
        assert TIME.fullmatch(event["time"])
    assert created["time"] == run["created_at_utc"] == created["data"]["run"]["created_at_utc"]
    assert attached["time"] == attached["data"]["advisory"]["created_at_utc"]
    assert set(created["data"]) == {"run"}
    added_later = {"advisory_inputs", "explanation_status", "explanation_summary", "attachments", "log"}
    assert created["data"]["run"] == {name: value for name, value in run.items() if name not in added_later}


# --- HEAD


@pytest.mark.parametrize("part", ["", "/download", "/events", "/advisories", "/attachments", "/attachments/verify"])
def test_head_answers_as_get_does_but_without_a_body(server: Server, part: str) -> None:
    path = f"{BASE}/runs/{server.create()['run_id']}{part}"
    get, head = server.request("GET", path), server.request("HEAD", path)
    assert (head.status, head.body) == (get.status, b"") == (200, b"")
    assert head.headers.get_content_type() == get.headers.get_content_type()
    for name in ("ETag", "Content-Disposition"):
        assert head.headers[name] == get.headers[name]


def test_head_of_a_missing_run_is_a_404_without_a_body(server: Server) -> None:
    answer = server.request("HEAD", f"{BASE}/runs/{NOBODY}")
    assert (answer.status, answer.body) == (404, b"")


def test_views_are_the_same_after_a_restart(own_server: Server) -> None:
    """Also where nothing but the log was written when the process died."""
    views = history(own_server)
    own_server.kill()
    own_server.start()
    assert own_server.run(views[-1]["run_id"]) == views[-1]
    at = {"at": views[1]["log"]["last_seq"]}
    assert own_server.get(f"/runs/{views[0]['run_id']}", query=at).json == views[1]
    assert json.loads(own_server.get(f"/runs/{views[0]['run_id']}/events").body)["count"] == 4
