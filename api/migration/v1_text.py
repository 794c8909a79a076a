"""The text of a v1 file cut into its records, in bounded memory. Each record's text is given as it stands.

Nothing inside a record is judged here: a record ends where its brackets close, and what is wrong
in between is that record's own matter. Only where the next record cannot be found does the text end.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from eventlog.errors import RunlogError
from eventlog.strict_json import InvalidJson, MalformedJson, parse

RECORD_BYTES_MAX = 31 << 20
"""A longer record is skipped: with what comes beside it, it would not fit into a line of an import."""

_CHUNK_BYTES = 1 << 20
_WHITESPACE = re.compile(rb"[ \t\n\r]*+")
_BETWEEN_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR = re.compile(rb'[^,:{}\[\]"\s]*+')
_END = -1
_QUOTE, _OPEN, _CLOSE, _COMMA, _COLON = b'"{},:'
_CLOSER = {ord("{"): ord("}"), ord("["): ord("]")}
_OTHER_BEGINNINGS = frozenset(b'["-0123456789tfn')


@frozen
class V1NotAnObject(RunlogError):
    """The v1 file holds JSON, but no object of records (exit code 2)."""

    code: ClassVar[str] = "V1_NOT_AN_OBJECT"
    path: str

    @property
    def message(self) -> str:
        return f"{self.path} is not an object of run ids and records, so it is no v1 file. Name the right one."


@frozen
class V1Unreadable(RunlogError):
    """The text of the v1 file is such that its records cannot be told apart (exit code 1)."""

    code: ClassVar[str] = "V1_UNREADABLE"
    path: str
    reason: str
    offset: int

    @property
    def message(self) -> str:
        return (
            f"{self.path} cannot be read from byte {self.offset} on: {self.reason}. Correct that in a copy of the "
            "file and migrate the copy."
        )


@frozen
class V1Record:
    """A key of the v1 file and the text under it; `fault` says why there is none."""

    key: str
    text: bytes
    fault: str = ""


def records_of(path: Path, on_bytes: Callable[[int], None] = lambda _done: None) -> Iterator[V1Record]:
    """Give the records of the v1 file at *path* in their order; *on_bytes* hears how far it has read.

    Raises:
        V1NotAnObject: it is something else.
        V1Unreadable: the next record cannot be found; those before were given.

    """
    with path.open("rb", buffering=0) as file:
        yield from _Splitter(str(path), file.read, on_bytes).records()


def check_is_object(path: Path) -> None:
    """Return if the text of the file at *path* begins as an object.

    Raises:
        V1NotAnObject, V1Unreadable: it does not.

    """
    with path.open("rb", buffering=0) as file:
        _Splitter(str(path), file.read, lambda _done: None).enter()


class _Splitter:
    """A window on the text: `_data`, which begins at byte `_base`, is read up to `_at` and kept from `_kept` on."""

    def __init__(self, path: str, read: Callable[[int], bytes | None], on_bytes: Callable[[int], None]) -> None:
        self._path, self._read, self._on_bytes = path, read, on_bytes
        self._data, self._base, self._at, self._kept = b"", 0, 0, 0

    def enter(self) -> None:
        """Read the bracket that opens the object of records."""
        first = self._next()
        if first == _OPEN:
            self._at += 1
        elif first in _OTHER_BEGINNINGS:
            raise V1NotAnObject(self._path)
        else:
            raise self._unreadable("it is empty" if first == _END else "no JSON begins so")

    def records(self) -> Iterator[V1Record]:
        self.enter()
        if self._next() == _CLOSE:
            self._at += 1
        else:
            yield self._record()
            while self._expect(b",}") == _COMMA:
                yield self._record()
        if self._next() != _END:
            raise self._unreadable("something follows the object of records")

    def _record(self) -> V1Record:
        if self._next() != _QUOTE:
            raise self._unreadable("the key of a record should stand here")
        key, key_fault = _key_of(self._value())
        self._expect(b":")
        self._next()
        text = self._value()
        self._on_bytes(self._base + self._at)
        if text is None:
            return V1Record(key, b"", f"the record is longer than {RECORD_BYTES_MAX} bytes")
        return V1Record(key, text, key_fault)

    def _value(self) -> bytes | None:
        """Return the text of the value that begins here; None if it is too long to be kept."""
        start = self._base + self._at
        self._kept = self._at
        if (first := self._data[self._at : self._at + 1]) in (b"{", b"["):
            self._bracketed(start)
        elif first == b'"':
            self._at += 1
            self._string(start)
        else:
            self._scalar(start)
        is_whole = self._base + self._kept == start and self._at - self._kept <= RECORD_BYTES_MAX
        return self._data[self._kept : self._at] if is_whole else None

    def _bracketed(self, start: int) -> None:
        open_brackets = bytearray()
        while True:
            found = _BETWEEN_BRACKETS.match(self._data, self._at)
            assert found is not None
            self._at = found.end()
            if self._at == len(self._data):
                self._need(start)
                continue
            byte = self._data[self._at]
            self._at += 1
            if byte == _QUOTE:
                self._string(start)
            elif byte in _CLOSER:
                open_brackets.append(_CLOSER[byte])
            elif byte != open_brackets.pop():
                self._at -= 1
                raise self._unreadable(f"{chr(byte)} closes what it did not open")
            elif not open_brackets:
                return

    def _string(self, start: int) -> None:
        """Read the rest of a string."""
        while True:
            found = _IN_STRING.match(self._data, self._at)
            assert found is not None
            self._at = found.end()
            if self._data[self._at : self._at + 1] == b'"':
                self._at += 1
                return
            self._need(start)

    def _scalar(self, start: int) -> None:
        while True:
            found = _SCALAR.match(self._data, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._data):
                return
            self._need(start)

    def _expect(self, wanted: bytes) -> int:
        found = self._next()
        if found == _END or found not in wanted:
            raise self._unreadable(f"{' or '.join(map(chr, wanted))} should stand here")
        self._at += 1
        return found

    def _next(self) -> int:
        """Return the next byte that is no white space, without reading it; _END if there is none."""
        while True:
            found = _WHITESPACE.match(self._data, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._data):
                return self._data[self._at]
            self._kept = self._at
            if not self._more():
                return _END

    def _need(self, start: int) -> None:
        """Read on within the value that began at byte *start* of the file."""
        if self._base + self._at - start > RECORD_BYTES_MAX:
            self._kept = self._at  # nobody will want it
        if not self._more():
            self._at = len(self._data)
            raise self._unreadable(f"the text ends within what begins at byte {start}")

    def _more(self) -> bool:
        chunk = self._read(_CHUNK_BYTES)
        gone, self._kept = self._kept, 0
        self._data, self._base, self._at = self._data[gone:] + (chunk or b""), self._base + gone, self._at - gone
        return bool(chunk)

    def _unreadable(self, reason: str) -> V1Unreadable:
        return V1Unreadable(self._path, reason, self._base + self._at)


def _key_of(text: bytes | None) -> tuple[str, str]:
    """Return the key that *text* writes, and what is wrong with it."""
    if text is None:
        return "", f"its key is longer than {RECORD_BYTES_MAX} bytes"
    try:
        return str(parse(text)), ""
    except InvalidJson as error:
        fault = error.errors[0].message
    except MalformedJson as error:
        fault = error.reason
    return text[1:-1].decode(errors="replace"), f"its key cannot be read: {fault}"
