"""GET /runs: a parameter that cannot be understood is refused, never silently ignored."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import FEW, TEXT, Server, faults, unique, words

WRONG = [
    *[("status", value) for value in ("FOO", "ok", "OK ", "OK,ERROR", "OK\n")],
    *[("risk_level", value) for value in ("FOO", "green", "LOW")],
    *[
        (name, value)
        for name in ("date_from", "date_to")
        for value in (
            *words(
                "2025-13-01 2025-02-30 2025-1-1 20250101 2025-W01-1 2025-001 25-01-01 yesterday 0 2025-01-01T00:00:00Z"
            ),
            *words("10000-01-01 0000-01-01 -2025-01-01"),
            *("2025-01-01 ", "2025-01-01\n", "\u0662\u0660\u0662\u0665-\u0660\u0661-\u0660\u0661"),
        )
    ],
    *[
        ("limit", value)
        for value in ("abc", "1.5", "1e2", "0x10", "1_0", "\u0663", "\uff15", " 5", "5 ", "true", "--1", "NaN")
    ],
    *[("view", value) for value in ("FOO", "FULL", "csv")],
    *[("include_total", value) for value in ("maybe", "TRUE!", "2")],
    *[("include_withdrawn", value) for value in ("maybe", "2")],
    *[("stale", value) for value in ("maybe", "OK!")],
    *[("cursor", value) for value in ("garbage", "0", "e30", "AAAA", "=", "\x00", "x" * 4000, "é")],
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG)])
def test_a_value_that_cannot_be_meant_is_a_422_that_names_it(server: Server, name: str, value: str) -> None:
    assert faults(server.get("/runs", query={name: value})) == [f"?{name}"]


@pytest.mark.parametrize("name", ["foo", "Status", "page", "offset", "tool", "date", "at", "status[]", "limit ", "é"])
@pytest.mark.parametrize("value", ["1", ""])
def test_an_unknown_parameter_is_a_422_that_names_it(server: Server, name: str, value: str) -> None:
    """Also an empty one: it was meant to do something."""
    assert faults(server.get("/runs", query={name: value})) == [f"?{name}"]


@pytest.mark.parametrize(
    "query",
    words("status=OK&status=OK status=OK&status=ERROR limit=1&limit=1 mode=&mode= mode=a&%6Dode=b cursor=&cursor="),
)
def test_a_repeated_parameter_is_a_422_that_names_it(server: Server, query: str) -> None:
    name = query.partition("=")[0]
    assert faults(server.get(f"/runs?{query}")) == [f"?{name}"]


def test_every_fault_of_a_query_is_listed(server: Server) -> None:
    query = "status=FOO&risk_level=BAR&date_from=nope&limit=x&foo=1&mode=a&mode=b&view=z"
    expected = ["?date_from", "?foo", "?limit", "?mode", "?risk_level", "?status", "?view"]
    assert faults(server.get(f"/runs?{query}")) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"status": "OK"},
        {"status": "OK", "mode": "adaptive", "tool_id_prefix": "T"},
        {"date_from": "2001-01-01"},
        {"mode": "x"},
    ],
    ids=str,
)
def test_a_cursor_of_other_filters_is_a_422(server: Server, other: dict[str, str]) -> None:
    """Following it would show runs of neither list."""
    for _ in range(2):
        server.create(mode="adaptive")
    cursor = server.get("/runs", query={"mode": "adaptive", "limit": 1}).json["next_cursor"]
    assert server.get("/runs", query={"mode": "adaptive", "limit": 1, "cursor": cursor}).status == 200
    assert faults(server.get("/runs", query={**other, "limit": 1, "cursor": cursor})) == ["?cursor"]


def test_a_cut_or_lengthened_cursor_is_a_422(server: Server) -> None:
    """It is ours only as a whole."""
    for _ in range(2):
        server.create()
    cursor = server.get("/runs", query={"limit": 1}).json["next_cursor"]
    for changed in (cursor[:-5], cursor[5:], cursor + "AAAA", cursor * 2, cursor[::-1], " " + cursor):
        assert faults(server.get("/runs", query={"limit": 1, "cursor": changed})) == ["?cursor"]


@given(
    cursor=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
    | st.from_regex(r"\A[A-Za-z0-9_-]{4,80}\Z")
)
@FEW
def test_any_text_as_a_cursor_is_a_422(server: Server, cursor: str) -> None:
    assert faults(server.get("/runs", query={"cursor": cursor})) == ["?cursor"]


FREE_TEXT = words("mode tool_id tool_id_prefix event_type session_id batch_label parent_run_id advisory_id")


@given(name=st.sampled_from(FREE_TEXT), value=TEXT.filter(bool))
@FEW
def test_any_text_as_a_filter_is_a_page(server: Server, name: str, value: str) -> None:
    """Hostile to SQL, to patterns, or just odd: it matches or it does not."""
    assert server.get("/runs", query={name: value, "limit": 1}).status == 200


@pytest.mark.parametrize("raw", ["%", "%zz", "%ff", "%ED%A0%80", "%00", "+", "%27%22%3B--", quote("\U0010ffff")])
def test_bytes_that_are_no_text_are_never_a_500(server: Server, raw: str) -> None:
    for name in ("tool_id", "tool_id_prefix", "status", "date_from", "cursor", "limit", "foo"):
        assert server.get(f"/runs?{name}={raw}").status in (200, 422)


def test_a_very_long_number_as_a_limit_is_no_500(server: Server) -> None:
    """Clamped, or refused."""
    assert server.get(f"/runs?limit={'9' * 5000}").status in (200, 422)
    assert server.get("/runs", query={"limit": "9" * 500}).status in (200, 422)


def test_a_refused_query_says_what_to_do(server: Server) -> None:
    answer = server.get("/runs", query={unique("date_form"): "2030-01-01"})
    assert answer.json["errors"][0]["message"]
    assert faults(answer)[0].startswith("?date_form")
