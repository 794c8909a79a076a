"""Talking to a running server: one request at a time, and what goes wrong in words, whoever asked."""

import json
import os
import urllib.error
import urllib.request
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from attrs import frozen

from api.access.roles import BASE
from api.setting_sources import load
from api.settings import Settings
from eventlog.errors import RunlogError

_TIMEOUT_S = 30.0


@frozen
class ServerUnreachable(RunlogError):
    """No server answers at the URL (exit code 3)."""

    code: ClassVar[str] = "SERVER_UNREACHABLE"
    url: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"No Runlog server answers at {self.url} ({self.reason}). Give the --url that `runlog serve` printed; "
            "where no server runs, most commands need no --url."
        )


@frozen
class ServerRefused(RunlogError):
    """The server does not do what was asked (exit code 3)."""

    code: ClassVar[str] = "SERVER_REFUSED"
    status: int
    error: str
    reason: str

    @property
    def message(self) -> str:
        hint = (
            " Put the key into RUNLOG_API_KEY: commands send the one that is there."
            if self.error == "UNAUTHENTICATED"
            else ""
        )
        return f"The server refused with {self.status} {self.error}: {self.reason}{hint}"


def call(url: str, method: str, *path: str, body: Any = None) -> dict[str, Any]:
    """Return the answer of the server at *url* to *method* on the route that the parts of *path* make; *body* goes as JSON.

    Raises:
        ServerUnreachable: nobody answers, or somebody who is no Runlog server.
        ServerRefused: it answers with an error.

    """
    check_url(url)
    target = url.rstrip("/") + BASE + "".join(f"/{quote(part, safe='')}" for part in path)
    content = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
    headers = bearer(load({}, os.environ).settings)
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(target, content, headers, method=method)  # noqa: S310 (see above)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(url, error.status or 0, error.read()) from None
    except (OSError, ValueError) as error:
        raise ServerUnreachable(url, str(getattr(error, "reason", error))) from None


def bearer(settings: Settings) -> dict[str, str]:
    """Return the header that shows the API key of *settings* to a server; none where none is set."""
    return {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}


def check_url(url: str) -> None:
    """Return if *url* can be a server's.

    Raises:
        ServerUnreachable: it cannot.

    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ServerUnreachable(url, "not an http:// or https:// URL")


def refusal(url: str, status: int, body: bytes) -> RunlogError:
    """Return what an answer with an error comes to: the server's own words, if it is a Runlog server."""
    try:
        problem = json.loads(body)
        return ServerRefused(status, str(problem["error"]), str(problem["message"]))
    except (ValueError, KeyError, TypeError):
        return ServerUnreachable(url, f"it answered {status}, and not as Runlog does")
