"""The Merkle tree of RFC 9162, section 2.1, over SHA-256. Pure functions on hashes.

A node is the root of a *complete* subtree: node (level, number) covers the leaves from
number * 2^level up to, not including, (number + 1) * 2^level. Such nodes never change once they are
complete, and every proof for any size is made of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Node(NamedTuple):
    """Where a complete subtree is: `2**level` leaves from `number * 2**level` on."""

    level: int
    number: int


Lookup = Callable[[Node], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours' parent (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def nodes_of(start: int, end: int) -> list[Node]:
    """The fewest complete subtrees that cover the leaves from `start` up to `end`, in order.

    O(log end) many.
    """
    found = []
    while start < end:
        aligned = (start & -start).bit_length() - 1 if start else end.bit_length()
        level = min(aligned, (end - start).bit_length() - 1)
        found.append(Node(level, start >> level))
        start += 1 << level
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring complete subtrees, each smaller than the one before it."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """The right edge of a growing tree: what is needed to append to it and to know its root.

    Args:
        size: the number of leaves so far.
        hashes: of `nodes_of(0, size)`, in that order.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._edge = list(zip(nodes_of(0, size), hashes, strict=True))

    def append(self, hashed: bytes, level: int = 0) -> list[tuple[Node, bytes]]:
        """Add a leaf, or the complete subtree of `2**level` leaves that comes next.

        Returns:
            The nodes that this completed, the added one first.

        Raises:
            ValueError: no subtree of that level can come next.
        """
        if self.size & ((1 << level) - 1):
            raise ValueError(f"A subtree of level {level} can't begin at leaf {self.size}.")
        node = Node(level, self.size >> level)
        self.size += 1 << level
        made = [(node, hashed)]
        while self._edge and self._edge[-1][0] == (node.level, node.number ^ 1):
            node, hashed = (
                Node(node.level + 1, node.number >> 1),
                node_hash(self._edge.pop()[1], hashed),
            )
            made.append((node, hashed))
        self._edge.append((node, hashed))
        return made

    @property
    def hashes(self) -> list[bytes]:
        """Of `nodes_of(0, size)`, in that order."""
        return [hashed for _, hashed in self._edge]

    def root(self) -> bytes:
        """The tree's root (RFC 9162 §2.1.1)."""
        return fold(self.hashes)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots prove leaf `index` in a tree of `size` (RFC 9162 §2.1.3.1).

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"A tree of {size} has no leaf {index}.")
    found = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """The ranges whose roots prove that the tree of `new` extends the one of `old` (§2.1.4.1).

    Empty where there is nothing to prove: `old` is 0 or equals `new`.

    Raises:
        ValueError: `old` is negative or above `new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"A tree of {new} can't extend one of {old}.")
    if old in {0, new}:
        return []
    found = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    if start:
        found.append((start, end))
    return found[::-1]


def needed(ranges: Iterable[tuple[int, int]]) -> set[Node]:
    """The nodes that the roots over those ranges are made of."""
    return {node for start, end in ranges for node in nodes_of(start, end)}


def roots(ranges: Iterable[tuple[int, int]], lookup: Lookup) -> list[bytes]:
    """The root over each of the ranges, which have to begin as those of the functions above do."""
    return [fold([lookup(node) for node in nodes_of(start, end)]) for start, end in ranges]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether the proof shows leaf hash `leaf` at `index` of the tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, hashed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            hashed = node_hash(sibling, hashed)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Whether the proof shows that the tree of `new` extends the one of `old` (§2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`, which is above 1."""
    return 1 << ((size - 1).bit_length() - 1)
