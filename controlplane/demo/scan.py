"""Looks for planted plaintext in every file that the platform wrote."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER = "ZQX-PLANTED-MARKER-7731"
"""Planted as a vector's id and in its metadata."""
PATTERN = [0.123456789, 7.654321, 3.1415926, 2.7182818, 1.6180339, 9.8696044, 0.5772156, 4.6692016]
"""Planted as the first values of its vector; stored as float32 they make 32 unmistakable bytes."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan read and where it found the plaintext."""

    files: int
    bytes: int
    hits: list[str]


def needles() -> tuple[bytes, ...]:
    """The byte strings that must not be found."""
    return (MARKER.encode(), MARKER.encode("utf-16-le"), struct.pack("<8f", *PATTERN))


def scan(*folders: Path) -> ScanResult:
    """Read every regular file below the folders to its end."""
    files, size, hits = 0, 0, []
    for path in _files(folders):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # a temporary file that went while we looked
        files, size = files + 1, size + len(content)
        if any(needle in content for needle in needles()):
            hits.append(str(path))
    return ScanResult(files, size, hits)


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path
