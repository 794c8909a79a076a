"""The page of evidence that a person reads and prints: no script, nothing from elsewhere, all text escaped. Pure."""

from html import escape
from typing import Any

from eventlog.event import Recorded
from eventlog.note import Checkpoint
from eventlog.opening import Identity
from eventlog.signing import encode_base64
from projections.run import events

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.5rem}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem .5rem;border-bottom:1px solid #ccc}
.note{background:#f3f3f0;padding:.7rem 1rem;border-left:4px solid #888}
@media print{body{margin:0;max-width:none;font-size:11px}tr{break-inside:avoid}thead{display:table-header-group}}
"""
FOOT = "</tbody></table>\n</body></html>\n"


def head(identity: Identity, checkpoint: Checkpoint) -> str:
    """Return the page up to its first event."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Evidence from {escape(identity.origin)}</title><style>{_STYLE}</style></head><body>
<h1>Evidence from the log <code>{escape(identity.origin)}</code></h1>
<p>Events exactly as they were recorded, each with a proof that it stands in the log as it was signed:
{checkpoint.size} events, root <code>{encode_base64(checkpoint.root)}</code>.</p>
<p>Key: <code>{escape(identity.vkey)}</code></p>
<p class="note">This page is for reading and proves nothing by itself. Run <code>python3 -I verify.py --key KEY</code> in this
folder, with the key that the log's operator published: it says what is proven and what is not.</p>
<table><thead><tr><th>seq</th><th>recorded at (UTC)</th><th>what</th><th>SHA-256 of the event</th></tr></thead><tbody>
"""


def event_row(recorded: Recorded) -> str:
    """Return the row of an event."""
    told = "<br>".join(
        f"{escape(name)}: {escape(str(value))}" for name, value in _told(recorded) if value not in (None, "")
    )
    return (
        f'<tr><td><a href="events/{recorded.seq}.event.json">{recorded.seq}</a></td>'
        f"<td>{escape(recorded.time)}</td><td><strong>{escape(recorded.stream)}</strong> {escape(recorded.type)}<br>{told}</td>"
        f"<td><code>{recorded.hash}</code></td></tr>\n"
    )


def _told(recorded: Recorded) -> list[tuple[str, Any]]:
    data = recorded.data
    by = [("by", recorded.event["actor"])]
    if recorded.type in (events.CREATED, events.IMPORTED):
        run = data["run"]
        decision = run["decision"]
        return [
            ("status", run["status"]),
            ("risk level", decision["risk_level"]),
            ("score", decision["score"]),
            ("blocked because", decision["block_reason"]),
            ("mode", run["mode"]),
            ("tool", run["tool_id"]),
            ("created", run["created_at_utc"]),
            *by,
        ]
    inner = data.get("advisory") or data.get("attachment") or data
    return [*((name, value) for name, value in inner.items() if isinstance(value, str | int)), *by]
