"""A body of lines, cut into its lines as it comes; never more of a line is held than it may be long. Pure."""

from attrs import define, field


@define
class Lines:
    """Takes a body piece by piece. A line without end, and one that is too long, take no memory beyond the bound."""

    line_bytes_max: int
    _rest: bytearray = field(factory=bytearray)
    """The beginning of a line whose end has not come."""
    _skipping: bool = False
    """Whether that line is too long already, and its rest is let pass."""
    _is_blank: bool = False
    """Whether what was let pass of it is blank so far: however long, such a line is none."""

    def feed(self, piece: bytes) -> list[bytes | None]:
        """Return the lines that *piece* ends, without blank ones; None stands for one that was too long."""
        first, newline, others = piece.partition(b"\n")
        if not newline:
            self._keep(first)
            return []
        self._keep(first)
        found = self.end()
        *whole, last = others.split(b"\n")
        found += [line if len(line) <= self.line_bytes_max else None for line in whole if line and not line.isspace()]
        self._keep(last)
        return found

    def end(self) -> list[bytes | None]:
        """Return the line that ends here, if it is not blank."""
        line, skipped = bytes(self._rest), self._skipping
        self._rest, self._skipping = bytearray(), False
        if skipped:
            return [] if self._is_blank else [None]
        return [line] if line.strip() else []

    def _keep(self, part: bytes) -> None:
        if self._skipping:
            self._is_blank = self._is_blank and not part.strip()
            return
        self._rest += part
        if len(self._rest) > self.line_bytes_max:
            self._is_blank = self._rest.isspace()
            self._rest, self._skipping = bytearray(), True
