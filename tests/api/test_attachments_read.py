"""Reading attachments: lists, downloads and their parts; and what is found, and put right, when a blob is harmed."""

from pathlib import Path
from typing import Any

import pytest

from tests.server import BASE, NOBODY, Server, refused, unique

NO_DIGESTS = ["nope", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "%0A", "%00", "*", "%2e%2e%2f%2e%2e", "%ff"]


def added(
    server: Server, content: bytes, headers: dict[str, str] | None = None, **query: str
) -> tuple[str, dict[str, Any]]:
    """Create a run with one attachment; return its id and the attachment."""
    run_id = server.create()["run_id"]
    answer = server.upload(run_id, content, headers, **{"kind": "note", **query})
    assert answer.status == 201, answer.body
    return run_id, answer.json


# --- reading


def test_attachments_are_listed_in_the_order_of_their_coming(server: Server) -> None:
    run_id = server.create()["run_id"]
    nothing = server.get(f"/runs/{run_id}/attachments").json
    assert (nothing["run_id"], nothing["count"], nothing["attachments"] or []) == (run_id, 0, [])
    sent = [server.upload(run_id, text, kind="k").json for text in (b"z", b"a", b"m")]
    listed = server.get(f"/runs/{run_id}/attachments").json
    assert (listed["run_id"], listed["count"]) == (run_id, 3)
    path = f"{BASE}/runs/{run_id}/attachments"
    urls = [row["download_url"] for row in listed["attachments"]]
    assert urls == [f"{path}/{one['sha256']}/download" for one in sent]
    assert all(one.items() <= row.items() for one, row in zip(sent, listed["attachments"], strict=True))
    assert server.request("GET", listed["attachments"][1]["download_url"]).body == b"a"


def test_one_attachment_can_be_asked_for(server: Server) -> None:
    """Without a path of the server."""
    run_id, attachment = added(server, b"one")
    answer = server.get(f"/runs/{run_id}/attachments/{attachment['sha256']}")
    assert (answer.json["run_id"], answer.json["exists"]) == (run_id, True)
    assert attachment.items() <= answer.json["attachment"].items()
    assert set(answer.json) == {"run_id", "attachment", "exists"}
    assert str(server.data_dir).encode() not in answer.body


@pytest.mark.parametrize("part", ["", "/download"])
def test_a_digest_that_is_not_on_this_run_is_a_404(server: Server, part: str) -> None:
    """Also one that another run carries, and what is no digest at all."""
    other, run_id = added(server, unique().encode())[1], server.create()["run_id"]
    for sha256 in (other["sha256"], "0" * 64, *NO_DIGESTS):
        refused(server.get(f"/runs/{run_id}/attachments/{sha256}{part}"), 404, "ATTACHMENT_NOT_FOUND")
    refused(server.get(f"/runs/{NOBODY}/attachments/{other['sha256']}{part}"), 404, "RUN_NOT_FOUND")


RANGES = [
    ("bytes=0-9", slice(0, 10)),
    ("bytes=990-", slice(990, 1000)),
    ("bytes=-7", slice(993, 1000)),
    ("bytes=5-5", slice(5, 6)),
    ("bytes=900-5000", slice(900, 1000)),
    ("bytes=-5000", slice(0, 1000)),
]


@pytest.mark.parametrize(("wanted", "part"), RANGES, ids=[wanted for wanted, _ in RANGES])
def test_a_part_of_an_attachment_can_be_asked_for(server: Server, wanted: str, part: slice) -> None:
    content = bytes(n % 251 for n in range(1000))
    run_id, attachment = added(server, content)
    answer = server.get(f"/runs/{run_id}/attachments/{attachment['sha256']}/download", {"Range": wanted})
    assert (answer.status, answer.body) == (206, content[part])
    assert answer.headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/1000"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("wanted", ["bytes=1000-", "bytes=5000-6000", f"Bytes={10**30}-"])
