"""A v1 record's decision, hashes, outputs, names, context and meta."""

from hashlib import sha256

import pytest

from api.migration.v1 import read_record
from eventlog.canonical import sha256_json

KEY = "run_0123456789abcdef"
HEX = "ab" * 32


def read(**fields):
    record = {"run_id": KEY, "created_at_utc": "2026-01-05T05:07:16Z", "status": "OK", **fields}
    return read_record(KEY, record, find_blob=lambda _: None)


def noted(imported, field):
    return [note.note for note in imported.notes if note.field == field]


def kept(imported):
    return imported.run["meta"].get("v1", {})


def decided(**fields):
    return read(**fields).run["decision"]


GATE_WORDS = [
    *[("GO", "GREEN"), ("ALLOWED", "GREEN"), ("CONDITIONAL", "YELLOW")],
    *[("OVERRIDDEN", "YELLOW"), ("NO_GO", "RED"), ("BLOCKED", "RED")],
]


@pytest.mark.parametrize(("word", "level"), GATE_WORDS)
def test_each_gate_word_gives_its_risk_in_any_case_and_stays_in_meta(word, level):
    for written in (word, word.lower(), word.title()):
        imported = read(gate_decision=written)
        assert imported.run["decision"]["risk_level"] == level
        assert noted(imported, "decision.risk_level") == ["taken from gate_decision"]
        assert kept(imported) == {"gate_decision": written}


@pytest.mark.parametrize("value", ["MAYBE", "", "GO ", "GREEN", 1, True, {"decision": "GO"}, ["GO"]])
def test_an_unknown_gate_word_becomes_unknown_with_a_note(value):
    imported = read(gate_decision=value)
    assert imported.run["decision"]["risk_level"] == "UNKNOWN"
    assert len(noted(imported, "decision.risk_level")) == 1
    assert kept(imported)["gate_decision"] == value


def test_the_first_place_where_a_risk_stands_decides():
    fields = {
        "decision": {"risk_level": "RED"},
        "feasibility": {"safety": {"risk_level": "YELLOW"}, "risk_level": "ERROR", "risk_bucket": "GREEN"},
        "gate_decision": "GO",
    }
    assert decided(**fields)["risk_level"] == "RED"
    fields["decision"] = {"risk_level": None}
    assert decided(**fields)["risk_level"] == "YELLOW"
    del fields["feasibility"]["safety"]
    assert decided(**fields)["risk_level"] == "ERROR"
    del fields["feasibility"]["risk_level"]
    assert decided(**fields)["risk_level"] == "GREEN"
    assert noted(read(**fields), "decision.risk_level") == ["taken from feasibility.risk_bucket"]
    fields["feasibility"] = {"safety": "none"}
    fields["gate_decision"] = "NO_GO"
    assert decided(**fields)["risk_level"] == "RED"


@pytest.mark.parametrize("word", ["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"])
def test_a_risk_word_is_taken_in_any_case(word):
    as_it_is = read(decision={"risk_level": word})
    assert (decided(decision={"risk_level": word})["risk_level"], kept(as_it_is)) == (word, {})
    assert noted(as_it_is, "decision.risk_level") == []
    lower = read(decision={"risk_level": word.lower()})
    assert lower.run["decision"]["risk_level"] == word
    assert kept(lower) == {"decision": {"risk_level": word.lower()}}
    assert len(noted(lower, "decision.risk_level")) == 1
    assert decided(feasibility={"safety": {"risk_level": word.title()}})["risk_level"] == word


@pytest.mark.parametrize("value", ["PURPLE", "", "GREEN\n", "gr\u00e9en", 0, 5, True, ["GREEN"], {"a": "GREEN"}])
def test_a_risk_word_that_is_none_becomes_unknown_and_no_other_place_stands_in_for_it(value):
    imported = read(decision={"risk_level": value}, feasibility={"risk_level": "GREEN"}, gate_decision="GO")
    assert imported.run["decision"]["risk_level"] == "UNKNOWN"
    assert kept(imported)["decision"] == {"risk_level": value}
    assert len(noted(imported, "decision.risk_level")) == 1
    inner = read(feasibility={"safety": {"risk_level": value}})
    assert inner.run["decision"]["risk_level"] == "UNKNOWN"
    assert kept(inner)["feasibility"] == {"safety": {"risk_level": value}}


JUDGEMENTS = [("score", 87.5), ("block_reason", "Spindle too fast"), ("warnings", ["a", "é"]), ("details", {"a": None})]


