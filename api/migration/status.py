"""Where a migration stands, told by ids and content: equal numbers of unrelated runs mean nothing."""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen

from api.migration.holdings import Holdings, digest_of
from api.migration.v1_text import V1Record
from eventlog.strict_json import InvalidJson, MalformedJson, parse

Stage = Literal["EMPTY", "V1_ONLY", "PARTIAL", "MIGRATED", "LOG_ONLY"]


@frozen
class Status:
    """Of the records of v1: how many there are, are in the log as they are, are not, and were withdrawn.

    `missing` are all that `migrate` would still have to deal with, the withdrawn ones among them. Without
    a v1 record, `imported` and `withdrawn` count the log's own.
    """

    status: Stage
    v1: int
    imported: int
    missing: int
    withdrawn: int


def status_of(records: Iterable[V1Record], holdings: Holdings) -> Status:
    """Return where the migration of *records* stands.

    Raises:
        V1NotAnObject, V1Unreadable: from *records*.

    """
    total = imported = withdrawn = 0
    for record in records:
        total += 1
        held = holdings.get(record.key)
        if held is None:
            continue
        if held.is_withdrawn:
            withdrawn += 1
        elif held.digest is not None and held.digest == _digest(record):
            imported += 1
    if total == 0:
        is_empty = not (holdings.count() or holdings.count(withdrawn=True))
        stage: Stage = "EMPTY" if is_empty else "LOG_ONLY"
        return Status(stage, 0, holdings.count(imported=True), 0, holdings.count(imported=True, withdrawn=True))
    stage = "MIGRATED" if imported == total else "PARTIAL" if imported else "V1_ONLY"
    return Status(stage, total, imported, total - imported, withdrawn)


def _digest(record: V1Record) -> bytes | None:
    try:
        return None if record.fault else digest_of(parse(record.text))
    except (InvalidJson, MalformedJson):
        return None
