"""Adding to a run: advisories, whatever their ids look like, and the explanation."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import ABSENT, FEW, NOBODY, TIME, Server, faults, refused, words


def attach(server: Server, run_id: str, advisory_id: Any, **more: Any) -> Any:
    return server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": advisory_id, **more})


def explain(server: Server, run_id: str, status: Any, **more: Any) -> Any:
    return server.post(f"/runs/{run_id}/explanation", {"status": status, **more})


def types(server: Server, run_id: str) -> list[str]:
    """Return the types of a run's events."""
    return [entry["event"]["type"] for entry in server.get(f"/runs/{run_id}/events").json["events"]]


# --- advisories


def test_an_attached_advisory_stands_in_the_artifact(server: Server) -> None:
    run = server.create()
    sent = {"advisory_id": "adv-1", "kind": "note", "engine_id": "e", "engine_version": "1.2"}
    answer = server.post(f"/runs/{run['run_id']}/attach-advisory", sent, {"X-Request-Id": "r-9"})
    assert answer.status == 200
    (advisory,) = answer.json["advisory_inputs"]
    assert advisory == {**sent, "request_id": "r-9", "created_at_utc": advisory["created_at_utc"]}
    assert TIME.fullmatch(advisory["created_at_utc"])
    assert advisory["created_at_utc"] > run["created_at_utc"]
    assert answer.json == server.run(run["run_id"])


def test_an_advisory_needs_only_its_id(server: Server) -> None:
    """The kind is `unknown` then; null means absent."""
    run_id = server.create()["run_id"]
    (plain,) = attach(server, run_id, "a").json["advisory_inputs"]
    assert set(plain) == {"advisory_id", "kind", "created_at_utc", "request_id", "engine_id", "engine_version"}
    assert (plain["kind"], plain["engine_id"], plain["engine_version"]) == ("unknown", None, None)
    again = attach(server, run_id, "a", kind=None, engine_id=None, engine_version=None)
    assert again.json["advisory_inputs"] == [plain]


@pytest.mark.parametrize("kind", ["explanation", "advisory", "note", "unknown"])
def test_each_kind_of_advisory_is_kept(server: Server, kind: str) -> None:
    assert attach(server, server.create()["run_id"], "a", kind=kind).json["advisory_inputs"][0]["kind"] == kind


def test_the_same_advisory_again_is_no_event(server: Server) -> None:
    """Whether the default kind is written out or not."""
    run_id = server.create()["run_id"]
    first = attach(server, run_id, "a", engine_id="e")
    for more in ({}, {"kind": "unknown"}, {"engine_version": None}):
        again = attach(server, run_id, "a", engine_id="e", **more)
        assert (again.status, again.json) == (200, first.json)
    assert len(types(server, run_id)) == 2


@pytest.mark.parametrize(
    "more", [{}, {"engine_id": "f"}, {"kind": "note", "engine_id": "e"}, {"engine_id": "e", "engine_version": "1"}]
)
def test_the_same_id_with_other_content_is_a_conflict(server: Server, more: dict[str, str]) -> None:
    run_id = server.create()["run_id"]
    first = attach(server, run_id, "a", engine_id="e").json
    problem = refused(attach(server, run_id, "a", **more), 409, "ADVISORY_CONFLICT")
    assert (problem["run_id"], problem["advisory_id"]) == (run_id, "a")
    assert server.run(run_id) == first


ALIKE = [*words("a/b a_b a.b A/b a//b a\\b é e\u0301 .. . * %2F a%2Fb 😀"), "a b", "a/b ", " a/b", "\u2028"]


def test_ids_that_look_alike_stay_apart_and_exact(server: Server) -> None:
    run_id = server.create()["run_id"]
    for advisory_id in ALIKE:
        assert attach(server, run_id, advisory_id).status == 200
    assert [advisory["advisory_id"] for advisory in server.run(run_id)["advisory_inputs"]] == ALIKE


VISIBLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=512)


@given(advisory_id=VISIBLE)
@FEW
def test_any_id_without_control_characters_is_kept_exactly(server: Server, advisory_id: str) -> None:
    """And the run is found by it."""
    run_id = server.create()["run_id"]
    assert attach(server, run_id, advisory_id).status == 200
    assert server.run(run_id)["advisory_inputs"][0]["advisory_id"] == advisory_id
    listed = server.get("/runs", query={"advisory_id": advisory_id, "limit": 1}).json["items"]
    assert [item["run_id"] for item in listed] == [run_id]


@pytest.mark.parametrize("advisory_id", ["x" * 512, "😀" * 512, "/" * 221])
def test_an_id_may_have_512_characters(server: Server, advisory_id: str) -> None:
    run = attach(server, server.create()["run_id"], advisory_id).json
    assert run["advisory_inputs"][0]["advisory_id"] == advisory_id


