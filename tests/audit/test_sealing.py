from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, connections, transaction

from audit import notes, selectors
from audit.canonical import canonical, parse
from audit.documents import document_of
from audit.merkle import Frontier
from audit.models import (
    INSTALLATION,
    AuditEvent,
    Checkpoint,
    Log,
    SealedEvent,
    SigningKey,
    TreeNode,
    UnsealedEvent,
)
from audit.sealing import seal_all, seal_log
from audit.signing import signing_key, verifier_of
from kms.envelope import KeyUnavailable
from tests.audit.support import grow, make_event


def check_log(log_id: uuid.UUID, size: int) -> None:
    """The log is whole: numbers, chain, tree and checkpoint belong to its events."""
    places = list(SealedEvent.objects.filter(log_id=log_id).order_by("seq"))
    assert [place.seq for place in places] == list(range(size))
    frontier, chain = Frontier(), bytes(32)
    for place in places:
        event = AuditEvent.objects.get(pk=place.event_id)
        leaf = hashlib.sha256(b"\x00" + canonical(document_of(event))).digest()
        chain = hashlib.sha256(chain + leaf).digest()
        assert (bytes(place.leaf_hash), bytes(place.chain_hash)) == (leaf, chain)
        frontier.append(leaf)
    log = Log.objects.get(pk=log_id)
    assert (log.size, bytes(log.chain_hash)) == (size, chain)
    stored = {(node.level, node.index) for node in TreeNode.objects.filter(log_id=log_id)}
    assert stored == {
        (level, index) for level in range(1, size.bit_length()) for index in range(size >> level)
    }
    newest = Checkpoint.objects.filter(log_id=log_id).order_by("-size")[0]
    tree = notes.read(newest.note, verifier_of(log_id))
    assert (tree.size, tree.root) == (size, frontier.root())
    assert bytes(newest.root) == tree.root


@pytest.mark.django_db
class SealTests:
    def test_events_get_numbers_hashes_and_a_signed_checkpoint(self) -> None:
        log_id = uuid.uuid4()
        for size in (1, 2, 5, 13):
            grow(log_id, size - selectors.size_of(log_id))
            check_log(log_id, size)

    def test_each_organization_has_a_log_of_its_own(self) -> None:
        first, second = uuid.uuid4(), uuid.uuid4()
        make_event(first)
        make_event(second)
        make_event(first)
        seal_all()
        check_log(first, 2)
        check_log(second, 1)
        assert selectors.checkpoint_of(first).startswith(f"tamarack.internal/audit/{first}\n2\n")

    def test_what_belongs_to_no_organization_is_in_the_log_of_the_installation(self) -> None:
        seal_all()
        before = selectors.size_of(INSTALLATION)
        make_event(None)
        seal_all()
        check_log(INSTALLATION, before + 1)

    def test_events_are_in_the_order_of_their_time(self) -> None:
        log_id = uuid.uuid4()
        made = grow(log_id, 6)
        assert [event.pk for _, event in selectors.sealed_events(log_id, 0, 6) if event] == [
            event.pk for event in sorted(made, key=lambda event: (event.time, event.pk))
        ]

    def test_a_batch_is_limited_and_the_rest_follows(self) -> None:
        log_id = uuid.uuid4()
        for _ in range(5):
            make_event(log_id)
        assert [seal_log(log_id, signing_key(), limit=2) for _ in range(4)] == [2, 2, 1, 0]
        check_log(log_id, 5)

    def test_without_events_nothing_is_written(self, django_assert_num_queries: Any) -> None:
        seal_all()
        with django_assert_num_queries(1):
            assert seal_all() == 0

    def test_takes_as_many_queries_in_a_long_log_as_in_a_short_one(
        self, django_assert_num_queries: Any
    ) -> None:
        log_id = uuid.uuid4()
        seal_all()
        grow(log_id, 3)
        key = signing_key()
        make_event(log_id)
        with django_assert_num_queries(12):
            seal_log(log_id, key)
        grow(log_id, 99)
        make_event(log_id)
        make_event(log_id)
        with django_assert_num_queries(12):
            seal_log(log_id, key)

    def test_the_document_survives_the_database_unchanged(self) -> None:
        event = make_event(uuid.uuid4())
        again = document_of(AuditEvent.objects.get(pk=event.pk))
        assert canonical(again) == canonical(document_of(event))
        assert canonical(parse(canonical(again).decode())) == canonical(again)
        assert again["version"] == 1

    def test_an_event_that_is_not_sealed_can_not_be_deleted(self) -> None:
        event = make_event(uuid.uuid4())
        with pytest.raises(IntegrityError), transaction.atomic():
            with connection.cursor() as cursor:
                key = AuditEvent._meta.pk.get_db_prep_value(event.pk, connection)
                cursor.execute("DELETE FROM audit_auditevent WHERE id = %s", [key])
            connection.check_constraints()


