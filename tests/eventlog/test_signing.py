"""Keys and signatures: the published vectors, and what is refused as a key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from eventlog.signing import (
    COSIGNATURE,
    ED25519,
    KeyRefused,
    Signature,
    Signer,
    Verifier,
    cosigned_at,
    decode_base64,
    encode_base64,
    is_key_name,
)

EXAMPLE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
CHECKPOINT = "example.com/log\n7\nrrbIv+J0twofsGel5VeCZNsPqbUa9eC6FZNYsyngbnc=\n"

names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="+"), min_size=1)
seeds = st.binary(min_size=32, max_size=32)


def test_the_published_keys_read_and_write_back():
    for vkey in (EXAMPLE, PETER):
        assert Verifier.parse(vkey).vkey == vkey
    assert Verifier.parse(EXAMPLE).name == "example.com/foo"
    assert Verifier.parse(EXAMPLE).key_id.hex() == "530d903a"
    signer = Signer.parse(PETERS_SECRET)
    assert signer.secret == PETERS_SECRET
    assert signer.verifier.vkey == PETER


def test_the_published_key_signs_the_published_line():
    signature = Signer.parse(PETERS_SECRET).sign(PETERS_TEXT)
    assert signature.line == PETERS_LINE
    assert Verifier.parse(PETER).fits(signature, PETERS_TEXT)


@given(names, seeds, st.text(st.characters(exclude_categories=("Cs",))), st.text(max_size=3))
def test_a_signature_fits_its_text_and_key_and_no_other(name, seed, text, more):
    signer = Signer(name, seed)
    signature = signer.sign(text)
    assert signer.verifier.made(signature)
    assert signer.verifier.fits(signature, text)
    assert not signer.verifier.fits(signature, text + "x")
    assert not Signer(name, bytes(32) if any(seed) else b"\1" * 32).verifier.fits(signature, text)
    assert Verifier.parse(signer.verifier.vkey) == signer.verifier
    assert Signer.parse(signer.secret) == signer


@given(st.integers(0, (1 << 63) - 1), seeds)
def test_a_cosignature_signs_time_and_checkpoint(seconds, seed):
    signer = Signer("witness.example/w1", seed, COSIGNATURE)
    signature = signer.cosign(CHECKPOINT, seconds)
    assert cosigned_at(signature) == seconds
    assert len(signature.value) == 72
    assert signer.verifier.fits(signature, CHECKPOINT)
    assert not signer.verifier.fits(signature, CHECKPOINT.replace("7", "8", 1))
    later = Signature(signature.name, signature.key_id, (seconds + 1).to_bytes(8, "big") + signature.value[8:])
    assert not signer.verifier.fits(later, CHECKPOINT)
    message = f"cosignature/v1\ntime {seconds}\n{CHECKPOINT}".encode()
    Ed25519PublicKey.from_public_bytes(signer.verifier.public_key).verify(signature.value[8:], message)


def test_the_same_key_has_another_id_as_a_witness():
    log, witness = Signer("a", bytes(32)), Signer("a", bytes(32), COSIGNATURE)
    assert log.verifier.public_key == witness.verifier.public_key
    assert log.verifier.key_id != witness.verifier.key_id
    assert not log.verifier.made(witness.cosign(CHECKPOINT, 1))
    assert Verifier.parse(witness.verifier.vkey).kind == COSIGNATURE


def test_a_signature_of_another_length_does_not_fit():
    verifier = Verifier.parse(PETER)
    for value in (b"", b"x" * 63, b"x" * 65):
        assert not verifier.fits(Signature(verifier.name, verifier.key_id, value), PETERS_TEXT)


def test_a_signing_key_shows_nothing_of_itself_in_a_diagnostic():
    seed = b"s" * 32
    assert repr(seed) not in repr(Signer("a", seed))
    assert "seed" not in repr(Signer("a", seed))


SMALL_ORDER = [
    *("00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f"),
    *("00" * 31 + "80", "01" + "00" * 30 + "80", "ec" + "ff" * 31, "ed" + "ff" * 31, "ee" + "ff" * 31),
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_of_small_order_is_refused(point):
    vkey = Verifier("a", bytes.fromhex(point)).vkey
    with pytest.raises(KeyRefused, match="small order"):
        Verifier.parse(vkey)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        EXAMPLE + "\n",
        " " + EXAMPLE,
        EXAMPLE.replace("530d903a", "530D903A"),
        EXAMPLE.replace("530d903a", "530d903b"),
        EXAMPLE.replace("/foo", "/fop"),
        EXAMPLE[:-1],
        EXAMPLE[:-2] + "A",
        EXAMPLE[:-1] + "l",
        EXAMPLE + "AAAA",
        EXAMPLE.replace("+Aeky", "+Auky"),
        EXAMPLE[len("example.com/foo") :],
        EXAMPLE.replace("example.com/foo", "two words"),
        EXAMPLE.replace("Aeky", "\u00c4eky"),
        Verifier("a", b"k" * 32, 0x02).vkey,
    ],
)
def test_what_is_not_exactly_a_key_is_refused(vkey):
    with pytest.raises(KeyRefused):
        Verifier.parse(vkey)


@pytest.mark.parametrize(
    "secret", ["", PETER, PETERS_SECRET[:-1], PETERS_SECRET.replace("c74f", "c74e"), PETERS_SECRET.lower()]
)
def test_what_is_not_exactly_a_signing_key_is_refused_without_telling_it(secret):
    with pytest.raises(KeyRefused) as refused:
        Signer.parse(secret)
    assert "AYEK" not in refused.value.message
    assert refused.value.code == "KEY_REFUSED"


@given(st.binary(max_size=40))
def test_base64_has_one_form(data):
    text = encode_base64(data)
    assert decode_base64(text) == data
    for wrong in (text + "=", text + "\n", " " + text, text + "\u00e4", text + "A"):
        assert decode_base64(wrong) is None


def test_base64_with_stray_bits_is_no_form():
    assert decode_base64("AA==") == b"\0"
    assert decode_base64("AB==") is None


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\tb", "a\x00b", "a\n"])
def test_a_name_with_a_space_a_plus_or_a_control_character_is_no_key_name(name):
    assert not is_key_name(name)


@given(names)
def test_any_other_name_is_a_key_name(name):
    assert is_key_name(name)


def test_the_two_kinds_are_those_of_the_standard():
    assert (ED25519, COSIGNATURE) == (1, 4)
