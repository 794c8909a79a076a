"""The check that travels with the evidence: on its own, in plain words, and deaf to no altered byte."""

import ast
import shutil
import subprocess
import sys
from hashlib import sha256, sha512
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from api.evidence import verify
from eventlog.canonical import canonical
from eventlog.merkle import Frontier, inclusion_proof, leaf_hash
from eventlog.note import Note, signed_checkpoint
from eventlog.proof_text import LogProof
from eventlog.signing import Signer, Verifier

SCRIPT = Path(verify.__file__)
LOG = Signer("runlog.local/0123", b"l" * 32)
FORGER = Signer("runlog.local/0123", b"f" * 32)
BLOB = b"G21\nG90\n"
DIGEST = sha256(BLOB).hexdigest()
SIZE, SEQS = 21, (3, 4, 20)

RFC_8032 = [  # secret key, message, signature: section 7.1, TEST 1, TEST 2, TEST 3, TEST SHA(abc)
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


def event(seq: int) -> bytes:
    attachment = {"attachment": {"sha256": DIGEST}} if seq == 4 else {"run": {}}
    return canonical(
        {"type": "rmos.run.created.v1", "subject": "run_0123456789ab", "time": f"2026-01-05T05:07:{seq:02d}Z"}
        | {"data": {"note": "\u00e9", "seq": seq, **attachment}}
    )


def pack(folder: Path) -> Path:
    """Write evidence as an export does."""
    entries = [sha256(event(seq)).digest() for seq in range(SIZE)]
    tree, whole = Frontier().grown([leaf_hash(entry) for entry in entries])
    note = signed_checkpoint(LOG, SIZE, tree.root)
    files = {"checkpoint": note.data, "key": LOG.verifier.vkey.encode() + b"\n", f"attachments/{DIGEST}": BLOB}
    for seq in SEQS:
        path = tuple(inclusion_proof(seq, SIZE, lambda level, index: whole[level][index]))
        files[f"events/{seq}.event.json"] = event(seq)
        files[f"events/{seq}.tlog-proof"] = LogProof(seq, path, note).data
    files |= {"README.txt": b"Read me.\n", "index.html": b"<!doctype html>\n", "runs.csv": b"run_id\n"}
    files["verify.py"] = SCRIPT.read_bytes()
    for name, data in files.items():
        put(folder, name, data)
    put(folder, "manifest", manifest(folder))
    return folder


def put(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def names(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def manifest(folder: Path) -> bytes:
    listed = [name for name in names(folder) if name != "manifest"]
    return "".join(f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in listed).encode()


def faults(folder: Path, key: str | None = None) -> list[str]:
    """What the check finds, asked in this process; `run` asks it as an auditor does."""
    evidence = verify.Evidence(str(folder))
    try:
        evidence.check(key)
    except (verify.Wrong, OSError, ValueError) as error:
        return [*evidence.faults, str(error)]
    return evidence.faults


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-I", str(folder / "verify.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert ended.stderr == "" or ended.returncode == 2
    return ended.returncode, ended.stdout


@pytest.fixture
def evidence(tmp_path):
    return pack(tmp_path / "evidence")


@pytest.mark.parametrize(("secret", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_verify_and_altered_ones_do_not(secret, message, signature):
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).public_key().public_bytes_raw()
    signed = bytes.fromhex(signature)
    verify.check_ed25519(public, message, signed)
    for wrong in (bytes([signed[0] ^ 1]) + signed[1:], signed[:-1] + bytes([signed[-1] ^ 1]), signed[:63]):
        with pytest.raises(verify.Wrong):
            verify.check_ed25519(public, message, wrong)
    with pytest.raises(verify.Wrong):
        verify.check_ed25519(public, message + b"x", signed)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_what_a_known_library_signs_verifies_and_with_the_order_added_it_does_not(seed, message):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    verify.check_ed25519(public, message, signature)
    larger = (int.from_bytes(signature[32:], "little") + verify.ORDER).to_bytes(32, "little")
    with pytest.raises(verify.Wrong):
        verify.check_ed25519(public, message, signature[:32] + larger)


@pytest.mark.parametrize(
    "point", ["01" + "00" * 31, "00" * 32, "ec" + "ff" * 30 + "7f", "ff" * 32, "01" + "00" * 30 + "80"]
)
def test_a_key_of_small_order_and_one_that_is_no_point_are_refused(point):
    forged = bytes.fromhex("01" + "00" * 63)  # fits every text under the first
    with pytest.raises(verify.Wrong):
        verify.check_ed25519(bytes.fromhex(point), b"anything", forged)


@settings(deadline=None)
@given(st.integers(1, 70).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_it_follows_every_inclusion_proof_and_none_that_is_longer_or_shorter(place):
    index, size = place
    entries = [sha256(b"%d" % i).digest() for i in range(size)]
    tree, whole = Frontier().grown([leaf_hash(entry) for entry in entries])
    proof = inclusion_proof(index, size, lambda level, i: whole[level][i])
    assert verify.root_by(proof, index, size, entries[index]) == tree.root
    for wrong in ([*proof, bytes(32)], proof[:-1], [b"", *proof[1:]]):
        if wrong != proof:
            with pytest.raises(verify.Wrong):
                verify.root_by(wrong, index, size, entries[index])
    with pytest.raises(verify.Wrong):
        verify.root_by(proof, size, size, entries[index])


def test_good_evidence_holds_and_it_is_told_what_is_proven_and_what_is_not(evidence):
    code, told = run(evidence)
    assert code == 0, told
    assert "THE EVIDENCE HOLDS: 3 events, 1 attachment." in told
    assert "20  2026-01-05T05:07:20Z  rmos.run.created.v1  run_0123456789ab" in told
    assert "self-consistent only" in told
    assert "Not proven" in told
    assert LOG.verifier.vkey in told


def test_with_the_right_key_it_is_more_than_self_consistent_and_with_another_it_fails(evidence):
    code, told = run(evidence, "--key", LOG.verifier.vkey)
    assert code == 0
    assert "self-consistent" not in told
    code, told = run(evidence, "--key", FORGER.verifier.vkey)
    assert code == 1
    assert "not the key that was given" in told


def test_it_checks_another_folder_than_its_own_and_refuses_what_it_does_not_know(evidence, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(evidence, other)
    (other / "checkpoint").unlink()
    assert run(evidence, str(other))[0] == 1
    assert run(evidence, "--no-such-option")[0] == 2
    assert (
        run(evidence, "--key", "")[0] == run(evidence, "--key", LOG.verifier.vkey[:-4])[0] == 2
    )  # no verdict on a slip
    assert run(evidence, str(tmp_path / "nowhere"))[0] == 1


def test_one_altered_byte_of_any_file_is_found_and_named(evidence):
    for name in names(evidence):
        data = (evidence / name).read_bytes()
        for at in range(0, len(data), max(1, len(data) // 12)):
            put(evidence, name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            found = faults(evidence)
            assert found, f"{name} byte {at}"
            assert name == "manifest" or any(name in fault for fault in found)
        put(evidence, name, data)
    assert faults(evidence) == []


def test_one_altered_byte_is_told_by_the_script_itself(evidence):
    data = (evidence / "events/4.event.json").read_bytes()
    put(evidence, "events/4.event.json", data.replace(b"2026", b"2025"))
    code, told = run(evidence)
    assert code == 1
    assert "THE EVIDENCE DOES NOT HOLD" in told
    assert "events/4.event.json: these are not the bytes that were recorded" in told


@pytest.mark.parametrize("name", ["events/4.event.json", "events/4.tlog-proof", "checkpoint", "key"])
def test_whoever_alters_a_byte_of_what_is_proven_and_the_manifest_too_is_found(evidence, name):
    data = (evidence / name).read_bytes()
    for at in range(0, len(data), 5):
        put(evidence, name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        put(evidence, "manifest", manifest(evidence))
        assert faults(evidence), at


def test_whoever_forges_event_proof_checkpoint_key_and_manifest_is_found_by_the_key_alone(evidence):
    tree, _ = Frontier().grown([leaf_hash(sha256(event(0)).digest())])
    note = signed_checkpoint(FORGER, 1, tree.root)
    shutil.rmtree(evidence / "events")
    shutil.rmtree(evidence / "attachments")
    put(evidence, "events/0.event.json", event(0))
    put(evidence, "events/0.tlog-proof", LogProof(0, (), note).data)
    put(evidence, "checkpoint", note.data)
    put(evidence, "key", FORGER.verifier.vkey.encode() + b"\n")
    put(evidence, "manifest", manifest(evidence))
    assert faults(evidence) == []
    assert faults(evidence, LOG.verifier.vkey) != []


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("events/4.event.json", "events/4.event.json"),
        ("events/4.tlog-proof", "events/4.tlog-proof"),
        (f"attachments/{DIGEST}", "an event names it, and it is not here"),
        ("manifest", "manifest"),
        ("README.txt", "README.txt: is missing"),
    ],
)
def test_a_lost_file_is_named(evidence, lost, expected):
    (evidence / lost).unlink()
    if lost.startswith(("events", "attachments")):
        put(evidence, "manifest", manifest(evidence))
    assert any(expected in fault for fault in faults(evidence))


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("events/5.event.json", event(5), "events/5.event.json"),
        ("events/05.event.json", event(5), "neither an event nor a proof"),
        (f"attachments/{sha256(b'x').hexdigest()}", b"x", "no event that is proven here names it"),
        (f"attachments/{DIGEST}", b"other bytes", "its bytes are not those"),
        ("events/4.event.json", event(3), "not the bytes that were recorded"),
    ],
)
def test_a_file_that_does_not_belong_there_is_named(evidence, name, data, expected):
    put(evidence, name, data)
    assert any("since the evidence was packed" in fault for fault in faults(evidence))
    put(evidence, "manifest", manifest(evidence))
    assert any(expected in fault for fault in faults(evidence))


def test_no_name_in_it_does_anything_to_the_terminal(evidence):
    """Or bad evidence could clear the screen, and say of itself that it holds."""
    put(evidence, "\x1b[2J\x1b[HTHE EVIDENCE HOLDS\n\x9b\u202e", b"x")
    code, said = run(evidence)
    assert code == 1
    assert r"\x1b[2J\x1b[HTHE EVIDENCE HOLDS\n\x9b\u202e: was added since" in said
    assert all(each.isprintable() for each in said.replace("\n", ""))


def test_a_manifest_that_lists_the_same_in_another_way_is_found(evidence):
    lines = manifest(evidence).splitlines(keepends=True)
    for changed in (lines[::-1], [*lines, lines[-1]], [*lines, b"more"]):
        put(evidence, "manifest", b"".join(changed))
        assert faults(evidence) == ["manifest: it was changed since the evidence was packed"]


def test_a_file_that_a_file_manager_leaves_is_no_fault(evidence):
    put(evidence, ".DS_Store", b"x")
    put(evidence, "events/Thumbs.db", b"x")
    assert faults(evidence) == []


def test_without_any_event_nothing_holds(evidence):
    shutil.rmtree(evidence / "events")
    shutil.rmtree(evidence / "attachments")
    put(evidence, "manifest", manifest(evidence))
    assert faults(evidence) == ["events/: no event is proven here"]


def test_a_checkpoint_with_a_witness_and_a_strangers_signature_holds(evidence):
    note = Note.parse((evidence / "checkpoint").read_bytes())
    more = Note(note.text, (FORGER.sign(note.text), *note.signatures)).data
    size, _ = verify.checkpoint_of(more, LOG.verifier.vkey)
    assert size == SIZE


@pytest.mark.parametrize(
    "vkey",
    ["", "name", LOG.verifier.vkey + "\n", LOG.verifier.vkey.replace("0123", "0124"), Verifier("a", b"k" * 32, 4).vkey],
)
def test_what_is_not_exactly_a_key_of_a_log_is_refused(vkey):
    with pytest.raises(verify.Wrong):
        verify.key_of(vkey)


@pytest.mark.parametrize(
    "damage",
    [lambda note: note[:-1], lambda note: note.replace(b"\xe2\x80\x94", b"-"), lambda note: b"", lambda note: b"x\n\n"],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(evidence, damage):
    note = damage((evidence / "checkpoint").read_bytes())
    with pytest.raises(verify.Wrong):
        verify.checkpoint_of(note, LOG.verifier.vkey)


def test_a_note_of_the_log_that_is_no_checkpoint_is_refused():
    for text in ("runlog.local/0123\n07\nAA==\n", "other\n7\nAA==\n", "runlog.local/0123\n"):
        with pytest.raises(verify.Wrong):
            verify.checkpoint_of(Note(text, (LOG.sign(text),)).data, LOG.verifier.vkey)


def test_proofs_for_another_checkpoint_or_index_are_refused(evidence):
    proof = (evidence / "events/4.tlog-proof").read_bytes()
    for wrong in (
        proof.replace(b"index 4", b"index 3"),
        proof.replace(b"\n21\n", b"\n22\n"),
        proof.replace(b"@v1", b"@v2"),
    ):
        put(evidence, "events/4.tlog-proof", wrong)
        put(evidence, "manifest", manifest(evidence))
        assert any("events/4.event.json" in fault for fault in faults(evidence))


def test_it_needs_nothing_but_the_library_of_an_old_python():
    source = SCRIPT.read_text("utf-8")
    ast.parse(source, feature_version=(3, 8))  # an auditor's Python may be old
    imported = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported - {"__future__"} <= set(sys.stdlib_module_names)
