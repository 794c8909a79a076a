"""Reading by an id: what is no id, or no run, is a 404; what is no parameter is a 422."""

from urllib.parse import quote

import pytest
from hypothesis import given

from tests.server import FEW, NOBODY, TEXT, Server, faults, refused, unique, words

PARTS = ["", *words("/download /events /advisories /attachments /attachments/verify"), f"/attachments/{'0' * 64}"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("run_id", [NOBODY, "run_" + "a" * 16, "run_" + "b" * 32, "c" * 32])
def test_a_run_that_is_not_there_is_a_404_that_names_it(server: Server, run_id: str, part: str) -> None:
    """Ids of the store before this one are read too."""
    assert refused(server.get(f"/runs/{run_id}{part}"), 404, "RUN_NOT_FOUND")["run_id"] == run_id


NO_IDS = [
    *words("nope * %00 verify events run_ run_0123456789a RUN_0123456789ab run_0123456789AB run_0123456789ag"),
    *words("run_0123456789ab%0A %0Arun_0123456789ab run_0123456789ab%00 run_0123456789ab.json run_0123456789ab%20"),
    *words("%F0%9F%98%80 %ff%fe %ED%A0%80 '%20OR%201=1-- %25 ~ -1 null %7B%7D %3Cscript%3E"),
    *["run_" + "0" * 33, "0" * 31, "0" * 33, "a" * 3000, quote("run_\uff10123456789ab")],
]


@pytest.mark.parametrize("part", ["", "/events", "/attachments/verify"])
@pytest.mark.parametrize("run_id", NO_IDS, ids=[text[:24] for text in NO_IDS])
def test_what_is_no_id_is_a_404(server: Server, run_id: str, part: str) -> None:
    """Matched in full, so never a 500 and never a file."""
    refused(server.get(f"/runs/{run_id}{part}"), 404, "RUN_NOT_FOUND")


@pytest.mark.parametrize("run_id", words(".. ../.. ..%2f..%2fetc%2fpasswd %2e%2e%2f%2e%2e a/b/c/d %2F %2Fetc%2Fpasswd"))
def test_a_way_out_of_the_folder_leads_nowhere(server: Server, run_id: str) -> None:
    answer = server.get(f"/runs/{run_id}/download")
    assert (answer.status, answer.json["error"] in ("RUN_NOT_FOUND", "NOT_FOUND")) == (404, True)


@given(text=TEXT.filter(lambda text: text not in ("", ".", "..", "diff", "batch", "recent")))
@FEW
def test_any_text_as_an_id_is_a_404(server: Server, text: str) -> None:
    assert server.get(f"/runs/{quote(text, safe='')}").status == 404


@pytest.mark.parametrize("part", [*PARTS, f"/attachments/{'0' * 64}/download"])
def test_a_parameter_that_a_route_does_not_know_is_a_422(server: Server, part: str) -> None:
    run_id = server.create()["run_id"]
    assert faults(server.get(f"/runs/{run_id}{part}", query={unique("surprise"): 1}))[0].startswith("?surprise")


def test_a_repeated_parameter_is_a_422(server: Server) -> None:
    run_id = server.create()["run_id"]
    assert faults(server.get(f"/runs/{run_id}?at=1&at=1")) == ["?at"]
