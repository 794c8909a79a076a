"""Server-sent events, read as the HTML standard says (9.2.6). Pure: lines in, blocks out."""

from attrs import define, field, frozen


@frozen
class Block:
    """One event of a stream. `last_id` is where to go on after it; `data` is empty where it only moves that on."""

    last_id: str
    kind: str
    data: str


@define
class Reader:
    """Takes the lines of a stream, without their ends, and gives a block at the end of each."""

    last_id: str = ""
    _kind: str = "message"
    _data: list[str] = field(factory=list)

    def take(self, line: str) -> Block | None:
        """Return the block that *line* ends, if it does."""
        if line:
            self._read(line)
            return None
        block = Block(self.last_id, self._kind, "\n".join(self._data))
        self._kind, self._data = "message", []
        return block

    def _read(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        # A comment has no name; other fields are to be ignored.
