"""Claims of streams as keys of Redis that expire."""

from __future__ import annotations

from typing import Any

_MEMBERS = """
local now = redis.call('TIME')
local millis = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', millis)
redis.call('ZADD', KEYS[1], millis + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""

_KEEP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"

_GIVE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisClaims:
    """See `Claims`. Time is the server's alone.

    Args:
        client: A client that returns bytes.
        place: What the keys begin with, one for each group and URL.
        me: This process.
        lease: Seconds for which a claim lasts.
    """

    def __init__(self, client: Any, place: str, me: str, lease: float) -> None:
        self._client = client
        self._place = place
        self._me = me
        self._millis = max(int(lease * 1000), 1)

    def members(self) -> list[str]:
        found = self._client.eval(_MEMBERS, 1, f"{self._place}:members", self._me, self._millis)
        return sorted(name.decode() for name in found)

    def take(self, partition: str) -> bool:
        return bool(self._client.set(self._key(partition), self._me, nx=True, px=self._millis))

    def keep(self, partition: str) -> bool:
        return bool(self._client.eval(_KEEP, 1, self._key(partition), self._me, self._millis))

    def give(self, partition: str) -> None:
        self._client.eval(_GIVE, 1, self._key(partition), self._me)

    def leave(self) -> None:
        self._client.zrem(f"{self._place}:members", self._me)

    def _key(self, partition: str) -> str:
        return f"{self._place}:claim:{partition}"
