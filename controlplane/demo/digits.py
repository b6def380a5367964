"""The data: 1,797 handwritten digits. Source, licence and checksum stand in DATA.md."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "digits.csv.gz"
SHA256 = "02633070f0eba52475fb2cfaedcf256826aa2b6c462429e2e6d0826619fc55c9"
DIMENSION = 64


@dataclass(frozen=True, slots=True)
class Digit:
    """One image: 64 pixels from 0 to 16, row by row, and the digit that was written."""

    id: str
    pixels: list[float]
    label: int


def load() -> list[Digit]:
    """All images, in the order of the file.

    Raises:
        ValueError: the file is not the one that belongs here.
    """
    packed = FILE.read_bytes()
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise ValueError(f"{FILE.name} has been changed: its checksum does not fit. Restore it.")
    digits = []
    for number, line in enumerate(gzip.decompress(packed).decode().splitlines()):
        *pixels, label = (int(field) for field in line.split(","))
        digits.append(Digit(f"digit-{number:04d}", [float(p) for p in pixels], label))
    return digits
