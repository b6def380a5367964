from __future__ import annotations

import uuid
from typing import Any

import pytest

from audit import merkle, notes, selectors
from audit.merkle import EMPTY_ROOT
from audit.models import Checkpoint
from audit.selectors import NoSuchSize
from audit.signing import verifier_of
from tests.audit.support import grow

SIZE = 21


@pytest.fixture
def log_id(db: None) -> uuid.UUID:
    """A log of 21 events with checkpoints of 8 and 21."""
    found = uuid.uuid4()
    grow(found, 8)
    grow(found, SIZE - 8)
    return found


class CheckpointTests:
    def test_the_newest_covers_every_sealed_event(self, log_id: uuid.UUID) -> None:
        tree = notes.read(selectors.checkpoint_of(log_id), verifier_of(log_id))
        assert (tree.size, tree.root) == (SIZE, selectors.root_of(log_id, SIZE))

    def test_any_older_size_can_be_had_kept_or_not(self, log_id: uuid.UUID) -> None:
        kept = set(Checkpoint.objects.filter(log_id=log_id).values_list("size", flat=True))
        assert kept == {8, SIZE}
        for size in range(SIZE + 1):
            tree = notes.read(selectors.checkpoint_of(log_id, size), verifier_of(log_id))
            assert (tree.size, tree.root) == (size, selectors.root_of(log_id, size))

    def test_of_a_log_without_events_is_of_size_0(self, db: None) -> None:
        log_id = uuid.uuid4()
        tree = notes.read(selectors.checkpoint_of(log_id), verifier_of(log_id))
        assert (tree.size, tree.root) == (0, EMPTY_ROOT)

    @pytest.mark.parametrize("size", [SIZE + 1, -1, 2**70])
    def test_a_size_that_never_was_is_refused(self, log_id: uuid.UUID, size: int) -> None:
        with pytest.raises(NoSuchSize, match=f"has {SIZE} events"):
            selectors.checkpoint_of(log_id, size)


class ProofTests:
    def test_every_event_is_proven_to_be_in_every_later_size(self, log_id: uuid.UUID) -> None:
        places = selectors.sealed_events(log_id, 0, SIZE)
        for size in (1, 7, 8, 13, SIZE):
            for seq in range(size):
                proof = selectors.inclusion_proof(log_id, seq, size)
                leaf = bytes(places[seq][0].leaf_hash)
                assert merkle.verify_inclusion(leaf, seq, size, proof.hashes, proof.root)

    def test_every_size_is_proven_to_follow_from_every_older_one(self, log_id: uuid.UUID) -> None:
        for new in (1, 8, 20, SIZE):
            for old in range(new + 1):
                proof = selectors.consistency_proof(log_id, old, new)
                root = selectors.root_of(log_id, old)
                assert merkle.verify_consistency(old, new, proof.hashes, root, proof.root)

    def test_without_a_size_it_is_the_newest(self, log_id: uuid.UUID) -> None:
        assert selectors.inclusion_proof(log_id, 0).size == SIZE
        assert selectors.consistency_proof(log_id, 8).size == SIZE

    @pytest.mark.parametrize(
        ("seq", "size"), [(SIZE, None), (-1, None), (8, 8), (0, 0), (0, SIZE + 1), (2**70, 2**70)]
    )
    def test_what_is_not_there_is_refused(
        self, log_id: uuid.UUID, seq: int, size: int | None
    ) -> None:
        with pytest.raises(NoSuchSize):
            selectors.inclusion_proof(log_id, seq, size)

    @pytest.mark.parametrize(("old", "new"), [(9, 8), (-1, 8), (SIZE + 1, None), (2**70, None)])
    def test_sizes_that_do_not_follow_are_refused(
        self, log_id: uuid.UUID, old: int, new: int | None
    ) -> None:
        with pytest.raises(NoSuchSize):
            selectors.consistency_proof(log_id, old, new)

    def test_takes_three_queries_whatever_the_size(
        self, log_id: uuid.UUID, django_assert_num_queries: Any
    ) -> None:
        for size in (7, SIZE):
            with django_assert_num_queries(3):
                selectors.inclusion_proof(log_id, 3, size)
            with django_assert_num_queries(3):
                selectors.consistency_proof(log_id, 3, size)
