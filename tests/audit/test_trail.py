from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from audit.events import PUBLIC_FIELDS, REDACTED, SECRET_FIELDS, EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.actors import Actor
from orgs.models import Organization
from projects.services import create_project
from tests.cast import Cast
from tests.factories import SYSTEM

ACTOR = Actor(kind="user", id="7", label="ann@example.com", ip="192.0.2.1", request_id="request-1")
DECISION = uuid.uuid4()


def made() -> AuditEvent:
    """One event."""
    return record(
        EventType.PROJECT_CREATED,
        actor=ACTOR,
        organization_id=uuid.uuid4(),
        resource=("project", 5, "Search"),
        permission="project:create",
        decision_id=DECISION,
        detail={"count": 1},
        changes={"name": ("Old", "Search")},
    )


@pytest.mark.django_db
class RecordTests:
    def test_keeps_who_what_where_and_how(self) -> None:
        event = AuditEvent.objects.get(pk=made().pk)
        assert (event.type, event.outcome) == ("project.created", "success")
        assert (event.actor_kind, event.actor_id, event.actor_label) == (
            "user",
            "7",
            "ann@example.com",
        )
        assert (event.resource_kind, event.resource_id, event.resource_label) == (
            "project",
            "5",
            "Search",
        )
        assert (event.ip, event.request_id) == ("192.0.2.1", "request-1")
        assert (event.permission, event.decision_id) == ("project:create", DECISION)
        assert event.detail == {"count": 1}
        assert event.changes == {"name": {"before": "Old", "after": "Search"}}
        assert str(event).endswith("project.created Search")

    def test_every_event_name_is_resource_and_participle(self) -> None:
        for event in EventType:
            resource, _, action = event.value.partition(".")
            assert resource.replace("_", "").isalpha()
            assert action.replace("_", "").isalpha()
            assert len(event.value) <= 64

    def test_rows_outlive_what_they_describe(self, cast: Cast) -> None:
        before = AuditEvent.objects.filter(organization_id=cast.organization.pk).count()
        cast.project.delete()
        Organization.objects.filter(pk=cast.organization.pk).delete()
        after = AuditEvent.objects.filter(organization_id=cast.organization.pk).count()
        assert before == after > 0


def kept(detail: dict[str, object]) -> dict[str, object]:
    """What the trail holds of `detail`."""
    event = record(
        EventType.PROJECT_UPDATED,
        actor=ACTOR,
        organization_id=None,
        resource=("project", 5, "Search"),
        detail=detail,
    )
    found: dict[str, object] = AuditEvent.objects.get(pk=event.pk).detail
    return found


@pytest.mark.django_db
class PublicFieldsTests:
    def test_a_field_that_is_not_listed_is_secret(self) -> None:
        assert kept({"name": "seen", "token": "hidden"}) == {"name": "seen", "token": REDACTED}

    def test_inside_a_listed_field_too(self) -> None:
        assert kept({"changed": {"name": "seen", "token": "hidden"}}) == {
            "changed": {"name": "seen", "token": REDACTED}
        }
        assert kept({"changed": [{"token": "hidden"}]}) == {"changed": [{"token": REDACTED}]}

    def test_before_and_after_of_a_secret_are_hidden(self) -> None:
        event = record(
            EventType.AUDIT_STREAM_UPDATED,
            actor=ACTOR,
            organization_id=None,
            resource=("audit_stream", 5, "SIEM"),
            changes={"secret": ("old", "new")},
        )
        assert event.changes == {"secret": {"before": REDACTED, "after": REDACTED}}

    def test_no_field_is_both(self) -> None:
        assert not PUBLIC_FIELDS & SECRET_FIELDS


@pytest.mark.django_db
class PlainValuesTests:
    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
            (EventType.SIGNED_IN, "user.signed_in"),
            (frozenset({"b", "a"}), ["a", "b"]),
            (("x", 1, None, True), ["x", 1, None, True]),
            (2**53 - 1, 2**53 - 1),
            (2**53, "9007199254740992"),
            (0.5, "0.5"),
            (float("nan"), "nan"),
            ("a\0b\ud800", "a\ufffdb?"),
        ],
    )
    def test_any_value_is_kept_in_a_form_that_every_reader_has(
        self, value: object, stored: object
    ) -> None:
        assert kept({"name": value}) == {"name": stored}

    def test_text_that_no_column_holds_does_not_lose_the_event(self) -> None:
        event = record(
            EventType.PROJECT_UPDATED,
            actor=Actor(kind="user", id="7\0", label="x" * 900, ip="\ud800", request_id="y" * 900),
            organization_id=None,
            resource=("project", "z" * 900, "\0" * 900),
            detail={"\0": 1},
        )
        found = AuditEvent.objects.get(pk=event.pk)
        assert (found.actor_id, found.actor_label, found.ip) == ("7\ufffd", "x" * 320, "?")
        assert (found.request_id, found.resource_id) == ("y" * 64, "z" * 64)
        assert found.resource_label == "\ufffd" * 512


@pytest.mark.django_db
class AppendOnlyTests:
    def test_a_row_is_not_changed(self) -> None:
        event = made()
        event.actor_label = "somebody else"
        with pytest.raises(TypeError, match="append-only"):
            event.save()
        with pytest.raises(TypeError, match="append-only"):
            event.save(force_update=True)

    def test_a_row_is_not_replaced_by_another_of_its_id(self) -> None:
        event = made()
        impostor = AuditEvent(pk=event.pk, type="project.created", outcome="success")
        with pytest.raises(IntegrityError), transaction.atomic():
            impostor.save()
        assert AuditEvent.objects.get(pk=event.pk).actor_label == "ann@example.com"

    def test_rows_are_not_changed_in_bulk(self) -> None:
        event = made()
        with pytest.raises(TypeError, match="append-only"):
            AuditEvent.objects.update(actor_label="x")
        with pytest.raises(TypeError, match="append-only"):
            AuditEvent.objects.bulk_update([event], ["actor_label"])

    def test_rows_are_not_deleted(self) -> None:
        event = made()
        for delete in (event.delete, AuditEvent.objects.all().delete):
            with pytest.raises(TypeError, match="append-only"):
                delete()
        assert AuditEvent.objects.filter(pk=event.pk).exists()


@pytest.mark.django_db
class SameTransactionTests:
    def test_a_change_that_is_undone_leaves_no_event(self, cast: Cast) -> None:
        class Undo(Exception):
            pass

        with pytest.raises(Undo), transaction.atomic():
            create_project(actor=SYSTEM, organization_id=cast.organization.pk, name="Undone")
            raise Undo
        assert not AuditEvent.objects.filter(resource_label="Undone").exists()