WRONG_ADVISORIES = [
    *[({"advisory_id": bad}, "$.advisory_id") for bad in (ABSENT, None, "", 1, ["a"], "x" * 513)],
    *[({"advisory_id": f"a{bad}b"}, "$.advisory_id") for bad in ("\n", "\x00", "\x1f", "\x7f", "\x85", "\t")],
    *[({"kind": bad}, "$.kind") for bad in ("FOO", "", "Note", 1)],
    *[({name: bad}, f"$.{name}") for name in ("engine_id", "engine_version") for bad in (1, [], True)],
    ({"surprise": None}, "$.surprise"),
]


@pytest.mark.parametrize(
    ("changes", "path"), WRONG_ADVISORIES, ids=[f"{n}-{p}" for n, (_, p) in enumerate(WRONG_ADVISORIES)]
)
def test_a_wrong_advisory_is_a_422_that_names_the_field(server: Server, changes: dict[str, Any], path: str) -> None:
    run = server.create()
    sent = {name: value for name, value in ({"advisory_id": "a"} | changes).items() if value is not ABSENT}
    assert faults(server.post(f"/runs/{run['run_id']}/attach-advisory", sent)) == [path]
    assert server.run(run["run_id"]) == run


def test_concurrent_advisories_are_all_kept_and_equal_ones_once(server: Server) -> None:
    run_id = server.create()["run_id"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: attach(server, run_id, f"adv-{n % 10}"), range(40)))
    assert {answer.status for answer in answers} == {200}
    ids = [advisory["advisory_id"] for advisory in server.run(run_id)["advisory_inputs"]]
    assert sorted(ids) == [f"adv-{n}" for n in range(10)]
    assert len(types(server, run_id)) == 11


def test_of_concurrent_advisories_that_conflict_one_wins(server: Server) -> None:
    run_id = server.create()["run_id"]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: attach(server, run_id, "a", engine_id=f"{n}"), range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9


def test_a_run_holds_at_most_1000_advisories(server: Server) -> None:
    """What is there already may be sent again, and the explanation may still change."""
    run_id = server.create()["run_id"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: attach(server, run_id, f"{n}"), range(1000)))
    assert [(answer.status, answer.json["error"]) for answer in answers if answer.status != 200] == []
    refused(attach(server, run_id, "one too many"), 409, "RUN_FULL")
    assert attach(server, run_id, "7").status == 200
    assert len(explain(server, run_id, "READY").json["advisory_inputs"]) == 1000


# --- the explanation


def test_a_set_explanation_stands_in_the_artifact(server: Server) -> None:
    run_id = server.create()["run_id"]
    answer = explain(server, run_id, "READY", summary="Warum? Größer.")
    assert answer.status == 200
    assert (answer.json["explanation_status"], answer.json["explanation_summary"]) == ("READY", "Warum? Größer.")
    assert answer.json == server.run(run_id)


def test_every_change_of_the_explanation_is_an_event_and_repeating_it_is_none(server: Server) -> None:
    """An absent summary sets null; so does null."""
    run_id = server.create()["run_id"]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("NONE", {}),
        ("PENDING", {}),
        ("PENDING", {"summary": None}),
        ("READY", {"summary": "s"}),
        ("READY", {"summary": "s"}),
        ("READY", {}),
        ("ERROR", {"summary": ""}),
        ("NONE", {}),
        ("PENDING", {}),
    ]
    revisions = []
    for status, more in steps:
        run = explain(server, run_id, status, **more).json
        assert (run["explanation_status"], run["explanation_summary"]) == (status, more.get("summary"))
        revisions.append(run["log"]["revision"])
    assert revisions == [0, 1, 1, 2, 2, 3, 4, 5, 6]
    data = [entry["event"]["data"] for entry in server.get(f"/runs/{run_id}/events").json["events"][1:]]
    assert [entry["status"] for entry in data] == ["PENDING", "READY", "READY", "ERROR", "NONE", "PENDING"]
    assert [entry["summary"] for entry in data] == [None, "s", None, "", None, None]


def test_a_summary_may_have_65536_characters(server: Server) -> None:
    run_id = server.create()["run_id"]
    assert explain(server, run_id, "READY", summary="é" * 65_536).json["explanation_summary"] == "é" * 65_536
    assert faults(explain(server, run_id, "READY", summary="e" * 65_537)) == ["$.summary"]


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        *[({"status": bad}, "$.status") for bad in ("FOO", "", "ready", None, 1, ["READY"])],
        ({}, "$.status"),
        *[({"status": "READY", "summary": bad}, "$.summary") for bad in (1, [], {"a": 1}, False)],
        ({"status": "READY", "surprise": 1}, "$.surprise"),
    ],
    ids=str,
)
def test_a_wrong_explanation_is_a_422_that_names_the_field(server: Server, sent: dict[str, Any], path: str) -> None:
    run = server.create()
    assert faults(server.post(f"/runs/{run['run_id']}/explanation", sent)) == [path]
    assert server.run(run["run_id"]) == run


@pytest.mark.parametrize("run_id", [NOBODY, "nope", "run_0123456789ab%0A", "*", "%00"])
def test_nothing_can_be_added_to_a_run_that_is_not_there(server: Server, run_id: str) -> None:
    refused(attach(server, run_id, "a"), 404, "RUN_NOT_FOUND")
    refused(explain(server, run_id, "READY"), 404, "RUN_NOT_FOUND")
