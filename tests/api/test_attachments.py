"""Attachments: the bytes that go in come out, are checked, and can be put right."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import (
    BASE,
    FEW,
    FILES,
    NOBODY,
    TIME,
    Server,
    content_digest,
    digest,
    faults,
    refused,
    unique,
    until,
)

REAL = sorted(FILES.iterdir())
KEYS = {"sha256", "kind", "mime", "filename", "size_bytes", "created_at_utc"}
UPLOAD_MAX = 256 * 1024 * 1024


def added(
    server: Server, content: bytes, headers: dict[str, str] | None = None, **query: str
) -> tuple[str, dict[str, Any]]:
    """Create a run with one attachment; return its id and the attachment."""
    run_id = server.create()["run_id"]
    answer = server.upload(run_id, content, headers, **{"kind": "note", **query})
    assert answer.status == 201, answer.body
    return run_id, answer.json


def blob_files(server: Server) -> list[Path]:
    """Return every file below the attachments' folder."""
    return sorted(path for path in (server.data_dir / "attachments").rglob("*") if path.is_file())


@pytest.mark.parametrize("file", REAL, ids=[file.name[:8] for file in REAL])
def test_a_real_file_comes_back_as_it_went_in(server: Server, file: Path) -> None:
    """G-code and pictures, under the digest of their bytes."""
    content = file.read_bytes()
    mime = "text/x-gcode" if file.suffix == ".nc" else "image/png"
    headers = {"Content-Type": mime, "Content-Digest": content_digest(content)}
    run_id, attachment = added(server, content, headers, kind="gcode", filename=f"Größe {file.name}")
    assert set(attachment) == KEYS
    assert TIME.fullmatch(attachment.pop("created_at_utc"))
    assert attachment == {
        "sha256": file.stem,
        "kind": "gcode",
        "mime": mime,
        "filename": f"Größe {file.name}",
        "size_bytes": len(content),
    }
    download = server.get(f"/runs/{run_id}/attachments/{file.stem}/download")
    assert (download.status, download.body) == (200, content)
    assert download.headers["Content-Type"] == mime
    assert download.headers["X-Content-Type-Options"] == "nosniff"
    assert download.headers["Content-Disposition"].startswith("attachment")
    assert server.get(f"/runs/{run_id}/attachments/verify").json["all_valid"] is True


def test_an_attachment_stands_in_the_artifact_and_in_an_event(server: Server) -> None:
    run_id, attachment = added(server, b"bytes")
    run = server.run(run_id)
    assert run["attachments"] == [attachment]
    event = server.get(f"/runs/{run_id}/events").json["events"][1]["event"]
    assert (event["type"], event["data"]) == ("rmos.attachment.added.v1", {"attachment": attachment})
    assert event["time"] == attachment["created_at_utc"]


def test_type_and_name_have_defaults(server: Server) -> None:
    """Any bytes, called by their digest."""
    _, attachment = added(server, b"anything")
    assert (attachment["mime"], attachment["filename"]) == ("application/octet-stream", digest(b"anything"))


def test_an_empty_file_is_a_file(server: Server) -> None:
    run_id, attachment = added(server, b"")
    assert (attachment["sha256"], attachment["size_bytes"]) == (digest(b""), 0)
    download = server.get(f"/runs/{run_id}/attachments/{digest(b'')}/download")
    assert (download.status, download.body) == (200, b"")


def test_a_body_in_chunks_is_taken(server: Server) -> None:
    """Its length need not be known before."""
    run_id = server.create()["run_id"]
    chunks = [bytes([n]) * 10_007 for n in range(100)]
    answer = server.upload(run_id, iter(chunks), kind="k")
    assert (answer.status, answer.json["sha256"], answer.json["size_bytes"]) == (
        201,
        digest(b"".join(chunks)),
        1_000_700,
    )


@given(content=st.binary(max_size=2000))
@FEW
def test_any_bytes_come_back_exactly(server: Server, content: bytes) -> None:
    run_id, attachment = added(server, content)
    assert server.get(f"/runs/{run_id}/attachments/{attachment['sha256']}/download").body == content


# --- what is refused


def test_other_bytes_than_announced_are_refused_and_not_kept(server: Server) -> None:
    """Neither an event nor a file is left."""
    run, content = server.create(), unique().encode()
    before = blob_files(server)
    wrong = {"Content-Digest": content_digest(b"other bytes")}
    refused(server.upload(run["run_id"], content, wrong, kind="k"), 422, "HASH_MISMATCH")
    assert server.run(run["run_id"]) == run
    assert blob_files(server) == before


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((f"sha-512=:{'A' * 86}==:", content_digest(b"bytes")), 201),
        ((content_digest(b"other"), content_digest(b"bytes")), 201),
        ((content_digest(b"bytes"), content_digest(b"other")), 422),
        ((content_digest(b"bytes"), "sha-256=:nope:"), 422),
        ((f"sha-512=:{'A' * 86}==:",), 422),
    ],
    ids=["other algorithm", "right last", "wrong last", "broken last", "none of ours"],
)
def test_digests_in_several_lines_are_one_list_of_which_the_last_counts(
    server: Server, lines: tuple[str, ...], status: int
) -> None:
    head = f"POST {BASE}/runs/{server.create()['run_id']}/attachments?kind=k HTTP/1.1\r\nHost: localhost\r\n"
    digests = "".join(f"Content-Digest: {line}\r\n" for line in lines)
    assert server.raw(f"{head}{digests}Content-Length: 5\r\n\r\nbytes".encode()).status == status


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({}, "?kind"),
        ({"kind": ""}, "?kind"),
        ({"kind": "k" * 65}, "?kind"),
        *[
            ({"kind": "k", "filename": bad}, "?filename")
            for bad in ("f" * 256, "a/b", "a\\b", "a\nb", "a\x00", "\x7f", "../a")
        ],
        ({"kind": "k", "surprise": "1"}, "?surprise"),
        ({"kind": "k" * 65, "filename": "/"}, "?filename ?kind"),
    ],
    ids=ascii,
)
def test_a_wrong_parameter_is_a_422_that_names_it(server: Server, query: dict[str, str], path: str) -> None:
    run = server.create()
    assert faults(server.upload(run["run_id"], b"bytes", **query)) == path.split()
    assert server.run(run["run_id"]) == run