@pytest.mark.django_db
class TroubleTests:
    def test_a_damaged_log_does_not_stop_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        damaged, sound = sorted([uuid.uuid4(), uuid.uuid4()])
        grow(damaged, 2)
        TreeNode.objects.filter(log_id=damaged).delete()
        make_event(damaged)
        make_event(sound)
        seal_all()
        check_log(sound, 1)
        assert f"log {damaged} can't be sealed" in caplog.text
        assert UnsealedEvent.objects.filter(log_id=damaged).count() == 1

    def test_without_the_key_nothing_is_sealed_and_nothing_is_lost(self) -> None:
        log_id = uuid.uuid4()
        grow(log_id, 1)
        make_event(log_id)
        root: Path = settings.TAMARACK_HOME / "keys" / "root.key"
        root.rename(root.with_suffix(".away"))
        SigningKey.objects.all().delete()
        try:
            with pytest.raises(KeyUnavailable, match="root key"):
                seal_all()
        finally:
            root.with_suffix(".away").rename(root)
        assert UnsealedEvent.objects.filter(log_id=log_id).count() == 1

    def test_a_key_that_does_not_fit_its_public_key_signs_nothing(self) -> None:
        signing_key()
        SigningKey.objects.update(public_key=bytes(32))
        with pytest.raises(KeyUnavailable, match="does not belong"):
            signing_key()

    def test_a_sealer_that_dies_at_any_statement_leaves_the_log_whole(self) -> None:
        log_id = uuid.uuid4()
        grow(log_id, 3)
        make_event(log_id)
        key = signing_key()
        statements = 0
        for number in range(100):
            try:
                with connection.execute_wrapper(dies_at(number)), transaction.atomic():
                    seal_log(log_id, key)
            except Died:
                check_log(log_id, 3)
                statements += 1
            else:
                break
        assert statements > 8
        check_log(log_id, 4)


class Died(Exception):
    """The process is gone."""


def dies_at(number: int) -> Callable[..., Any]:
    """Lets that many statements through; the next one never reaches the database."""
    passed = 0

    def run(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal passed
        # What Django sends to undo a transaction stands for what the database does by itself.
        if sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            return execute(sql, params, many, context)
        passed += 1
        if passed > number:
            raise Died
        return execute(sql, params, many, context)

    return run


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_several_sealers_and_writers_at_once_make_one_log(self) -> None:
        log_id = uuid.uuid4()
        signing_key()
        errors: list[BaseException] = []
        written = threading.Event()
        start = threading.Barrier(5)

        def run(work: Callable[[], object]) -> None:
            try:
                start.wait(30)
                work()
            except Exception as error:  # noqa: BLE001  seen by the assertion below
                errors.append(error)
            finally:
                connections.close_all()

        def write() -> None:
            for _ in range(15):
                make_event(log_id)

        def seal() -> None:
            while not written.is_set():
                seal_all()

        sealers = [threading.Thread(target=run, args=(seal,)) for _ in range(3)]
        writers = [threading.Thread(target=run, args=(write,)) for _ in range(2)]
        for thread in (*sealers, *writers):
            thread.start()
        for thread in writers:
            thread.join(60)
        written.set()
        for thread in sealers:
            thread.join(60)
        assert errors == []
        seal_all()
        check_log(log_id, 30)

    def test_the_first_key_is_made_once(self) -> None:
        found: list[bytes] = []
        start = threading.Barrier(4)

        def make() -> None:
            try:
                start.wait(30)
                found.append(notes.public_bytes(signing_key()))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == 4
        assert len(set(found)) == 1
        assert SigningKey.objects.count() == 1

    def test_events_of_a_change_that_is_undone_are_never_sealed(self) -> None:
        log_id = uuid.uuid4()

        class Undo(Exception):
            pass

        with pytest.raises(Undo), transaction.atomic():
            make_event(log_id)
            raise Undo
        seal_all()
        assert selectors.size_of(log_id) == 0
