"""If the audit row can't be written, the change does not happen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, transaction

from audit.events import EventType
from audit.models import AuditEvent, UnsealedEvent
from audit.services import record
from keys.models import ApiKey
from keys.services.api_keys import create_api_key
from projects.models import Project
from projects.services import create_project
from tests.audit.support import ACTOR
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM
from tests.pages import Browser

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast() -> Cast:
    """Everybody, in rows that are committed."""
    return make_cast()


def rename(table: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {name}")


@pytest.fixture(params=["audit_auditevent", "audit_unsealedevent"])
def closed_trail(cast: Cast, request: pytest.FixtureRequest) -> Iterator[str]:
    """One of the two tables that an event is written to is gone for the database."""
    rename(request.param, f"{request.param}_away")
    yield f"{request.param}_away"
    rename(f"{request.param}_away", request.param)


class ServiceTests:
    def test_a_project_is_not_created(self, cast: Cast, closed_trail: str) -> None:
        with pytest.raises(DatabaseError):
            create_project(
                actor=SYSTEM, organization_id=cast.organization.pk, name="Off the record"
            )
        assert not Project.objects.filter(name="Off the record").exists()

    def test_a_key_is_not_created(self, cast: Cast, closed_trail: str) -> None:
        before = ApiKey.objects.count()
        with pytest.raises(DatabaseError):
            create_api_key(actor=SYSTEM, project=cast.project, name="Off the record")
        assert ApiKey.objects.count() == before

    def test_not_even_where_somebody_catches_the_error(self, cast: Cast, closed_trail: str) -> None:
        with transaction.atomic():
            Project.objects.filter(pk=cast.project.pk).update(name="Off the record")
            try:
                record(
                    EventType.PROJECT_UPDATED,
                    actor=ACTOR,
                    organization_id=cast.organization.pk,
                    resource=("project", cast.project.pk, "Off the record"),
                )
            except DatabaseError:
                caught = True
        assert caught
        cast.project.refresh_from_db()
        assert cast.project.name == "Search"


class SignInTests:
    def test_nobody_comes_in(self, cast: Cast, closed_trail: str) -> None:
        browser = Browser(raise_request_exception=False)
        answer = browser.sign_in("alice@example.com")
        assert answer.status_code == 500
        assert browser.get("/").status_code == 302
        assert browser.get("/")["Location"].startswith("/accounts/login/")
        assert not any(
            session.get_decoded().get("_auth_user_id") for session in Session.objects.all()
        )

    def test_with_the_trail_back_the_same_person_comes_in(self, cast: Cast) -> None:
        browser = Browser()
        assert browser.sign_in("alice@example.com").status_code == 302
        event = AuditEvent.objects.get(type="user.signed_in", organization_id=cast.organization.pk)
        assert UnsealedEvent.objects.filter(pk=event.pk).exists()
