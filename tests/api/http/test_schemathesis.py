"""The real server against its own document: what fits is taken, what does not is refused, and every answer is as told.

`make fuzz` makes up many more requests for each operation.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi import checks

from api.http.app import ROUTES
from api.http.openapi.document import document_of
from api.http.openapi.operations import DIGEST, NDJSON, RUN
from api.http.openapi.shapes import RUN_ID_PATTERN
from tests.commands import V1_FILE, migrate
from tests.server import BASE, Server, digest


def with_lines(document: dict[str, Any]) -> dict[str, Any]:
    """Have texts of lines made up line by line."""
    for methods in document["paths"].values():
        for one in methods.values():
            if content := one.get("requestBody", {}).get("content", {}).get(NDJSON):
                content["schema"] = {"type": "array", "items": content["schema"]["x-line"], "maxItems": 2}
    return document


@schemathesis.serializer(NDJSON)
def lines(_context: Any, value: Any) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in (value if isinstance(value, list) else [value]))


EXAMPLES = 300 if "FUZZ" in os.environ else 5
# To GET, its path is the id of a run that is not there: another route takes it.
ITS_METHODS = {"unsupported_method": {"enabled": False}, "allow_header_conformance": {"enabled": False}}
COMPONENTS = document_of(ROUTES)["components"]
API = schemathesis.openapi.from_dict(
    with_lines(document_of(ROUTES)),
    config=schemathesis.Config.from_dict(
        {"operations": [{"include-path": f"{BASE}/runs/batch", "checks": ITS_METHODS}]}
    ),
).exclude(tag="Pages")
CONTENT = b'{"risk_level":"GREEN","score":87.5}'
A, B, TO_WITHDRAW = RUN.example, "run_ba9876543210", "run_00000000dead"
OF_STATE = {
    *(
        "RUN_NOT_FOUND",
        "ATTACHMENT_NOT_FOUND",
        "NOT_FOUND",
        "RUN_WITHDRAWN",
        "ARTIFACT_EXISTS",
        "RANGE_NOT_SATISFIABLE",
    ),
    *("ADVISORY_CONFLICT", "ATTACHMENT_CONFLICT", "RUN_FULL", "IDEMPOTENCY_KEY_REUSED", "HASH_MISMATCH"),
}
"""Refusals that rest on what is recorded, which no shape can tell."""
OF_STATE_TOO = {"?cursor", "?from", "?to", "Content-Digest", "$.import"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the real runs of v1, and with what the document's examples name."""
    folder = tmp_path_factory.mktemp("filled")
    assert migrate(V1_FILE, folder / "data", "--no-backup").code == 0
    assert digest(CONTENT) == DIGEST.example
    server = Server(folder)
    try:
        server.start()
        for run_id in (A, B, TO_WITHDRAW):
            server.create(run_id=run_id)
            assert server.upload(run_id, CONTENT, kind="judgement").status == 201
        yield server
    finally:
        server.stop()
    assert "Traceback" not in server.output()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One kept-alive connection for all requests."""
    with requests.Session() as session:
        yield session


@API.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_an_operation_is_as_the_document_says(case: Any, filled: Server, session: requests.Session) -> None:
    lead_somewhere(case)
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{filled.port}",
        session=session,
        additional_checks=[what_fits_is_taken, what_does_not_fit_is_refused, each_line_is_as_told],
        excluded_checks=[checks.positive_data_acceptance, checks.negative_data_rejection],
    )


def test_every_run_and_event_that_came_from_v1_is_as_the_document_says(filled: Server) -> None:
    listed = filled.get("/runs", query={"view": "full", "limit": 200})
    assert listed.status == 200, listed.body
    runs = listed.json["items"]
    events = [json.loads(line)["event"] for line in filled.get("/events").body.splitlines()]
    assert {event["type"] for event in events} >= {"rmos.run.imported.v1", "rmos.run.created.v1"}
    for name, found in (("Run", runs), ("Event", events)):
        check = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": COMPONENTS})
        for one in found:
            check.validate(one)


def lead_somewhere(case: Any) -> None:
    """Have a request that names some run name one that is there."""
    for name, there in (("run_id", A), ("a", A), ("b", B)):
        for named in (case.path_parameters, case.query):
            if isinstance(named.get(name), str) and re.fullmatch(RUN_ID_PATTERN, named[name]):
                named[name] = TO_WITHDRAW if case.path.endswith("/withdraw") else there


def what_fits_is_taken(context: Any, response: Any, case: Any) -> None:
    if response.status_code in (404, 409, 410, 416, 422):
        problem = response.json()
        paths = {fault["path"] for fault in problem.get("errors", ())}
        if problem["error"] in OF_STATE or (paths and paths <= OF_STATE_TOO):
            return
    checks.positive_data_acceptance(context, response, case)


def what_does_not_fit_is_refused(context: Any, response: Any, case: Any) -> None:
    if "" in case.query.values():  # as if it was not there
        return
    if case.media_type == NDJSON and response.status_code == 200:  # each line has an answer of its own
        return
    if any("unknown-property" in name for name in case.headers):  # anybody may add headers
        return
    checks.negative_data_rejection(context, response, case)


def each_line_is_as_told(_context: Any, response: Any, case: Any) -> None:
    if response.status_code != 200 or not response.headers.get("content-type", [""])[0].startswith(NDJSON):
        return
    told = case.operation.definition.raw["responses"]["200"]["content"][NDJSON]["schema"]["x-line"]
    check = Draft202012Validator({**told, "components": COMPONENTS})
    found = [json.loads(line) for line in response.content.splitlines()]
    for line in found:
        check.validate(line)
    if isinstance(case.body, list) and case.path.endswith("/batch"):
        assert len(found) == len(case.body)
        if case.meta.generation.mode.is_positive:
            assert all(line["status"] == 201 or line["error"] in OF_STATE for line in found), found
