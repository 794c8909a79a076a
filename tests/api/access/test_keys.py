"""Keys: what is kept of them, who holds one, and their file beside a process that reads it."""

import asyncio
import json
import os
import resource
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.current import CurrentKeys
from api.access.keys import Key, KeyExists, Keys, KeysDamaged, KeyUnknown, is_name
from api.access.roles import Role
from api.access.store import add_key, read_keys, revoke_key
from tests.server import FEW

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(is_name)
AT = "2026-01-01T00:00:00.000000Z"


@given(
    kept=st.dictionaries(NAMES, st.tuples(st.sampled_from(Role), st.text("abcXYZ019_-", min_size=1)), max_size=5),
    token=st.text(),
)
@FEW
def test_keys_come_back_from_their_file_and_only_their_own_secrets_open_them(kept, token):
    keys = Keys({name: Key.of(name, role, secret, AT) for name, (role, secret) in kept.items()})
    again = Keys.parse(keys.data, "keys.json")
    assert again == keys
    assert again.holder(token) is None
    for name, (role, secret) in kept.items():
        held = again.holder(f"{name}.{secret}")
        assert held is not None
        assert (held.name, held.role) == (name, role)
        for wrong in (
            f"{name}.{secret}x",
            f"{name}.",
            name,
            f"{name}.{held.sha256.hex()}",
            f" {name}.{secret}",
            secret,
        ):
            assert again.holder(wrong) is None


@pytest.mark.parametrize(
    "name", ["", ".", "-a", "_a", "a b", "a\n", "é", "a/b", "anonymous", "cli", "a" * 65, "a,b", "a:b", "٣"]
)
def test_what_is_no_name_of_a_key(name):
    assert not is_name(name)


@pytest.mark.parametrize("token", ["x" * 10_000, "a.\ud800", "a." + "\0", "..", "."])
def test_nonsense_opens_nothing(token):
    assert Keys({"a": Key.of("a", Role.OPERATOR, "s", AT)}).holder(token) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format":2,"keys":[]}',
        b'{"format":1}',
        b'{"format":1,"keys":[{}]}',
        b'{"format":1,"keys":[{"name":"a","role":"king","sha256":"%b","created_at_utc":""}]}' % (b"0" * 64),
        b'{"format":1,"keys":[{"name":"a","role":"operator","sha256":"0","created_at_utc":""}]}',
        b'{"format":1,"keys":[{"name":"cli","role":"operator","sha256":"%b","created_at_utc":""}]}' % (b"0" * 64),
        b"[" * 100_000,
    ],
    ids=range(11),
)
def test_a_file_that_cannot_be_understood_is_refused_with_its_path(data):
    with pytest.raises(KeysDamaged) as raised:
        Keys.parse(data, "there/keys.json")
    assert "there/keys.json" in raised.value.message


def test_only_the_digest_of_a_secret_is_kept_and_for_its_owner_alone(tmp_path: Path):
    token = add_key(tmp_path / "data", "line-1", Role.PRODUCER)
    name, _, secret = token.rpartition(".")
    path = tmp_path / "data" / "secrets" / "keys.json"
    assert name == "line-1"
    assert len(secret) == 43  # 256 bits in base64
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (kept,) = json.loads(path.read_text())["keys"]
    assert sorted(kept) == ["created_at_utc", "name", "role", "sha256"]


def test_a_name_is_taken_until_it_is_revoked_and_a_name_of_nobody_is_told(tmp_path: Path):
    first = add_key(tmp_path, "a", Role.AUDITOR)
    with pytest.raises(KeyExists):
        add_key(tmp_path, "a", Role.OPERATOR)
    with pytest.raises(KeyUnknown):
        revoke_key(tmp_path, "b")
    assert revoke_key(tmp_path, "a") == Keys({})
    second = add_key(tmp_path, "a", Role.OPERATOR)
    keys = read_keys(tmp_path)
    assert keys is not None
    assert keys.holder(first) is None
    assert keys.holder(second) == keys.by_name["a"]


