"""Evidence in one file: exact events, their proofs, the signed checkpoint, the attachments, and what checks them.

What is packed was checked: an event that is not what was signed, or an attachment that is not there, ends the export.
Its layout is that of verify.py, which goes with it.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, ClassVar

from attrs import frozen

from api.evidence.named import NAMING
from api.evidence.pack import Pack
from api.evidence.page import FOOT, event_row, head
from eventlog.archive import Archive
from eventlog.blobs import blob_path
from eventlog.errors import RunlogError
from eventlog.event import Recorded
from projections.run import events

_VERIFY = Path(__file__).with_name("verify.py")
_READ_BYTES = 1 << 20
_SPOOLED_BYTES = 1 << 20
_COLUMNS = (
    "run_id",
    "seq",
    "recorded_at",
    "created_at_utc",
    "status",
    "risk_level",
    "score",
    "mode",
    "tool_id",
    "block_reason",
    "event_sha256",
)
_README = """\
Evidence from the log {origin}.

Each event is in events/<seq>.event.json, with exactly the bytes that were recorded; events/<seq>.tlog-proof
proves that it stands at that place of the log, whose size and root are signed in `checkpoint`. index.html is
for reading and printing, runs.csv for a spreadsheet.

To check all of it, unzip it and run, with Python 3.8 or later and nothing else:

    python3 -I verify.py --key '{vkey}'

Compare that key first with the one that the log's operator published: whoever can change this file can change
the key in it. verify.py says what is proven and what is not.
"""


@frozen
class EvidenceIncomplete(RunlogError):
    """An attachment that an event names cannot be packed."""

    code: ClassVar[str] = "EVIDENCE_INCOMPLETE"
    sha256: str
    seq: int

    @property
    def message(self) -> str:
        return (
            f"The attachment {self.sha256} that event {self.seq} names is missing or changed, so nothing was exported. "
            "Upload the same bytes again, or restore the file from a backup; then export again."
        )


def export(
    archive: Archive,
    found: Iterable[Recorded],
    attachments_dir: Path,
    target: Path,
    on_seq: Callable[[int], None] = lambda _seq: None,
) -> int:
    """Pack the events *found* into *target*; return how many they were. With none, nothing is written.

    Raises:
        LogCorrupt: an event is not what was signed.
        EvidenceIncomplete: an attachment is not.

    """
    remaining = iter(found)
    first = next(remaining, None)
    if first is None:
        return 0
    count = 0
    with ExitStack() as stack:
        page = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))
        table = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))
        pack = stack.enter_context(Pack(target))
        page.write(head(archive.identity, archive.checkpoint).encode())
        table.write(_row(_COLUMNS))
        for recorded in _chained(first, remaining):
            _add_event(pack, archive, recorded, attachments_dir)
            page.write(event_row(recorded).encode())
            if recorded.type in (events.CREATED, events.IMPORTED):
                table.write(_row(_cells(recorded)))
            count += 1
            on_seq(recorded.seq)
        page.write(FOOT.encode())
        pack.add("index.html", _pieces(page), is_large=True)
        pack.add("runs.csv", _pieces(table), is_large=True)
        pack.add("checkpoint", [archive.note.data])
        pack.add("key", [f"{archive.identity.vkey}\n".encode()])
        readme = _README.format(origin=archive.identity.origin, vkey=archive.identity.vkey)
        pack.add("README.txt", [readme.encode()])
        pack.add("verify.py", [_VERIFY.read_bytes()])
    return count


def _chained(first: Recorded, remaining: Iterator[Recorded]) -> Iterator[Recorded]:
    yield first
    yield from remaining


def _add_event(pack: Pack, archive: Archive, recorded: Recorded, attachments_dir: Path) -> None:
    pack.add(f"events/{recorded.seq}.event.json", [recorded.bytes])
    pack.add(f"events/{recorded.seq}.tlog-proof", [archive.proof(recorded).data])
    if not recorded.bytes.endswith(NAMING.suffix):
        return
    digest, _ = NAMING.blob(recorded.bytes)
    if pack.has(f"attachments/{digest}"):
        return
    try:
        with blob_path(attachments_dir, digest).open("rb") as file:
            if _digest(file) != digest:  # before a byte of it is packed
                raise EvidenceIncomplete(digest, recorded.seq)
            file.seek(0)
            added = pack.add(f"attachments/{digest}", iter(lambda: file.read(_READ_BYTES), b""), is_large=True)
    except (OSError, ValueError):
        raise EvidenceIncomplete(digest, recorded.seq) from None
    if added != digest:
        raise EvidenceIncomplete(digest, recorded.seq)


def _digest(file: IO[bytes]) -> str:
    found = sha256()
    for piece in iter(lambda: file.read(_READ_BYTES), b""):
        found.update(piece)
    return found.hexdigest()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    yield from iter(lambda: file.read(_READ_BYTES), b"")


def _cells(recorded: Recorded) -> list[Any]:
    run = recorded.data["run"]
    decision = run["decision"]
    return [
        run["run_id"],
        recorded.seq,
        recorded.time,
        run["created_at_utc"],
        run["status"],
        decision["risk_level"],
        decision["score"],
        run["mode"],
        run["tool_id"],
        decision["block_reason"],
        recorded.hash,
    ]


def _row(cells: Iterable[Any]) -> bytes:
    """Return a line of CSV; what a spreadsheet would take for a formula gets an apostrophe."""
    line = io.StringIO()
    csv.writer(line).writerow([_plain(cell) for cell in cells])
    return line.getvalue().encode()


def _plain(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell
