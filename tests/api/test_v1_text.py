"""The text of a v1 file is cut into its records whatever they hold, in bounded memory, up to where none can be found."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.migration import v1_text
from api.migration.v1_text import V1NotAnObject, V1Record, V1Unreadable, records_of
from tests.commands import V1_FILE
from tests.server import FEW, JSON, TEXT


def cut(text: bytes, chunk_bytes: int = 7) -> list[V1Record]:
    """What the text gives when it is read a few bytes at a time."""
    at = 0

    def read(_wanted: int) -> bytes:
        nonlocal at
        at += chunk_bytes
        return text[at - chunk_bytes : at]

    return list(v1_text._Splitter("v1.json", read, lambda _done: None).records())


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_the_real_file_is_cut_into_its_records(chunk_bytes: int) -> None:
    content = V1_FILE.read_bytes()
    assert {one.key: json.loads(one.text) for one in cut(content, chunk_bytes)} == json.loads(content)


@FEW
@given(st.dictionaries(TEXT, JSON, max_size=5), st.integers(1, 20), st.sampled_from([None, 0, 2]), st.booleans())
def test_any_object_is_cut_as_a_whole_parser_reads_it(
    members: dict[str, object], chunk_bytes: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(members, indent=indent, ensure_ascii=ascii_only).encode()
    assert [(one.key, json.loads(one.text)) for one in cut(text, chunk_bytes)] == list(members.items())


@FEW
@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=5), st.data())
def test_a_text_that_is_cut_off_is_unreadable_and_gives_only_whole_records_before(
    members: dict[str, object], data: st.DataObject
) -> None:
    text = json.dumps(members).encode()
    text = text[: data.draw(st.integers(0, len(text) - 1))]
    found, fault = _cut_as_far_as_it_goes(text)
    assert fault is not None
    assert fault.offset == len(text)
    assert [(one.key, json.loads(one.text)) for one in found] == list(members.items())[: len(found)]


def _cut_as_far_as_it_goes(text: bytes) -> tuple[list[V1Record], V1Unreadable | None]:
    rest, found = iter([text]), []
    try:
        for one in v1_text._Splitter("v1.json", lambda _wanted: next(rest, b""), lambda _done: None).records():
            found.append(one)
    except V1Unreadable as fault:
        return found, fault
    return found, None


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"", 0),
        (b"nonsense"[1:], 0),
        (b"\xef\xbb\xbf{}", 0),
        (b'{"a":{},}', 8),
        (b'{"a":{}} x', 9),
        (b'{"a":[}', 6),
        (b'{"a" {}}', 5),
        (b'{"a":{} "b":{}}', 8),
        (b"{a:{}}", 1),
    ],
)
def test_where_no_record_can_be_found_the_byte_is_told(text: bytes, offset: int) -> None:
    with pytest.raises(V1Unreadable) as raised:
        cut(text)
    assert raised.value.offset == offset


@pytest.mark.parametrize("text", [b"[]", b" 1", b'"a"', b"null", b"true", b"-1"])
def test_what_is_no_object_is_told_apart(text: bytes) -> None:
    with pytest.raises(V1NotAnObject):
        cut(text)


def test_what_is_wrong_inside_a_record_is_its_own_matter() -> None:
    text = b'{"a": {"x": NaN}, "b": {"x" 1}, "c": , "d": tru, "\\ud800": {}, "f": "\xff", "f": {"x":"}"}}'
    assert [one.text for one in cut(text)] == [b'{"x": NaN}', b'{"x" 1}', b"", b"tru", b"{}", b'"\xff"', b'{"x":"}"}']
    assert [bool(one.fault) for one in cut(text)] == [False, False, False, False, True, False, False]


def test_a_record_that_is_too_long_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "v1.json"
    with path.open("wb") as file:
        file.write(b'{"long": {"text": "')
        for _ in range(200):
            file.write(b'x\\"' * 350_000)
        file.write(b'"}, "short": {"b": 1}}')
    tracemalloc.start()
    long, short = records_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (long.text, short.text) == (b"", b'{"b": 1}')
    assert "longer than" in long.fault
    assert peak < 4 * v1_text.RECORD_BYTES_MAX
