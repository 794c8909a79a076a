"""Which events name an attachment, and what they say of it: for those who read the log and not the runs."""

import json

from eventlog.stretch import Naming
from projections.run.events import ATTACHMENT_ADDED


def named_blob(event: bytes) -> tuple[str, int]:
    """Return digest and size of the attachment that the event of these bytes names."""
    attachment = json.loads(event)["data"]["attachment"]
    return str(attachment["sha256"]), int(attachment["size_bytes"])


NAMING = Naming(f'"type":"{ATTACHMENT_ADDED}"}}'.encode(), named_blob)
