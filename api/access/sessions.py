"""Who is signed in at the pages: random ids in memory, each for 12 hours at most and never longer than its key. Pure but for the randomness.

A session is as good as the very key that it was opened with: one revoked, or made anew under the same name, ends it.
"""

import secrets
from hashlib import sha256

from attrs import define, field, frozen

from api.access.keys import Key, Keys

LIFETIME_S = 12 * 3600
SESSIONS_MAX = 10_000
OF_ONE_KEY_MAX = 200
"""So that who has one key cannot sign everybody else out."""
_ID_BYTES = 32


@frozen
class Session:
    """One browser that showed a key."""

    key: Key
    ends_at: float


@define
class Sessions:
    """All sessions of one process; a restart ends them. Times are in seconds, of one clock."""

    sessions_max: int = SESSIONS_MAX
    of_one_key_max: int = OF_ONE_KEY_MAX
    # By the digest of the id: how long a look-up takes tells nothing of ids.
    _by_digest: dict[bytes, Session] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._by_digest)

    def begin(self, key: Key, now: float) -> str:
        """Open a session for the holder of *key*; return its id. Above a bound the oldest one ends, of this key or of all."""
        while self._by_digest and (
            len(self) >= self.sessions_max or next(iter(self._by_digest.values())).ends_at <= now
        ):
            del self._by_digest[next(iter(self._by_digest))]
        mine = [digest for digest, session in self._by_digest.items() if session.key == key]
        if len(mine) >= self.of_one_key_max:
            del self._by_digest[mine[0]]
        session_id = secrets.token_urlsafe(_ID_BYTES)
        self._by_digest[_digest(session_id)] = Session(key, now + LIFETIME_S)
        return session_id

    def holder(self, session_id: str, keys: Keys, now: float) -> Key | None:
        """Return the key of a session; None if there is no such session (any more)."""
        session = self._by_digest.get(_digest(session_id))
        if session is None:
            return None
        if session.ends_at <= now or keys.by_name.get(session.key.name) != session.key:
            self.end(session_id)
            return None
        return session.key

    def end(self, session_id: str) -> None:
        """End a session, if there is such a one."""
        self._by_digest.pop(_digest(session_id), None)


def _digest(session_id: str) -> bytes:
    return sha256(session_id.encode(errors="replace")).digest()
