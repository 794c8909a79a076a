"""POST /runs, strict input: what is refused, that every fault is named, and what must not be refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import ABSENT, FEW, JSON, TEXT, Server, body, canonical, faults, refused, words

LONG = "x" * 201

FIELDS: list[tuple[dict[str, Any], str]] = [
    *[({name: ABSENT}, f"$.{name}") for name in ("mode", "tool_id", "status", "request_summary", "feasibility")],
    *[({name: None}, f"$.{name}") for name in ("mode", "tool_id", "status", "request_summary", "feasibility")],
    *[
        ({name: bad}, f"$.{name}")
        for name in ("mode", "tool_id")
        for bad in ("", " \t\n", "\u3000", LONG, 1, True, ["a"])
    ],
    *[({"status": bad}, "$.status") for bad in ("FOO", "", "ok", "OK ", 1, ["OK"])],
    *[({"risk_level": bad}, "$.risk_level") for bad in (ABSENT, None, "", "green", "FOO", 0, {})],
    *[({name: bad}, f"$.{name}") for name in ("request_summary", "feasibility") for bad in ([], "{}", 1, False)],
    *[({"score": bad}, "$.score") for bad in (-0.001, 100.001, True, False, "50", [50], 10**30, -(10**400))],
    *[({"block_reason": bad}, "$.block_reason") for bad in (1, [], {}, False)],
    *[({"warnings": bad}, "$.warnings") for bad in ("abc", {}, 1, "")],
    *[({"warnings": bad}, "$.warnings[1]") for bad in (["a", 1], ["a", None], ["a", ["b"]])],
    *[({"details": bad}, "$.details") for bad in ([], "x", 0)],
    *[({"outputs": bad}, "$.outputs") for bad in ([], "x", 0)],
    *[
        ({"outputs": {name: bad}}, f"$.outputs.{name}")
        for name in ("gcode_text", "gcode_path", "opplan_path", "preview_svg_path")
        for bad in (1, ["G0"], {}, True)
    ],
    *[({"hashes": bad}, "$.hashes") for bad in ([], "x", 0)],
    *[
        ({"hashes": {"gcode_sha256": bad}}, "$.hashes.gcode_sha256")
        for bad in ("not-a-hash", "", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "é" * 64, "\u0663" * 64, 0)
    ],
    *[({"exception": bad}, "$.exception") for bad in ([], "ValueError", 0)],
    *[({"exception": {"type": 1, "message": "m"}}, "$.exception.type")],
    *[({"exception": {"type": "T", "message": []}}, "$.exception.message")],
    *[({"context": bad}, "$.context") for bad in ([], "x", 0)],
    *[({"context": {"machine_id": bad}}, "$.context.machine_id") for bad in (1, LONG, ["m"], False)],
    *[({"meta": bad}, "$.meta") for bad in ([], "x", 0)],
    *[({"meta": {name: None}}, f"$.meta.{name}") for name in ("exception", "stripped", "feasibility_missing", "v1")],
    *[
        ({"run_id": bad}, "$.run_id")
        for bad in ("", "nope", "run_0123456789a", "run_" + "0" * 16, "run_" + "0" * 32, "0" * 32)
    ],
    *[({"run_id": bad}, "$.run_id") for bad in ("run_0123456789ab\n", "run_0123456789AB", "run_\uff10123456789ab", 12)],
    *[({name: None}, f"$.{name}") for name in ("surprise", "created_at_utc", "decision", "advisory_inputs", "log")],
    *[({part: {"surprise": 1}}, f"$.{part}.surprise") for part in ("outputs", "hashes", "context")],
    ({"exception": {"type": "T", "message": "m", "surprise": 1}}, "$.exception.surprise"),
]


@pytest.mark.parametrize(("changes", "path"), FIELDS, ids=[f"{n}-{path}" for n, (_, path) in enumerate(FIELDS)])
def test_a_wrong_field_is_a_422_that_names_it(server: Server, changes: dict[str, Any], path: str) -> None:
    """No value is coerced, and only the wrong one is named."""
    assert faults(server.post("/runs", body(**changes))) == [path]


def test_every_fault_is_listed_at_once(server: Server) -> None:
    """A producer mends its request in one go."""
    wrong = body(
        mode=" ",
        tool_id=ABSENT,
        status="FOO",
        risk_level="",
        score="high",
        warnings=["a", 1, 2],
        outputs={"gcode_text": 1, "surprise": 2},
        hashes={"opplan_sha256": "not-a-hash"},
        context={"machine_id": 7, "surprise": 2},
        meta={"v1": {}},
        run_id="nope",
        surprise=1,
    )
    assert faults(server.post("/runs", wrong)) == sorted(
        words(
            """$.mode $.tool_id $.status $.risk_level $.score $.warnings[1] $.warnings[2] $.outputs.gcode_text
        $.outputs.surprise $.hashes.opplan_sha256 $.context.machine_id $.context.surprise $.meta.v1 $.run_id
        $.surprise"""
        )
    )


@pytest.mark.parametrize("text", [b"[]", b"null", b"1", b'"text"', b"true", b"[{}]"])
def test_a_body_that_is_json_but_no_object_is_a_422(server: Server, text: bytes) -> None:
    """The fault is that of the whole body."""
    assert faults(server.post("/runs", text)) == ["$"]


def text_with(raw: str) -> bytes:
    """Return a valid body but for the JSON text *raw* as `meta.x`."""
    return json.dumps(body(meta={"x": "@@"})).replace('"@@"', raw).encode()


REFUSED_TEXTS = {
    "NaN": "NaN",
    "infinity": "Infinity",
    "negative infinity": "-Infinity",
    "overflow": "1e400",
    "negative overflow": "[-1.5E+309]",
    "1001 digits": "1" * 1001,
    "negative 1001 digits": "-" + "1" * 1001,
    "high surrogate": r'"\ud800"',
    "low surrogate": r'"a\udc00b"',
    "swapped pair": r'"\ude00\ud83d"',
    "surrogate in a key": r'{"\ud800": 1}',
    "duplicate key": '{"a": 1, "a": 1}',
    "duplicate key by escape": r'{"a": 1, "\u0061": 2}',
    "duplicate key, spaced": '{"a" : 1,\n"a"\t: 2}',
    "duplicate key, deep": '[[{"b": {"a": 1, "c": 2, "a": 3}}]]',
    "duplicate empty key": '{"": 1, "": 2}',
    "65 levels": "[" * 63 + "]" * 63,
    "65 levels of objects": '{"a":' * 62 + "{}" + "}" * 62,
    "100,000 levels": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("raw", REFUSED_TEXTS.values(), ids=REFUSED_TEXTS)
def test_json_without_one_exact_meaning_is_a_422(server: Server, raw: str) -> None:
    """What could be read in two ways, or not be kept, never gets in."""
    assert faults(server.post("/runs", text_with(raw)))


def test_a_doubled_top_level_key_is_a_422(server: Server) -> None:
    """Also where both values are the same."""
    assert faults(server.post("/runs", b'{"mode": "adaptive", ' + json.dumps(body()).encode()[1:]))


KEPT_TEXTS = {
    "64 levels": "[" * 62 + "]" * 62,
    "brackets in a string": json.dumps("[{" * 200),
    "64 bits": f"[{2**63 - 1}, {2**63}, {2**64 - 1}, {-(2**63)}]",
    "beyond 64 bits": f"[{2**64}, {-(2**63) - 1}, {2**200}]",
    "1000 digits": "9" * 1000,
    "negative 1000 digits": "-" + "9" * 1000,
    "largest double": "1.7976931348623157e308",
    "smallest double": "5e-324",
    "small floats": "[1e-9, 1e-5, 9.999e-5, 0.0001, 1e-10]",
    "integral floats": "[1.0, -0.0, 0.0, 1e22, 123456789012345680000.0]",
    "surrogate pair": r'"\ud83d\ude00"',
    "control characters": r'"\u0000\u001f\u007f\u2028"',
    "key with a quote and colon": r'{"a\":": 1, "a": "\":"}',
    "same key in two objects": '[{"a": 1}, {"a": 1}]',
    "reserved name deeper": '{"v1": 1, "exception": 2}',
}


@pytest.mark.parametrize("raw", KEPT_TEXTS.values(), ids=KEPT_TEXTS)
def test_json_at_the_edge_of_the_allowed_is_kept_exactly(server: Server, raw: str) -> None:
    """Large integers and small floats keep their value, in the answer and in a later read."""
    answer = server.post("/runs", text_with(raw))
    assert answer.status == 201, answer.body
    kept = canonical(json.loads(raw))
    assert canonical(answer.json["meta"]["x"]) == kept
    assert canonical(server.run(answer.json["run_id"])["meta"]["x"]) == kept


VALID = json.dumps(body())

MALFORMED = {
    "empty": b"",
    "blank": b" \n",
    "cut": VALID.encode()[:-1],
    "two values": VALID.encode() * 2,
    "byte order mark": b"\xef\xbb\xbf" + VALID.encode(),
    "utf-16": VALID.encode("utf-16"),
    "utf-32": VALID.encode("utf-32-le"),
    "latin-1": VALID.replace("maple", "érable").encode("latin-1"),
    "encoded surrogate": VALID.encode().replace(b"maple", b"\xed\xa0\x80"),
    "overlong utf-8": VALID.encode().replace(b"maple", b"\xc0\xaf"),
    "single quotes": VALID.replace('"', "'").encode(),
    "trailing comma": VALID.encode()[:-1] + b",}",
    "comment": b"/* */" + VALID.encode(),
    "leading zero": text_with("01"),
    "bare point": text_with(".5"),
    "plus": text_with("+1"),
    "hexadecimal": text_with("0x1"),
    "bad escape": text_with(r'"\x"'),
    "raw newline in a string": text_with('"\n"'),
    "raw NUL": VALID.encode() + b"\x00",
    "not a word": text_with("nul"),
    "form": b"mode=adaptive&tool_id=x",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_is_a_400(server: Server, text: bytes) -> None:
    """UTF-8 without a byte order mark, one value, nothing else."""
    refused(server.post("/runs", text), 400, "MALFORMED_JSON")


def test_blanks_around_the_value_are_json(server: Server) -> None:
    """White space is no fault."""
    assert server.post("/runs", b"\r\n\t " + json.dumps(body(), indent=4).encode() + b"\n").status == 201


@given(value=JSON)
@FEW
def test_any_json_value_as_a_body_is_judged_and_never_a_500(server: Server, value: object) -> None:
    """None of them is a valid run, so all are 422."""
    assert faults(server.post("/runs", value))


@given(
    changes=st.dictionaries(st.sampled_from([*sorted(body()), "score", "outputs", "meta", "run_id"]), JSON, min_size=1)
)
@FEW
def test_a_valid_body_with_any_fields_replaced_is_created_or_refused(server: Server, changes: dict[str, Any]) -> None:
    """Whatever stands in a field, the answer is a run or a list of faults among these fields."""
    answer = server.post("/runs", body(**changes))
    if answer.status == 409:
        return
    if answer.status != 201:
        assert {path.split(".")[1].split("[")[0] for path in faults(answer)} <= set(changes)


@given(text=st.binary(max_size=40) | TEXT.map(str.encode))
@FEW
def test_any_bytes_as_a_body_are_refused_and_never_a_500(server: Server, text: bytes) -> None:
    """Either no JSON, or JSON that is no run."""
    answer = server.post("/runs", text)
    assert (answer.status, answer.json["error"]) in {(400, "MALFORMED_JSON"), (422, "VALIDATION_ERROR")}


def test_refused_bodies_leave_nothing_in_the_log(server: Server) -> None:
    """The next run takes the next place."""
    before = server.create()["log"]["seq"]
    for wrong in (
        b"",
        b"{",
        body(status="FOO"),
        body(surprise=1),
        text_with("NaN"),
        body(hashes={"gcode_sha256": "x"}),
    ):
        assert server.post("/runs", wrong).status in (400, 422)
    assert server.create()["log"]["seq"] == before + 1