@pytest.mark.parametrize(("name", "value"), JUDGEMENTS)
def test_score_reason_warnings_and_details_come_from_the_same_places(name, value):
    first = read(decision={name: value}, feasibility={"safety": {name: "x"}, name: "x"})
    assert first.run["decision"][name] == value
    assert noted(first, f"decision.{name}") == []
    second = read(decision={name: None}, feasibility={"safety": {name: value}, name: "x"})
    assert second.run["decision"][name] == value
    assert noted(second, f"decision.{name}") == [f"taken from feasibility.safety.{name}"]
    third = read(feasibility={"safety": {"x": 1}, name: value})
    assert third.run["decision"][name] == value
    assert noted(third, f"decision.{name}") == [f"taken from feasibility.{name}"]
    assert "v1" not in third.run["meta"]


WRONG = [
    *[("score", value, None) for value in (-0.1, 100.1, True, "75", [75], {}, 2**80)],
    *[("block_reason", value, None) for value in (5, True, ["x"], {"a": 1})],
    *[("warnings", value, []) for value in ("abc", {"a": 1}, 5, ["a", 1], ["a", None])],
    *[("details", value, {}) for value in ([], "x", 5, [{"a": 1}])],
]


@pytest.mark.parametrize(("name", "value", "nothing"), WRONG)
def test_what_has_a_wrong_type_or_range_is_not_shown_but_kept_with_a_note(name, value, nothing):
    for place in (("decision",), ("feasibility", "safety"), ("feasibility",)):
        fields = {place[0]: {place[1]: {name: value}} if len(place) == 2 else {name: value}}
        imported = read(**fields)
        assert imported.run["decision"][name] == nothing
        assert kept(imported) == fields
        assert len(noted(imported, f"decision.{name}")) == 1


@pytest.mark.parametrize("score", [0, 100, 0.0, 100.0, 75])
def test_a_score_at_its_bounds_keeps_its_value_and_type(score):
    seen = decided(decision={"score": score})["score"]
    assert (seen, type(seen)) == (score, type(score))


@pytest.mark.parametrize("value", ["ALLOWED", ["RED"], 5, False])
def test_a_decision_that_is_no_object_is_kept_and_decides_nothing(value):
    imported = read(decision=value, feasibility={"risk_level": "RED"})
    assert imported.run["decision"]["risk_level"] == "RED"
    assert kept(imported) == {"decision": value}
    assert len(noted(imported, "decision")) == 1


def test_what_else_stands_in_a_decision_is_kept():
    imported = read(decision={"risk_level": "RED", "policy": "p1", "by": None})
    assert kept(imported) == {"decision": {"policy": "p1"}}


def test_mode_and_tool_come_from_the_first_place_that_names_them():
    feasibility = {"mode": "fm", "tool_id": "ft"}
    assert read(mode="m", workflow_mode="w", feasibility=feasibility).run["mode"] == "m"
    imported = read(workflow_mode="w", feasibility=feasibility)
    assert (imported.run["mode"], imported.run["tool_id"]) == ("w", "ft")
    assert imported.run["context"] == {"workflow_mode": "w"}
    assert noted(imported, "tool_id") == ["taken from feasibility.tool_id"]
    assert read(feasibility=feasibility).run["mode"] == "fm"
    unknown = read(feasibility={"mode": "unknown"})
    assert unknown.run["mode"] == "unknown"
    assert noted(unknown, "mode") == ["v1 does not name it"]
    assert noted(read(mode="unknown", tool_id="t"), "mode") == []


@pytest.mark.parametrize("value", ["", "  ", "x" * 201, 5, True, ["m"]])
def test_a_mode_or_tool_that_is_no_name_is_kept_and_the_next_place_asked(value):
    imported = read(mode=value, tool_id=value, workflow_mode="w")
    assert (imported.run["mode"], imported.run["tool_id"]) == ("w", "unknown")
    assert kept(imported) == {"mode": value, "tool_id": value}
    assert len(noted(imported, "mode")) == len(noted(imported, "tool_id")) == 2


HASHES = [("toolpaths_hash", "toolpaths_sha256"), ("gcode_hash", "gcode_sha256"), ("opplan_hash", "opplan_sha256")]


@pytest.mark.parametrize(("name", "field"), HASHES)
def test_a_stored_hash_is_taken_if_it_is_64_hex_digits(name, field):
    imported = read(**{name: HEX})
    assert (imported.run["hashes"][field], kept(imported), noted(imported, f"hashes.{field}")) == (HEX, {}, [])
    upper = read(**{name: HEX.upper()})
    assert (upper.run["hashes"][field], kept(upper)) == (HEX, {name: HEX.upper()})
    for value in ("not-a-hash", "", HEX[1:], HEX + "\n", "sha256:" + HEX, 5, [HEX], "é" * 64):
        broken = read(**{name: value})
        assert broken.run["hashes"][field] is None
        assert kept(broken) == {name: value}
        assert len(noted(broken, f"hashes.{field}")) == 1


