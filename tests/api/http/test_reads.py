"""Whatever can be read: HEAD, ETag and 304, gzip with Vary, and Link from page to page, by the table of the routes."""

import gzip
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from api.http.app import ROUTES
from api.http.openapi.document import is_page, template
from tests.server import BASE, Answer, Server, body, until

PATHS = [template(path) for method, path, _ in ROUTES if method == "GET" and not is_page(path)]
MOVING = ("/metrics",)
"""What counts the very requests that ask for it."""
SEVERAL = ("/runs", "/runs/query/recent", "/events")


class Read:
    """A server with two runs that have everything, and where each route leads to on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.parts: dict[str, Any] = {"path": "entries/000.p/1"}
        for side in ("a", "b"):
            run = server.create(meta={"long": side * 2000})
            self.parts[side] = self.parts["run_id"] = run["run_id"]
            self.parts["sha256"] = server.upload(run["run_id"], b"G0 X0\n", kind="gcode").json["sha256"]
            assert server.get(f"/runs/{run['run_id']}/proof").status == 200  # all of it is signed then
        until(self._is_at_rest, "the projections have caught up, so that nothing moves any more", 60)

    def _is_at_rest(self) -> bool:
        standings = self.server.get("/admin/projections").json["projections"]
        return all(one["position"] == one["head"] for one in standings)

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for *path*, with what it requires."""
        required = {"/diff": ("a", "b"), "/consistency": ("from", "to")}
        values = self.parts | {"from": 1, "to": 2}
        names = next((names for end, names in required.items() if path.endswith(end)), ())
        query = f"?{urlencode({name: values[name] for name in names})}" if names else ""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.request(method, path.format(**self.parts) + query, headers=told)


@pytest.fixture(scope="module")
def reading(server: Server) -> Read:
    return Read(server)


@pytest.mark.parametrize("path", PATHS)
def test_a_read_that_is_unchanged_is_not_sent_again(path: str, reading: Read) -> None:
    answer = reading.get(path)
    assert answer.status == 200, answer.body
    assert answer.headers["ETag"]
    if path in MOVING:
        return
    again = reading.get(path, If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    assert reading.get(path, If_None_Match='"another"').status == 200


@pytest.mark.parametrize("path", PATHS)
def test_head_tells_what_get_would_without_sending_it(path: str, reading: Read) -> None:
    got, told = reading.get(path), reading.get(path, "HEAD")
    assert (told.status, told.body) == (200, b"")
    names = {"Content-Type", "Content-Length", "ETag", "Vary"} - (
        {"Content-Length", "ETag"} if path in MOVING else set()
    )
    assert {name: told.headers[name] for name in names} == {name: got.headers[name] for name in names}


@pytest.mark.parametrize("path", PATHS)
def test_what_is_long_comes_compressed_where_asked_and_says_that_it_varies(path: str, reading: Read) -> None:
    plain, packed = reading.get(path), reading.get(path, Accept_Encoding="gzip")
    if path.endswith("/{sha256}/download"):  # its bytes are its own
        assert packed.headers["Content-Encoding"] is None
        return
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert "Accept-Encoding" in packed.headers["Vary"]
    is_long = len(plain.body) > 1024
    assert (packed.headers["Content-Encoding"] == "gzip") == is_long
    if is_long and path not in MOVING:
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["ETag"] == f"W/{plain.headers['ETag']}"


@pytest.mark.parametrize("path", SEVERAL)
def test_pages_lead_to_each_other_by_their_links(path: str, reading: Read) -> None:
    found: list[str] = []
    target = f"{BASE}{path}?limit=1"
    while target:
        answer = reading.server.request("GET", target, headers={"Accept": "application/x-ndjson"})
        found += [json.dumps(json.loads(line)) for line in answer.body.splitlines()]
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers["Link"] or "")
        target = link[1] if link else ""
    whole = reading.server.request("GET", f"{BASE}{path}", headers={"Accept": "application/x-ndjson"})
    assert found == [json.dumps(json.loads(line)) for line in whole.body.splitlines()]
    assert len(found) >= 2
    assert whole.headers["Link"] is None


def test_a_link_of_a_list_keeps_its_filters(reading: Read) -> None:
    for _ in range(2):
        reading.server.create(**body(tool_id="link"))
    answer = reading.server.get("/runs", query={"tool_id": "link", "limit": 1})
    assert "tool_id=link" in answer.headers["Link"]
