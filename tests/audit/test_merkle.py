from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import merkle
from audit.merkle import EMPTY_ROOT, Frontier, Node, fold, leaf_hash, node_hash, nodes_of

SIZES = 65
LEAVES = [leaf_hash(b"%d" % number) for number in range(SIZES)]


def mth(leaves: Sequence[bytes]) -> bytes:
    """The definition of RFC 9162 §2.1.1, word for word, on leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def grown() -> dict[Node, bytes]:
    """Every complete subtree of the test's leaves."""
    frontier = Frontier()
    nodes: dict[Node, bytes] = {}
    for leaf in LEAVES:
        nodes.update(frontier.append(leaf))
    return nodes


NODES = grown()
ROOTS = [mth(LEAVES[:size]) for size in range(SIZES + 1)]


class RootTests:
    def test_published_roots(self) -> None:
        """The entries and roots that the Certificate Transparency projects test with."""
        entries = [
            *(bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")),
            bytes.fromhex("5051525354555657"),
            bytes.fromhex("606162636465666768696a6b6c6d6e6f"),
        ]
        frontier, roots = Frontier(), []
        for entry in entries:
            frontier.append(leaf_hash(entry))
            roots.append(frontier.root().hex())
        assert roots[0] == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        assert roots[1] == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        assert roots[7] == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"

    def test_of_nothing(self) -> None:
        assert Frontier().root() == EMPTY_ROOT == fold([]) == ROOTS[0]

    def test_of_every_size_is_the_definition(self) -> None:
        frontier = Frontier()
        for size in range(SIZES + 1):
            assert frontier.root() == ROOTS[size]
            assert fold([NODES[node] for node in nodes_of(0, size)]) == ROOTS[size]
            resumed = Frontier(size, [NODES[node] for node in nodes_of(0, size)])
            assert resumed.root() == ROOTS[size]
            if size < SIZES:
                assert frontier.append(LEAVES[size]) == resumed.append(LEAVES[size])

    def test_of_any_middle_follows_from_what_is_left_and_right_of_it(self) -> None:
        size = 37
        for start in range(size + 1):
            for end in range(start, size + 1):
                frontier = Frontier(start, [NODES[node] for node in nodes_of(0, start)])
                for leaf in LEAVES[start:end]:
                    frontier.append(leaf)
                for node in nodes_of(end, size):
                    frontier.append(NODES[node], node.level)
                assert frontier.root() == ROOTS[size]

    def test_a_subtree_begins_at_its_own_multiple_only(self) -> None:
        frontier = Frontier(1, [LEAVES[0]])
        with pytest.raises(ValueError, match="level 1 can't begin at leaf 1"):
            frontier.append(EMPTY_ROOT, 1)

    def test_an_edge_of_the_wrong_length_is_refused(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            Frontier(3, [LEAVES[0]])


class NodesTests:
    def test_cover_the_range_exactly_and_are_few(self) -> None:
        for end in range(SIZES + 1):
            for start in range(end + 1):
                found = nodes_of(start, end)
                covered = [
                    leaf
                    for level, index in found
                    for leaf in range(index << level, (index + 1) << level)
                ]
                assert covered == list(range(start, end))
                assert len(found) <= 2 * end.bit_length()


class InclusionTests:
    def test_every_leaf_of_every_size_is_proven_as_the_rfc_says(self) -> None:
        for size in range(1, SIZES + 1):
            for index in range(size):
                proof = merkle.roots(merkle.inclusion_ranges(index, size), NODES.__getitem__)
                assert proof == path(index, LEAVES[:size])
                assert merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])

    def test_no_proof_serves_another_leaf_place_or_size(self) -> None:
        for size in range(1, 18):
            for index in range(size):
                proof = path(index, LEAVES[:size])
                for other in range(size):
                    if other != index:
                        assert not merkle.verify_inclusion(
                            LEAVES[other], index, size, proof, ROOTS[size]
                        )
                        assert not merkle.verify_inclusion(
                            LEAVES[index], other, size, proof, ROOTS[size]
                        )
                assert not merkle.verify_inclusion(
                    LEAVES[index], index, size + 1, proof, ROOTS[size + 1]
                )

    def test_of_a_large_tree_needs_few_nodes(self) -> None:
        ranges = merkle.inclusion_ranges(123_456_789, 10**9 + 7)
        assert len(ranges) <= 30
        assert len(merkle.needed(ranges)) <= 60

    @pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
    def test_a_leaf_that_is_not_there_has_no_proof(self, index: int, size: int) -> None:
        with pytest.raises(ValueError, match="has no leaf"):
            merkle.inclusion_ranges(index, size)
        assert not merkle.verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_a_tampered_proof_is_refused(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(2, SIZES))
        index = data.draw(st.integers(0, size - 1))
        proof = path(index, LEAVES[:size])
        tampered = data.draw(tampering(proof))
        assert merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])
        assert not merkle.verify_inclusion(LEAVES[index], index, size, tampered, ROOTS[size])


