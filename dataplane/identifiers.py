"""The ids of an engine's points, kept beside the shard: reading ten of them out of its payload
would take a third of a search.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from pathlib import Path
from typing import Final, Self

FILE: Final = "identifiers"
HEADER: Final = 8


class Identifiers:
    """From keys to ids, in 16 bytes and the id's own for each.

    Keys mostly arrive in ascending order, since they grow and are never used again: those are
    appended to arrays and found by bisection. A replay, which goes by time of change, brings some
    late; they go to a dictionary until the next build. Deleted ones stay until then too, which does
    no harm. Searches read without a lock while one writer adds: nothing ever moves, and a key
    becomes visible after its id.
    """

    def __init__(self) -> None:
        self._pks = array("q")
        self._ends = array("q", [0])
        self._text = bytearray()
        self._late: dict[int, str] = {}

    def add(self, pk: int, id: str) -> None:
        """Note the id of `pk`; one that is known already keeps its own."""
        if not self._pks or pk > self._pks[-1]:
            self._text += id.encode()
            self._ends.append(len(self._text))
            self._pks.append(pk)
        elif self._position(pk) is None:
            self._late[pk] = id

    def __getitem__(self, pk: int) -> str:
        """The id of `pk`; KeyError where it was never added."""
        position = self._position(pk)
        if position is None:
            return self._late[pk]
        return self._text[self._ends[position] : self._ends[position + 1]].decode()

    def _position(self, pk: int) -> int | None:
        position = bisect_left(self._pks, pk)
        return position if position < len(self._pks) and self._pks[position] == pk else None

    def save(self, folder: Path) -> None:
        """Write all to a new file in `folder`. Keys must have been added in ascending order."""
        with (folder / FILE).open("xb") as file:
            file.write(len(self._pks).to_bytes(HEADER, "little"))
            for part in (self._pks, self._ends, self._text):
                file.write(part)

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Read what `save` wrote, and remove the file: `folder` lies in memory too."""
        found = cls()
        with (folder / FILE).open("rb") as file:
            count = int.from_bytes(file.read(HEADER), "little")
            found._pks.fromfile(file, count)
            found._ends = array("q")
            found._ends.fromfile(file, count + 1)
            found._text += file.read()
        (folder / FILE).unlink()
        return found
