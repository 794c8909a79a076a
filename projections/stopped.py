"""Why a projection stopped, noted beside its state, for whoever looks without asking the server.

A note is a help and no state: it counts only while the stored position is before its event, and
where it cannot be written the server tells all the same.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from projections.projection import ProjectionFailed


def facts_of(failure: ProjectionFailed) -> dict[str, Any]:
    """Return what is told of *failure* wherever projections are listed."""
    return {"seq": failure.seq, "type": failure.type, "message": failure.reason}


def note(data_dir: Path, failure: ProjectionFailed) -> None:
    """Keep what stopped the projection that *failure* names."""
    path = _path(data_dir, failure.name)
    new = path.with_name(f"{path.name}.tmp")
    with suppress(OSError):
        new.write_text(json.dumps(facts_of(failure)), "utf-8")
        os.replace(new, path)


def forget(data_dir: Path, name: str) -> None:
    """Note that projection *name* goes on."""
    with suppress(OSError):
        _path(data_dir, name).unlink(missing_ok=True)


def noted(data_dir: Path, name: str) -> dict[str, Any] | None:
    """Return what stopped projection *name*; None if nothing did."""
    try:
        found = json.loads(_path(data_dir, name).read_bytes())
        return {"seq": int(found["seq"]), "type": str(found["type"]), "message": str(found["message"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(data_dir: Path, name: str) -> Path:
    return data_dir / f"{name}.failed.json"