def test_kind_and_name_may_be_as_long_as_the_limit(server: Server) -> None:
    _, attachment = added(server, b"bytes", kind="k" * 64, filename="é" * 255)
    assert (attachment["kind"], attachment["filename"]) == ("k" * 64, "é" * 255)


def test_a_repeated_kind_is_a_422(server: Server) -> None:
    path = f"{BASE}/runs/{server.create()['run_id']}/attachments?kind=a&kind=b"
    assert faults(server.request("POST", path, b"bytes")) == ["?kind"]


def test_a_compressed_upload_is_a_415(server: Server) -> None:
    """What is kept are the bytes that came, so their meaning must not hang on a header."""
    run_id = server.create()["run_id"]
    answer = server.upload(run_id, b"bytes", {"Content-Encoding": "gzip"}, kind="k")
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_an_upload_to_a_run_that_is_not_there_is_a_404_and_leaves_nothing(server: Server) -> None:
    before = blob_files(server)
    for run_id in (NOBODY, "nope", "run_0123456789ab%0A"):
        refused(server.upload(run_id, unique().encode(), kind="k"), 404, "RUN_NOT_FOUND")
    assert blob_files(server) == before


def test_an_upload_announced_above_256_mib_is_a_413_at_once(server: Server) -> None:
    head = (
        f"POST {BASE}/runs/{server.create()['run_id']}/attachments?kind=k HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    )
    refused(server.raw(f"{head}Content-Length: {UPLOAD_MAX + 1}\r\n\r\n".encode()), 413, "BODY_TOO_LARGE")


def test_an_upload_that_breaks_off_leaves_nothing(own_server: Server) -> None:
    """Half a file is none: no event, no blob, no left-over."""
    run = own_server.create()
    head = f"POST {BASE}/runs/{run['run_id']}/attachments?kind=k HTTP/1.1\r\nHost: 127.0.0.1:{own_server.port}\r\n"
    own_server.send_and_leave(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b"x" * 300_000)
    until(lambda: not blob_files(own_server), "what the broken upload left is gone")
    assert own_server.run(run["run_id"]) == run


# --- again, and in conflict


def test_the_same_upload_again_is_no_event(server: Server) -> None:
    run_id, attachment = added(server, b"bytes", {"Content-Type": "text/plain"}, filename="f")
    before = server.run(run_id)
    again = server.upload(run_id, b"bytes", {"Content-Type": "text/plain"}, kind="note", filename="f")
    assert (again.status, again.json) == (200, attachment)
    assert server.run(run_id) == before


@pytest.mark.parametrize(
    ("mime", "query"),
    [
        ("text/html", {"kind": "note", "filename": "f"}),
        ("text/plain", {"kind": "other", "filename": "f"}),
        ("text/plain", {"kind": "note", "filename": "g"}),
        ("text/plain", {"kind": "note"}),
    ],
)
def test_the_same_bytes_with_other_metadata_are_a_conflict(server: Server, mime: str, query: dict[str, str]) -> None:
    run_id, attachment = added(server, b"bytes", {"Content-Type": "text/plain"}, filename="f")
    problem = refused(server.upload(run_id, b"bytes", {"Content-Type": mime}, **query), 409, "ATTACHMENT_CONFLICT")
    assert (problem["run_id"], problem["sha256"]) == (run_id, attachment["sha256"])
    assert server.run(run_id)["attachments"] == [attachment]


def test_two_attachments_that_came_with_a_run_may_be_the_same_bytes_and_each_is_known_again(server: Server) -> None:
    """A gcode that is the text of the opplan: sending either once more is no event, anything else is a conflict."""
    plan = "x" * 204_800
    text = f'"{plan}"'
    run = server.create(outputs={"gcode_text": text, "opplan_json": plan})
    assert [one["kind"] for one in run["attachments"]] == ["gcode", "opplan"]
    for one in run["attachments"]:
        again = server.upload(
            run["run_id"], text.encode(), {"Content-Type": one["mime"]}, kind=one["kind"], filename=one["filename"]
        )
        assert (again.status, again.json["kind"], again.json["filename"]) == (200, one["kind"], one["filename"])
    refused(server.upload(run["run_id"], text.encode(), kind="opplan"), 409, "ATTACHMENT_CONFLICT")
    assert server.run(run["run_id"]) == run


def test_the_same_bytes_may_be_on_many_runs(server: Server) -> None:
    """Each with metadata of its own."""
    (run_a, a), (run_b, b) = added(server, b"shared", kind="a"), added(server, b"shared", kind="b", filename="f")
    assert (a["sha256"], a["kind"], b["kind"]) == (b["sha256"], "a", "b")
    assert server.run(run_a)["attachments"] == [a]
    assert server.run(run_b)["attachments"] == [b]


def test_of_concurrent_equal_uploads_one_is_an_event(server: Server) -> None:
    run_id = server.create()["run_id"]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: server.upload(run_id, b"same" * 5000, kind="k"), range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    assert [answer.json for answer in answers] == [answers[0].json] * 10
    assert len(server.run(run_id)["attachments"]) == 1
