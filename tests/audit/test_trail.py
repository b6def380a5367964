from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.actors import Actor
from orgs.models import Organization
from projects.services import create_project
from tests.cast import Cast
from tests.factories import SYSTEM

ACTOR = Actor(kind="user", id="7", label="ann@example.com", ip="192.0.2.1", request_id="request-1")


def made() -> AuditEvent:
    """One event."""
    return record(
        EventType.PROJECT_CREATED,
        actor=ACTOR,
        organization_id=uuid.uuid4(),
        resource=("project", 5, "Search"),
        detail={"a": 1},
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
        assert (event.ip, event.request_id, event.detail) == ("192.0.2.1", "request-1", {"a": 1})
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
