from __future__ import annotations

import io
import uuid
from datetime import timedelta

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from audit import merkle, retention, selectors
from audit.exports import export_lines
from audit.models import (
    INSTALLATION,
    AuditEvent,
    Checkpoint,
    Log,
    SealedEvent,
    Stream,
    TreeNode,
    UnsealedEvent,
)
from audit.retention import prune, prune_all
from audit.sealing import seal_all
from audit.verification import ExportError, verify
from tests.audit.support import grow, make_event


def make_older(events: list[AuditEvent], days: int) -> None:
    """As if they had been recorded that many days ago; before they are sealed."""
    QuerySet(AuditEvent).filter(pk__in=[event.pk for event in events]).update(
        time=timezone.now() - timedelta(days=days)
    )


def grow_old(log_id: uuid.UUID, count: int, days: int) -> None:
    """That many sealed events of so many days ago."""
    make_older([make_event(log_id, f"Old {number}") for number in range(count)], days)
    seal_all()


@pytest.fixture
def log_id(db: None) -> uuid.UUID:
    """A log with 7 events of 400 days ago and 4 of today."""
    found = uuid.uuid4()
    grow_old(found, 7, days=400)
    grow(found, 4)
    return found


class PruneTests:
    def test_old_events_go_and_young_ones_stay(self, log_id: uuid.UUID) -> None:
        assert prune(log_id) == 7
        kept = AuditEvent.objects.filter(organization_id=log_id)
        assert set(kept.values_list("type", flat=True)) == {"project.updated", "audit.pruned"}
        assert kept.filter(type="project.updated").count() == 4
        assert Log.objects.get(pk=log_id).bodies_from_seq == 7

    def test_what_was_deleted_is_on_record(self, log_id: uuid.UUID) -> None:
        prune(log_id)
        (event,) = AuditEvent.objects.filter(organization_id=log_id, type="audit.pruned")
        assert event.actor_kind == "system"
        assert event.detail == {"from_seq": 0, "end_seq": 7, "days": 365}

    def test_hashes_stay_and_old_proofs_and_checkpoints_hold(self, log_id: uuid.UUID) -> None:
        places = selectors.sealed_events(log_id, 0, 11)
        nodes = TreeNode.objects.filter(log_id=log_id).count()
        old_root, old_note = selectors.root_of(log_id, 5), selectors.checkpoint_of(log_id, 5)
        prune(log_id)
        seal_all()
        assert TreeNode.objects.filter(log_id=log_id).count() >= nodes
        for seq in range(11):
            proof = selectors.inclusion_proof(log_id, seq)
            leaf = bytes(places[seq][0].leaf_hash)
            assert merkle.verify_inclusion(leaf, seq, proof.size, proof.hashes, proof.root)
        grown = selectors.consistency_proof(log_id, 5)
        assert merkle.verify_consistency(5, grown.size, grown.hashes, old_root, grown.root)
        assert selectors.checkpoint_of(log_id, 5) == old_note

    def test_an_export_says_from_which_event_on_there_are_contents(self, log_id: uuid.UUID) -> None:
        prune(log_id)
        text = "".join(export_lines(log_id)).encode()
        found = verify(io.BytesIO(text))
        assert (found.end, found.without_body) == (11, 7)
        assert b'"bodies_from_seq":7' in text

    def test_an_export_can_not_pretend_that_more_was_deleted(self, log_id: uuid.UUID) -> None:
        prune(log_id)
        lines = "".join(export_lines(log_id)).splitlines(keepends=True)
        before, _, after = lines[9].partition('"event":')
        blank = before + '"event":null,"leaf_hash"' + after.partition(',"leaf_hash"')[2]
        with pytest.raises(ExportError, match="line 10, seq 8: the record has no content"):
            verify(io.BytesIO("".join([*lines[:9], blank, *lines[10:]]).encode()))

    def test_repeating_it_deletes_nothing_more(self, log_id: uuid.UUID) -> None:
        assert [prune(log_id), prune(log_id)] == [7, 0]

    def test_old_checkpoints_go_but_never_the_newest(self, log_id: uuid.UUID) -> None:
        Checkpoint.objects.filter(log_id=log_id).update(
            created_at=timezone.now() - timedelta(days=500)
        )
        prune(log_id)
        assert list(Checkpoint.objects.filter(log_id=log_id).values_list("size", flat=True)) == [11]

    def test_events_that_are_not_sealed_stay(self, log_id: uuid.UUID) -> None:
        event = make_event(log_id)
        make_older([event], 900)
        prune(log_id)
        assert AuditEvent.objects.filter(pk=event.pk).exists()
        assert UnsealedEvent.objects.filter(pk=event.pk).exists()

    def test_events_that_a_stream_has_not_delivered_stay(self, log_id: uuid.UUID) -> None:
        """A stream that is paused too: it goes on where it stopped."""
        stream = Stream.objects.create(
            log_id=log_id, kind="webhook", config={}, next_seq=3, is_enabled=False
        )
        assert prune(log_id) == 3
        stream.delete()
        assert prune(log_id) == 4

    def test_an_event_sealed_late_keeps_those_before_it_from_a_gap(self, log_id: uuid.UUID) -> None:
        """What is deleted is always the beginning of the log."""
        grow_old(log_id, 2, days=400)
        assert prune(log_id) == 7
        assert AuditEvent.objects.filter(organization_id=log_id).count() == 4 + 2 + 1

    def test_each_log_has_its_own_days(self, log_id: uuid.UUID) -> None:
        other = uuid.uuid4()
        grow_old(other, 3, days=400)
        Log.objects.filter(pk=other).update(retention_days=500)
        assert prune_all() == 7
        assert SealedEvent.objects.filter(log_id=other).count() == 3
        assert AuditEvent.objects.filter(organization_id=other).count() == 3

    def test_the_log_of_the_installation_is_pruned_too(self, db: None) -> None:
        seal_all()
        before = AuditEvent.objects.filter(organization_id=None).count()
        event = make_event(None)
        make_older([event], 400)
        QuerySet(AuditEvent).filter(organization_id=None).update(
            time=timezone.now() - timedelta(days=400)
        )
        seal_all()
        assert prune(INSTALLATION) == before + 1

    def test_one_logs_trouble_does_not_stop_the_others(
        self, log_id: uuid.UUID, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = uuid.UUID(int=1)
        Log.objects.create(pk=broken)
        original = retention.prune

        def breaks(pk: uuid.UUID) -> int:
            if pk == broken:
                raise RuntimeError("broken")
            return original(pk)

        monkeypatch.setattr(retention, "prune", breaks)
        assert prune_all() == 7
        assert f"log {broken} can't be pruned" in caplog.text