def test_a_part_beyond_the_end_is_a_416(server: Server, wanted: str) -> None:
    run_id, attachment = added(server, b"x" * 1000)
    answer = server.get(f"/runs/{run_id}/attachments/{attachment['sha256']}/download", {"Range": wanted})
    refused(answer, 416, "RANGE_NOT_SATISFIABLE")
    assert answer.headers["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize(
    "wanted", ["bytes=9-3", "bytes=a-b", "lines=1-2", "bytes=", "bytes=--1", "bytes=0-1,5-6", "\u0663"]
)
def test_a_range_that_is_none_is_ignored_or_refused(server: Server, wanted: str) -> None:
    run_id, attachment = added(server, b"x" * 1000)
    path = f"{BASE}/runs/{run_id}/attachments/{attachment['sha256']}/download"
    answer = server.request("GET", path, headers={"Range": wanted.encode().decode("latin-1")})
    assert answer.status in (200, 206, 416)


def test_head_of_a_download_tells_its_size(server: Server) -> None:
    run_id, attachment = added(server, b"x" * 1234, {"Content-Type": "text/plain"})
    answer = server.request("HEAD", f"{BASE}/runs/{run_id}/attachments/{attachment['sha256']}/download")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "1234")
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=5000-"])
def test_head_of_a_download_knows_no_parts(server: Server, wanted: str) -> None:
    """RFC 9110, 14.2: a Range means something for GET only."""
    run_id, attachment = added(server, b"x" * 1234)
    path = f"{BASE}/runs/{run_id}/attachments/{attachment['sha256']}/download"
    answer = server.request("HEAD", path, headers={"Range": wanted})
    assert (answer.status, answer.headers["Content-Length"], answer.headers["Content-Range"]) == (200, "1234", None)


def test_an_unchanged_download_is_kept_as_long_as_before(server: Server) -> None:
    run_id, attachment = added(server, b"bytes")
    path = f"/runs/{run_id}/attachments/{attachment['sha256']}/download"
    first = server.get(path)
    again = server.get(path, {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    for name in ("ETag", "Cache-Control"):
        assert again.headers[name] == first.headers[name]


@pytest.mark.parametrize("filename", ['a"b.nc', "a;b=c.nc", "größe 😀.nc", "%0d%0aX-Evil: 1", "..", "-"])
def test_no_filename_breaks_out_of_its_header(server: Server, filename: str) -> None:
    run_id, attachment = added(server, b"bytes", filename=filename)
    answer = server.get(f"/runs/{run_id}/attachments/{attachment['sha256']}/download")
    assert (answer.status, answer.body) == (200, b"bytes")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "X-Evil" not in answer.headers


# --- verify and repair


def test_verify_checks_every_attachment(server: Server) -> None:
    run_id = server.create()["run_id"]
    assert server.get(f"/runs/{run_id}/attachments/verify").json == {"run_id": run_id, "all_valid": True, "results": []}
    sent = [server.upload(run_id, text, kind="k", filename=f"{text!r}").json for text in (b"z", b"a")]
    assert server.get(f"/runs/{run_id}/attachments/verify").json == {
        "run_id": run_id,
        "all_valid": True,
        "results": [{"sha256": a["sha256"], "filename": a["filename"], "valid": True} for a in sent],
    }


def harm(blob: Path, how: str) -> None:
    """Do to a stored blob what a disk or a person may do."""
    content = blob.read_bytes()
    blob.unlink()
    if how == "cut":
        blob.write_bytes(content[:-1])
    elif how == "changed":
        blob.write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("how", ["missing", "cut", "changed"])
def test_a_harmed_blob_is_found_and_uploading_its_bytes_puts_it_right(server: Server, how: str) -> None:
    """With no event; the other attachments of the run stay valid."""
    content = unique().encode() * 50
    run_id, attachment = added(server, content)
    server.upload(run_id, b"unharmed", kind="note")
    before, sha256 = server.run(run_id), attachment["sha256"]
    harm(server.data_dir / "attachments" / sha256[:2] / sha256[2:4] / sha256, how)
    checked = server.get(f"/runs/{run_id}/attachments/verify").json
    assert (checked["all_valid"], [result["valid"] for result in checked["results"]]) == (False, [False, True])
    if how != "changed":
        assert server.get(f"/runs/{run_id}/attachments/{sha256}").json["exists"] is False
        refused(server.get(f"/runs/{run_id}/attachments/{sha256}/download"), 404, "ATTACHMENT_NOT_FOUND")
    again = server.upload(run_id, content, kind="note")
    assert (again.status, again.json) == (200, attachment)
    assert server.get(f"/runs/{run_id}/attachments/verify").json["all_valid"] is True
    assert server.get(f"/runs/{run_id}/attachments/{sha256}/download").body == content
    assert server.run(run_id) == before
