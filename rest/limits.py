"""How many requests a caller may send: a token bucket in Redis, which all processes share.

It keeps a script that runs wild from crowding out the others; it guards no secret. So when Redis
does not answer, requests pass uncounted, and the log says so.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 5.0
"""How long Redis is left alone after it did not answer, so that no request waits for it."""

# KEYS: the bucket. ARGV: its size, tokens that flow in per second. The clock is Redis' own.
# Answers: whether there was a token, how many are left (rounded down), seconds until the next one
# and until the bucket is full (as text: Redis cuts numbers to whole ones).
_TAKE = """
local size, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or size
local at = tonumber(kept[2]) or now
tokens = math.min(size, tokens + math.max(0, now - at) * rate)
local taken = 0
if tokens >= 1 then
  tokens = tokens - 1
  taken = 1
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens),
           'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((size - tokens) / rate * 1000) + 1000)
return {taken, math.floor(tokens), string.format('%.3f', math.max(0, 1 - tokens) / rate),
        string.format('%.3f', (size - tokens) / rate)}
"""
_paused_until = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a caller has left.

    Attributes:
        policy: what is counted: `caller` or `address`.
        quota: requests in `WINDOW_SECONDS`.
        taken: whether this request had room.
        retry_after: whole seconds until the next one has.
        full_in: whole seconds until the whole quota is there again.
    """

    policy: str
    quota: int
    taken: bool
    remaining: int
    retry_after: int
    full_in: int

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of draft-ietf-httpapi-ratelimit-headers-10."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.full_in}',
        }


def take(policy: str, name: str) -> Budget | None:
    """Count one request of `name`; None where Redis does not answer."""
    global _paused_until  # noqa: PLW0603  one pause per process
    if time.monotonic() < _paused_until:
        return None
    quota: int = settings.TAMARACK_API_RATE
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    key = f"{prefix}rate:{policy}:{name}"
    try:
        answer = _client(settings.CELERY_BROKER_URL).eval(
            _TAKE, 1, key, str(quota), str(quota / WINDOW_SECONDS)
        )
    except redis.RedisError as error:
        _paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("Requests pass uncounted: the queue does not answer (%s).", error)
        return None
    taken, remaining, wait, full = cast("tuple[int, int, bytes, bytes]", answer)
    return Budget(
        policy=policy,
        quota=quota,
        taken=bool(taken),
        remaining=int(remaining),
        retry_after=max(1, math.ceil(float(wait))),
        full_in=math.ceil(float(full)),
    )


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    """One connection pool per process. Celery's name of a socket address is not redis' own."""
    return redis.Redis.from_url(
        url.replace("redis+socket://", "unix://", 1),
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
    )
