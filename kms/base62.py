"""Numbers as text in 62 digits, and the checksum that our secrets end in.

The checksum (CRC32) lets a scanner tell a real secret from a look-alike without asking anybody.
"""

from __future__ import annotations

import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_LENGTH = 43
"""Digits of 256 bits."""
CHECKSUM_LENGTH = 6


def base62(number: int, length: int) -> str:
    """The number as `length` digits, the highest first."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def checksum(body: str) -> str:
    """The checksum that follows `body`, which is ASCII."""
    return base62(zlib.crc32(body.encode("ascii")), CHECKSUM_LENGTH)
