"""GET /stats: the runs in force, counted; it sees every write that was acknowledged before it."""

import pytest

from tests.commands import V1_FILE, runlog
from tests.server import BASE, Server, faults, refused


def totals(server: Server, **query: str) -> dict[str, int]:
    """Return the total of each key."""
    answer = server.get("/stats", query=query)
    assert answer.status == 200, answer.body
    assert [item["key"] for item in answer.json["items"]] == sorted(item["key"] for item in answer.json["items"])
    return {item["key"]: item["total"] for item in answer.json["items"]}


def test_an_empty_log_has_no_counts(own_server: Server) -> None:
    answer = own_server.get("/stats")
    assert (answer.status, answer.json) == (200, {"group_by": "day", "items": []})


def test_every_run_is_counted_as_soon_as_it_is_acknowledged(own_server: Server) -> None:
    """In each group, with what its runs came to."""
    own_server.create(tool_id="b", mode="m", status="BLOCKED", risk_level="RED")
    assert totals(own_server, group_by="tool_id") == {"b": 1}
    day = own_server.create(tool_id="a", mode="m")["created_at_utc"][:10]
    own_server.create(tool_id="b", mode="n")
    assert own_server.get("/stats", query={"group_by": "tool_id"}).json == {
        "group_by": "tool_id",
        "items": [
            {"key": "a", "total": 1, "by_status": {"OK": 1}, "by_risk_level": {"GREEN": 1}},
            {"key": "b", "total": 2, "by_status": {"BLOCKED": 1, "OK": 1}, "by_risk_level": {"GREEN": 1, "RED": 1}},
        ],
    }
    assert totals(own_server) == totals(own_server, date_from=day, date_to=day, group_by="day")
    assert sum(totals(own_server).values()) == 3
    assert totals(own_server, group_by="status") == {"BLOCKED": 1, "OK": 2}
    assert totals(own_server, group_by="risk_level") == {"GREEN": 2, "RED": 1}
    assert totals(own_server, group_by="mode") == {"m": 2, "n": 1}
    assert totals(own_server, date_to="2000-01-01") == {}
    assert own_server.get("/stats", query={"stale": "ok"}).headers["X-Projection-Position"] == "2"


def test_the_real_runs_are_counted_by_their_own_days(own_server: Server) -> None:
    """After a migration, as the list has them."""
    own_server.stop()
    assert runlog("migrate", "--v1-path", V1_FILE, "--no-backup", "--data-dir", own_server.data_dir).code == 0
    own_server.start()
    listed = own_server.get("/runs", query={"limit": 200}).json["items"]
    days = [item["created_at_utc"][:10] for item in listed]
    assert totals(own_server) == {day: days.count(day) for day in days}
    first = min(days)
    assert totals(own_server, date_to=first) == {first: days.count(first)}


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("group_by=colour", ["?group_by"]),
        ("date_from=2025-13-01&date_to=1", ["?date_from", "?date_to"]),
        ("group_by=day&group_by=day", ["?group_by"]),
        ("status=OK&group_by=x", ["?group_by", "?status"]),
        ("stale=yes", ["?stale"]),
    ],
)
def test_what_is_not_understood_is_refused_with_every_fault(server: Server, query: str, paths: list[str]) -> None:
    assert faults(server.get(f"/stats?{query}")) == paths


def test_an_empty_value_is_as_if_it_were_not_there(server: Server) -> None:
    assert server.get("/stats?group_by=&date_from=").json["group_by"] == "day"


def test_the_stats_cannot_be_changed(server: Server) -> None:
    refused(server.request("DELETE", f"{BASE}/stats"), 405, "METHOD_NOT_ALLOWED")
