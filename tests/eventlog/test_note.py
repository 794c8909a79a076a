"""Signed notes and checkpoints: the published vector, exactness, and which signatures count."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from eventlog.note import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Checkpoint,
    Note,
    NoteRefused,
    open_checkpoint,
    parse_signatures,
    signed_checkpoint,
)
from eventlog.signing import COSIGNATURE, Signature, Signer, Verifier

EXAMPLE_KEY = Verifier.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
EXAMPLE = (
    "This is an example message.\n"
    "\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

LOG = Signer("example.com/log", b"l" * 32)
WITNESS = Signer("example.com/witness", b"w" * 32, COSIGNATURE)
STRANGER = Signer("example.com/stranger", b"s" * 32)
ROOT = bytes(range(32))
CHECKPOINT = signed_checkpoint(LOG, 7, ROOT)

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=[chr(c) for c in range(32)])).flatmap(
    lambda line: st.lists(st.sampled_from([line, ""]), max_size=4).map(lambda lines: "\n".join(lines) + "\n")
)


def test_the_published_note_verifies_and_writes_back():
    note = Note.parse(EXAMPLE)
    assert note.text == "This is an example message.\n"
    assert [*note.signed_by((EXAMPLE_KEY,))] == [EXAMPLE_KEY]
    assert note.data == EXAMPLE


@pytest.mark.parametrize("at", range(len(EXAMPLE)))
def test_every_altered_byte_of_the_published_note_is_found(at):
    for bit in range(8):
        altered = EXAMPLE[:at] + bytes([EXAMPLE[at] ^ 1 << bit]) + EXAMPLE[at + 1 :]
        with pytest.raises(NoteRefused):
            Note.parse(altered).signed_by((EXAMPLE_KEY,))


@given(texts)
def test_a_note_reads_back_as_it_was_written_whatever_empty_lines_are_in_its_text(text):
    note = Note(text, (LOG.sign(text), STRANGER.sign(text)))
    assert Note.parse(note.data) == note
    assert note.signed_by((LOG.verifier,)) == {LOG.verifier: note.signatures[0]}


def test_signatures_of_unknown_keys_are_ignored_even_if_they_are_rubbish():
    text = CHECKPOINT.text
    rubbish = Signature(STRANGER.name, b"abcd", b"?")
    same_name = Signature(LOG.name, b"abcd", b"?")
    same_id = Signature(STRANGER.name, LOG.verifier.key_id, b"?")
    note = Note(text, (rubbish, same_name, same_id, *CHECKPOINT.signatures))
    assert [*Note.parse(note.data).signed_by((LOG.verifier,))] == [LOG.verifier]


def test_a_bad_signature_of_a_known_key_rejects_the_note_though_a_good_one_is_there():
    good = LOG.sign(CHECKPOINT.text)
    bad = evolve(good, value=bytes(64))
    for signatures in ((good, bad), (bad, good)):
        with pytest.raises(NoteRefused, match="does not fit"):
            Note(CHECKPOINT.text, signatures).signed_by((LOG.verifier,))


def test_a_note_that_no_known_key_signed_is_refused():
    with pytest.raises(NoteRefused, match=r"not signed by example\.com/witness"):
        CHECKPOINT.signed_by((WITNESS.verifier,))


def test_a_key_that_signed_twice_counts_once():
    note = Note(CHECKPOINT.text, CHECKPOINT.signatures * 2)
    assert len(note.signed_by((LOG.verifier,))) == 1


def test_a_log_and_its_witness_both_sign():
    cosigned = evolve(CHECKPOINT, signatures=(*CHECKPOINT.signatures, WITNESS.cosign(CHECKPOINT.text, 1_700_000_000)))
    read = Note.parse(cosigned.data)
    assert [*read.signed_by((LOG.verifier, WITNESS.verifier))] == [LOG.verifier, WITNESS.verifier]


def test_as_many_signatures_as_allowed_are_read_and_one_more_is_refused():
    line = LOG.sign("x\n").line
    assert len(parse_signatures(line * SIGNATURES_MAX)) == SIGNATURES_MAX >= 16
    with pytest.raises(NoteRefused):
        parse_signatures(line * (SIGNATURES_MAX + 1))


LINE = LOG.sign("text\n").line


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        f"text\n{LINE}".encode(),
        f"text\n\n{LINE[:-1]}".encode(),
        f"text\n\n{LINE}more".encode(),
        f"text\n\n{LINE}\n".encode(),
        f"text\n\n{LINE[2:]}".encode(),
        f"text\n\n{LINE.replace(' example', '  example')}".encode(),
        f"text\n\n{LINE.replace('/log', '+log')}".encode(),
        f"text\n\n{LINE.replace('/log ', '/log')}".encode(),
        f"text\n\n{LINE.replace('=', '')}".encode(),
        "text\n\n\u2014 example.com/log AAAAAA==\n".encode(),
        f"te\rxt\n\n{LINE}".encode(),
        f"te\0xt\n\n{LINE}".encode(),
        b"te\xffxt\n\n" + LINE.encode(),
        b"x" * NOTE_BYTES_MAX + b"\n\n" + LINE.encode(),
    ],
)
def test_what_is_not_exactly_a_note_is_refused(data):
    with pytest.raises(NoteRefused) as refused:
        Note.parse(data)
    assert refused.value.code == "NOTE_REFUSED"
    assert refused.value.reason in refused.value.message


def test_a_checkpoint_is_three_lines_and_a_signature():
    assert CHECKPOINT.text == "example.com/log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert CHECKPOINT.data.startswith(CHECKPOINT.text.encode() + "\n\u2014 example.com/log ".encode())
    assert open_checkpoint(CHECKPOINT.data, LOG.verifier) == Checkpoint("example.com/log", 7, ROOT)


@given(st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32), st.lists(st.sampled_from(["a", "b c"])))
def test_a_checkpoint_reads_back_as_it_was_written(size, root, extensions):
    checkpoint = Checkpoint("any origin", size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "origin\n7\n",
        "origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n07\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n-7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n\u0667\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
        "origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\nmore\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text):
    with pytest.raises(NoteRefused):
        Checkpoint.parse(text)


def test_the_checkpoint_of_another_log_is_refused_though_the_key_signed_it():
    text = Checkpoint("example.com/other", 7, ROOT).text
    with pytest.raises(NoteRefused, match=r"example\.com/other"):
        open_checkpoint(Note(text, (LOG.sign(text),)).data, LOG.verifier)