def test_the_request_hash_and_a_differing_hash_of_the_feasibility_go_to_meta():
    imported = read(feasibility={"a": 1}, request_hash=HEX, feasibility_hash=HEX, hashes={"feasibility_sha256": HEX})
    assert imported.run["hashes"]["feasibility_sha256"] == sha256_json({"a": 1})
    assert kept(imported) == {"request_hash": HEX, "feasibility_hash": HEX, "hashes": {"feasibility_sha256": HEX}}
    assert len(noted(imported, "hashes.feasibility_sha256")) == 2
    same = read(feasibility={"a": 1}, feasibility_sha256=sha256_json({"a": 1}))
    assert noted(same, "hashes.feasibility_sha256") == []


def test_where_the_payload_is_there_its_hash_is_computed_and_another_kept():
    text, plan = "G0 X1 ; ø\n", {"op": [1, None]}
    imported = read(outputs={"gcode_text": text, "opplan_json": plan}, gcode_hash=HEX)
    assert imported.run["hashes"]["gcode_sha256"] == sha256(text.encode()).hexdigest()
    assert imported.run["hashes"]["opplan_sha256"] == sha256_json(plan)
    assert kept(imported) == {"gcode_hash": HEX}
    assert len(noted(imported, "hashes.gcode_sha256")) == 1
    assert noted(imported, "hashes.opplan_sha256") == ["computed; v1 has no opplan_hash"]
    equal = read(gcode_text=text, gcode_hash=sha256(text.encode()).hexdigest())
    assert (kept(equal), noted(equal, "hashes.gcode_sha256")) == ({}, [])


def test_outputs_come_from_their_object_or_from_beside_it():
    imported = read(
        outputs={"gcode_path": "a.nc", "gcode_text": 5, "more": 1, "none": None, "preview_svg_path": "p.svg"},
        gcode_path="b.nc",
        gcode_text="G0",
        opplan_json=False,
        opplan_path=["x"],
    )
    assert imported.run["outputs"] == {
        "gcode_text": "G0",
        "opplan_json": False,
        "gcode_path": "a.nc",
        "opplan_path": None,
        "preview_svg_path": "p.svg",
    }
    assert kept(imported) == {
        "outputs": {"gcode_text": 5, "more": 1},
        "gcode_path": "b.nc",
        "opplan_path": ["x"],
    }
    assert noted(imported, "outputs.opplan_json") == ["taken from opplan_json"]
    assert len(noted(imported, "outputs.gcode_text")) == 2


def test_outputs_that_are_no_object_are_kept():
    imported = read(outputs="G0")
    assert kept(imported) == {"outputs": "G0"}
    assert len(noted(imported, "outputs")) == 1


def test_the_context_takes_strings_of_at_most_200_characters_and_keeps_the_rest():
    imported = read(event_type="e", machine_id="ø" * 200, material_id="x" * 201, tool_kind=5, engine_version=None)
    assert imported.run["context"] == {"event_type": "e", "machine_id": "ø" * 200}
    assert kept(imported) == {"material_id": "x" * 201, "tool_kind": 5}
    assert len(noted(imported, "context.material_id")) == len(noted(imported, "context.tool_kind")) == 1


def test_the_meta_of_v1_stays_but_for_the_keys_that_are_ours():
    meta = {"request_id": "r1", "nothing": None, "exception": {"type": "E"}, "v1": 1, "stripped": None}
    imported = read(meta=meta, feasibility={}, errors=["e"], v1="x")
    assert imported.run["meta"] == {
        "request_id": "r1",
        "nothing": None,
        "v1": {"meta": {"exception": {"type": "E"}, "v1": 1}, "errors": ["e"], "v1": "x"},
    }
    assert {note.field for note in imported.notes} >= {"meta.exception", "meta.v1"}
    assert kept(read(meta=[1])) == {"meta": [1]}
    assert len(noted(read(meta=[1]), "meta")) == 1


def test_every_other_field_is_kept_under_its_name_and_nulls_are_dropped():
    fields = {"notes": "n", "errors": [], "drift_detected": False, "drift_summary": {"a": None}, "\u00e9\n": 0}
    assert kept(read(**fields, fork_reason=None)) == fields