def test_revoking_where_there_are_no_keys_makes_nothing(tmp_path: Path):
    with pytest.raises(KeyUnknown):
        revoke_key(tmp_path / "data", "a")
    assert list(tmp_path.iterdir()) == []


def test_edits_at_once_lose_nothing(tmp_path: Path):
    threads = [threading.Thread(target=add_key, args=(tmp_path, f"k{n}", Role.PRODUCER)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = read_keys(tmp_path)
    assert keys is not None
    assert sorted(keys.by_name) == [f"k{n}" for n in range(8)]


def test_every_look_sees_what_was_done_just_before_it(tmp_path: Path):
    current = CurrentKeys(tmp_path)
    assert current.now() is None
    for round_ in range(10):
        token = add_key(tmp_path, f"k{round_}", Role.PRODUCER)
        assert current.now().holder(token)
        revoke_key(tmp_path, f"k{round_}")
        assert current.now().holder(token) is None


async def test_a_turn_of_the_event_loop_looks_once_and_the_next_one_sees_what_was_done_before_it(tmp_path: Path):
    current = CurrentKeys(tmp_path)
    assert current.of_this_turn() is None
    for round_ in range(10):
        before = current.of_this_turn()
        token = add_key(tmp_path, f"k{round_}", Role.PRODUCER)
        assert current.of_this_turn() is before
        await asyncio.sleep(0)
        assert current.of_this_turn().holder(token)


def test_a_change_within_one_tick_of_the_file_systems_clock_is_seen(tmp_path: Path):
    add_key(tmp_path, "a", Role.AUDITOR)
    path = tmp_path / "secrets" / "keys.json"
    for _ in range(50):
        tick = time.time_ns()
        os.utime(path, ns=(tick, tick))
        current = CurrentKeys(tmp_path)
        if time.time_ns() - tick > 50_000_000:
            continue  # too slow to have been within one tick
        path.write_text(path.read_text().replace('"a"', '"b"'))
        os.utime(path, ns=(tick, tick))
        assert list(current.now().by_name) == ["b"]
        return
    pytest.skip("this machine is too slow for two changes within a tick")


def test_a_file_that_is_settled_is_not_read_again(tmp_path: Path):
    add_key(tmp_path, "a", Role.AUDITOR)
    path = tmp_path / "secrets" / "keys.json"
    os.utime(path, (1, 1))
    current = CurrentKeys(tmp_path)
    assert current.now() is current.now()


def test_a_file_that_could_not_be_read_once_is_read_again_though_it_looks_the_same(tmp_path: Path):
    add_key(tmp_path, "a", Role.AUDITOR)
    current = CurrentKeys(tmp_path)
    token = add_key(tmp_path, "b", Role.AUDITOR)
    os.utime(tmp_path / "secrets" / "keys.json", (1, 1))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))  # no file can be opened, as with one of another user
    try:
        found = current.now()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == Keys({})
    assert current.now().holder(token)


@pytest.mark.parametrize("harm", ["last key revoked", "file gone", "folder gone", "file damaged", "file unreadable"])
def test_whoever_asked_for_keys_never_opens_up_by_itself(tmp_path: Path, harm: str):
    token = add_key(tmp_path, "a", Role.OPERATOR)
    current = CurrentKeys(tmp_path)
    assert current.now().holder(token)
    path = tmp_path / "secrets" / "keys.json"
    if harm == "last key revoked":
        revoke_key(tmp_path, "a")
    elif harm == "file damaged":
        path.write_text("{")
    elif harm == "file unreadable":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()
        if harm == "folder gone":
            (path.parent / "keys.lock").unlink()
            path.parent.rmdir()
    for _ in range(2):
        assert current.now() == Keys({})
    if harm in ("file gone", "last key revoked"):
        again = add_key(tmp_path, "a", Role.OPERATOR)
        assert current.now().holder(token) is None
        assert current.now().holder(again)


def test_the_last_key_revoked_still_asks_for_one_after_a_restart(tmp_path: Path):
    add_key(tmp_path, "a", Role.OPERATOR)
    revoke_key(tmp_path, "a")
    assert CurrentKeys(tmp_path).now() == Keys({})