def tampering(proof: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The proof with a bit flipped, a hash dropped, added or exchanged."""
    place = st.integers(0, len(proof) - 1)
    flipped = st.tuples(place, st.integers(0, 255)).map(
        lambda at: [
            (int.from_bytes(h) ^ (1 << at[1])).to_bytes(32) if number == at[0] else h
            for number, h in enumerate(proof)
        ]
    )
    dropped = place.map(lambda at: proof[:at] + proof[at + 1 :])
    added = st.tuples(st.integers(0, len(proof)), st.binary(min_size=32, max_size=32)).map(
        lambda at: [*proof[: at[0]], at[1], *proof[at[0] :]]
    )
    swapped = st.permutations(proof)
    return (flipped | dropped | added | swapped).filter(lambda made: made != proof)


class ConsistencyTests:
    def test_every_pair_of_sizes_is_proven_as_the_rfc_says(self) -> None:
        for new in range(1, SIZES + 1):
            for old in range(1, new + 1):
                proof = merkle.roots(merkle.consistency_ranges(old, new), NODES.__getitem__)
                assert proof == subproof(old, LEAVES[:new], True)
                assert merkle.verify_consistency(old, new, proof, ROOTS[old], ROOTS[new])

    def test_everything_extends_the_empty_tree(self) -> None:
        assert merkle.consistency_ranges(0, 9) == []
        assert merkle.verify_consistency(0, 9, [], EMPTY_ROOT, ROOTS[9])
        assert not merkle.verify_consistency(0, 9, [], ROOTS[1], ROOTS[9])
        assert not merkle.verify_consistency(0, 9, [ROOTS[1]], EMPTY_ROOT, ROOTS[9])

    def test_a_rewritten_past_is_refused(self) -> None:
        """For every pair of sizes up to 20, with any one event of the past changed."""
        for new in range(2, 21):
            for old in range(1, new):
                for changed in range(old):
                    leaves = list(LEAVES[:new])
                    leaves[changed] = EMPTY_ROOT
                    assert not merkle.verify_consistency(
                        old, new, subproof(old, leaves, True), ROOTS[old], mth(leaves)
                    )

    def test_no_proof_serves_other_sizes(self) -> None:
        for new in range(2, 18):
            for old in range(1, new):
                proof = subproof(old, LEAVES[:new], True)
                for other in range(1, new + 1):
                    if other != old:
                        assert not merkle.verify_consistency(
                            other, new, proof, ROOTS[other], ROOTS[new]
                        )

    @pytest.mark.parametrize(("old", "new"), [(5, 4), (-1, 4)])
    def test_a_tree_extends_no_larger_one(self, old: int, new: int) -> None:
        with pytest.raises(ValueError, match="can't extend"):
            merkle.consistency_ranges(old, new)
        assert not merkle.verify_consistency(old, new, [], ROOTS[4], ROOTS[4])

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_a_tampered_proof_is_refused(self, data: st.DataObject) -> None:
        new = data.draw(st.integers(2, SIZES))
        old = data.draw(st.integers(1, new - 1))
        proof = subproof(old, LEAVES[:new], True)
        tampered = data.draw(tampering(proof))
        assert merkle.verify_consistency(old, new, proof, ROOTS[old], ROOTS[new])
        assert not merkle.verify_consistency(old, new, tampered, ROOTS[old], ROOTS[new])


def test_leaves_and_nodes_are_never_taken_for_each_other() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)
