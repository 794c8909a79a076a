"""/openapi.json tells of every route and error, no more and no less; and what is served is as it says."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.http.app import ROUTES
from api.http.openapi.document import OPERATIONS, document_of, is_page, template
from api.http.problems import STATUSES
from tests.server import BASE, NOBODY, Server, refused

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document_of(ROUTES)))
SERVED = [f"{method} {template(path)}" for method, path, _ in ROUTES if not is_page(path)]
PAGES = [f"{method} {template(path)}" for method, path, _ in ROUTES if is_page(path)]
DIGEST = "0" * 64


def shape(name: str) -> Draft202012Validator:
    """A check against a shape of the document."""
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def operation(key: str) -> dict[str, Any]:
    method, _, path = key.partition(" ")
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def names(key: str, where: str) -> set[str]:
    return {each["name"] for each in operation(key).get("parameters", ()) if each["in"] == where}


def target(key: str) -> str:
    """The path of an operation, with something in the place of its parts."""
    path = key.partition(" ")[2]
    parts = {"run_id": NOBODY, "a": NOBODY, "b": NOBODY, "sha256": DIGEST, "name": "catalog", "path": "0/000"}
    return path.format(**parts)


def test_it_is_valid_by_the_specification() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_what_is_served_is_the_document_of_the_routes(server: Server) -> None:
    answer = server.request("GET", "/openapi.json")
    assert answer.headers.get_content_type() == "application/json"
    assert answer.json == DOCUMENT
    again = server.request("GET", "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_every_route_is_told_and_nothing_else() -> None:
    told = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == {f"{method} {template(path)}" for method, path, _ in ROUTES}
    assert set(OPERATIONS) == set(SERVED)


def test_every_error_is_told_with_its_status_and_an_example() -> None:
    told: dict[str, int] = {}
    for methods in DOCUMENT["paths"].values():
        for one in methods.values():
            for status, answer in one["responses"].items():
                content = answer.get("content", {}).get("application/json", {})
                for code, example in content.get("examples", {}).items():
                    assert example == {"$ref": f"#/components/examples/{code}"}
                    told[code] = STATUSES[code] if status == "default" else int(status)
    # No operation answers that it is none.
    assert told == {code: status for code, status in STATUSES.items() if code != "METHOD_NOT_ALLOWED"}
    assert set(DOCUMENT["components"]["examples"]) == set(STATUSES)


@pytest.mark.parametrize("code", STATUSES)
def test_the_example_of_an_error_is_such_an_error(code: str) -> None:
    example = DOCUMENT["components"]["examples"][code]["value"]
    shape("Problem").validate(example)
    assert example["error"] == code


def test_every_shape_is_one_and_is_used() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert used == set(schemas)


def test_every_operation_has_a_name_of_its_own_and_a_tag_that_is_told() -> None:
    found = [one for methods in DOCUMENT["paths"].values() for one in methods.values()]
    ids = [one["operationId"] for one in found]
    assert len(ids) == len(set(ids))
    assert {one["tags"][0] for one in found} == {tag["name"] for tag in DOCUMENT["tags"]}


@pytest.mark.parametrize("key", SERVED)
def test_an_operation_has_the_parameters_that_its_route_takes(key: str, server: Server) -> None:
    assert names(key, "path") == set(re.findall(r"\{(\w+)\}", key))
    method = key.partition(" ")[0]
    forms = operation(key).get("requestBody", {}).get("content", {})
    content = b"{}" if method == "POST" else None
    headers = {"Content-Type": next(iter(forms), "application/json")} if content else {}
    answer = server.request(method, f"{target(key)}?Zq9=1", content, headers)
    errors = {one["path"]: one["message"] for one in refused(answer, 422, "VALIDATION_ERROR")["errors"]}
    taken = errors["?Zq9"].rpartition("it takes ")[2].split(", ")
    assert names(key, "query") == set(taken) - {"none"}


@pytest.mark.parametrize("key", ["GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /docs"])
def test_outside_the_base_an_error_is_told_as_json_and_as_a_page(key: str, server: Server) -> None:
    told = operation(key)["responses"]["422"]["content"]
    for accept in ("application/json", "text/html"):
        answer = server.request("GET", f"{target(key)}?Zq9=1", headers={"Accept": accept})
        assert (answer.status, answer.headers.get_content_type()) == (422, accept)
    assert list(told) == ["application/json", "text/html"]


@pytest.mark.parametrize("key", [key for key in SERVED if BASE in key])
def test_under_the_base_an_error_is_json_alone(key: str, server: Server) -> None:
    told = operation(key)["responses"]
    assert {form for status in told if int(status) >= 400 for form in told[status].get("content", ())} == {
        "application/json"
    }


@pytest.mark.parametrize("key", [key for key in PAGES if key != "GET /rmos/runs"])  # which says it on the page itself
def test_what_a_page_refuses_is_told(key: str, server: Server) -> None:
    told = operation(key)["responses"]["default"]["content"]["application/json"]["examples"]
    method = key.partition(" ")[0]
    for query, expect in (("?Zq9=1", "100-continue"), ("", "foo")):
        refusal = server.request(method, f"{target(key)}{query}", headers={"Expect": expect})
        assert refusal.json["error"] in told


def test_what_a_form_of_a_page_sends_leads_on() -> None:
    for key in PAGES:
        if key.startswith("POST"):
            assert set(operation(key)["responses"]) == {"303", "default"}


def test_the_bare_address_only_leads_on(server: Server) -> None:
    answer = server.request("GET", "/")
    assert (answer.status, answer.headers["Location"]) == (303, "/rmos")
    told = operation("GET /")["responses"]
    assert set(told) == {"303", "default"}
    assert "Location" in told["303"]["headers"]
    examples = told["default"]["content"]["application/json"]["examples"]
    assert set(examples) == {"FORBIDDEN", "HEADERS_TOO_LARGE", "INTERNAL", "MALFORMED_REQUEST", "VALIDATION_ERROR"}


def test_an_attachment_may_be_of_any_type() -> None:
    assert list(operation(f"POST {BASE}/runs/{{run_id}}/attachments")["requestBody"]["content"]) == ["*/*"]


@pytest.mark.parametrize("key", [key for key in SERVED if "requestBody" in operation(key)])
def test_the_example_of_a_body_is_such_a_body_and_is_taken(key: str, server: Server) -> None:
    (form, content), *_ = operation(key)["requestBody"]["content"].items()
    if "example" not in content:
        assert form != "application/json"
        return
    shape(content["schema"]["$ref"].rpartition("/")[2]).validate(content["example"])
    run_id = server.create()["run_id"]
    answer = server.post(key.partition(" ")[2].removeprefix(BASE).format(run_id=run_id), content["example"])
    assert answer.status in (200, 201)
    shape("Run").validate(answer.json)
