"""Which of the forms that a route offers the client wants most (RFC 9110, 12.5.1). Pure."""

from aiohttp import web

JSON, NDJSON, CSV, EVENT_STREAM = "application/json", "application/x-ndjson", "text/csv", "text/event-stream"


def preferred(request: web.BaseRequest, *offered: str) -> str:
    """Return the form of *offered* that the client gives the highest quality; the first where it does not care.

    A client that accepts none of them gets the first as well, which helps it more than a refusal.
    """
    given = request.headers.getall("Accept", [])
    if not given:
        return offered[0]
    wanted = [_range(part) for line in given for part in line.lower().split(",")]
    best = max(offered, key=lambda form: _quality(form, wanted))  # of equals the first
    return best if _quality(best, wanted) > 0 else offered[0]


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(form: str, wanted: list[tuple[str, float]]) -> float:
    """Return the quality of the most specific range that *form* is in."""
    kind = form.partition("/")[0]
    for name in (form, f"{kind}/*", "*/*"):
        found = [quality for each, quality in wanted if each == name]
        if found:
            return max(found)
    return 0.0
