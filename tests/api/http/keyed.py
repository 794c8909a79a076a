"""A server that asks for keys, and who asks it."""

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from api.access.roles import Role
from api.access.store import add_key
from tests.server import BASE, Answer, Server

ROLES = ("producer", "auditor", "operator")
NOBODY: dict[str, str] = {}


class Keyed(Server):
    """A server with a key for each role; it is ready when it lives, as only that can be asked by everybody."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        super().__init__(folder)
        self.options: list[str] = []
        self.keys = {role: add_key(self.data_dir, role[:4], Role(role)) for role in ROLES}
        (self.data_dir / "runlog.toml").write_text(settings)

    def command(self) -> list[str]:
        return [*super().command(), *self.options]

    def by(self, who: str) -> dict[str, str]:
        """The header of the key of that role, or of that token."""
        return {"Authorization": f"Bearer {self.keys.get(who, who)}"}

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz", headers=self.by("operator")).status in (200, 401, 429)
        except OSError:
            self.hang_up()
            return False

    def form(self, path: str, content: bytes, headers: Mapping[str, Any] = NOBODY) -> Answer:
        """POST what a form sends."""
        return self.request("POST", path, content, {"Content-Type": "application/x-www-form-urlencoded", **headers})

    def signed_in(self, role: str) -> dict[str, str]:
        """The header of a session that was opened with the key of that role."""
        answer = self.form("/rmos/sign-in", f"key={self.keys[role]}".encode())
        assert answer.status == 303, answer.body
        return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


@contextlib.contextmanager
def listening(server: Server, headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
    """Listen to the server's events from now; the lines that come after the first comment."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        wanted = {"Accept": "text/event-stream", **headers}
        connection.request("GET", f"{BASE}/events?after=latest", headers=wanted)
        response = connection.getresponse()
        assert response.status == 200
        response.readline()
        response.readline()
        yield (line.decode() for line in iter(response.readline, b""))
    finally:
        connection.close()
