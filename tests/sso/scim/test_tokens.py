"""Who may speak SCIM: tokens, the switch, the plan."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit.models import AuditEvent
from orgs.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from orgs.models import Organization
from orgs.plans import Plan
from rest import limits
from sso.models import ScimToken
from sso.scim import secrets
from sso.selectors.scim import scim_tokens_of
from sso.services.scim_tokens import create_scim_token, revoke_scim_token, set_scim
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.sso.scim.support import DOMAIN, ERROR, Directory, make_directory, new_token
from tests.sso.support import make_connection, make_domain

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(cast: Cast) -> Directory:
    return make_directory(cast.organization)


class FormTests:
    def test_has_the_published_form_and_its_own_prefix(self) -> None:
        made = secrets.generate()
        assert re.fullmatch(r"tmrk_scim_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}", made.text)
        assert secrets.parse(made.text) == made

    def test_a_wrong_checksum_is_no_token(self) -> None:
        text = secrets.generate().text
        other = "0" if text[-1] != "0" else "1"
        assert secrets.parse(text[:-1] + other) is None

    def test_its_repr_does_not_tell_it(self) -> None:
        made = secrets.generate()
        assert made.text[21:64] not in repr(made)


class TokenTests:
    def test_only_a_digest_is_stored_and_the_trail_does_not_have_it(
        self, directory: Directory
    ) -> None:
        secret = directory.token[21:64]
        row = ScimToken.objects.get()
        assert secret not in repr(row.__dict__)
        event = AuditEvent.objects.get(type="scim_token.created")
        assert secret not in repr(event.__dict__)

    def test_lasts_ninety_days_unless_it_is_said_otherwise(self, directory: Directory) -> None:
        left = ScimToken.objects.get().expires_at - timezone.now()  # type: ignore[operator]
        assert timedelta(days=89) < left <= timedelta(days=90)
        token, _ = create_scim_token(
            actor=SYSTEM, connection_id=directory.connection.pk, expires_in_days=None
        )
        assert token.expires_at is None

    @pytest.mark.parametrize("days", [0, -1, 367])
    def test_a_term_out_of_range_is_refused(self, directory: Directory, days: int) -> None:
        with pytest.raises(InvalidArgument, match="1 to 366"):
            create_scim_token(
                actor=SYSTEM, connection_id=directory.connection.pk, expires_in_days=days
            )

    def test_there_are_two_at_most_and_those_that_are_over_make_room(
        self, directory: Directory
    ) -> None:
        pk = directory.connection.pk
        new_token(pk)
        with pytest.raises(QuotaExceeded):
            new_token(pk)
        ScimToken.objects.filter(connection_id=pk).update(
            expires_at=timezone.now() - timedelta(seconds=1)
        )
        new_token(pk)
        assert ScimToken.objects.count() == 1

    def test_is_exchanged_without_a_gap(self, directory: Directory) -> None:
        old = ScimToken.objects.get()
        new = Directory(directory.connection, new_token(directory.connection.pk))
        assert directory.get("/Users").status_code == new.get("/Users").status_code == 200
        revoke_scim_token(actor=SYSTEM, connection_id=directory.connection.pk, token_id=old.pk)
        assert directory.get("/Users").status_code == 401
        assert new.get("/Users").status_code == 200

    def test_its_last_use_is_noted_to_the_minute(self, directory: Directory) -> None:
        directory.get("/Users")
        first = ScimToken.objects.get().last_used_at
        directory.get("/Users")
        assert first is not None
        assert ScimToken.objects.get().last_used_at == first
        ScimToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
        directory.get("/Users")
        assert ScimToken.objects.get().last_used_at > first  # type: ignore[operator]

    def test_only_owners_make_revoke_and_see_them(self, cast: Cast, directory: Directory) -> None:
        pk = directory.connection.pk
        token = ScimToken.objects.get()
        create_scim_token(actor=cast.actor(cast.alice), connection_id=pk)
        for person, kind in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(person)
            with pytest.raises(kind):
                create_scim_token(actor=actor, connection_id=pk)
            with pytest.raises(kind):
                revoke_scim_token(actor=actor, connection_id=pk, token_id=token.pk)
            with pytest.raises(kind):
                set_scim(actor=actor, connection_id=pk, enabled=False)
            with pytest.raises(kind):
                scim_tokens_of(actor, pk)
        assert scim_tokens_of(cast.actor(cast.alice), pk).count() == 2

    def test_another_connections_is_none_of_this_one(
        self, cast: Cast, directory: Directory
    ) -> None:
        other = make_directory(cast.other_organization, domains=("umbrella.example",))
        token = ScimToken.objects.get(connection=other.connection)
        with pytest.raises(NotFound):
            revoke_scim_token(
                actor=SYSTEM, connection_id=directory.connection.pk, token_id=token.pk
            )


class SwitchTests:
    def test_needs_a_proven_domain(self, cast: Cast) -> None:
        Organization.objects.update(plan=Plan.ENTERPRISE)
        connection = make_connection(cast.organization)
        with pytest.raises(FailedPrecondition, match="domain"):
            set_scim(actor=SYSTEM, connection_id=connection.pk, enabled=True)
        make_domain(cast.organization, DOMAIN)
        assert set_scim(actor=SYSTEM, connection_id=connection.pk, enabled=True).scim_enabled

    def test_needs_the_plan(self, cast: Cast) -> None:
        Organization.objects.update(plan=Plan.STANDARD)
        connection = make_connection(cast.organization, domains=(DOMAIN,))
        with pytest.raises(PermissionDenied, match="Enterprise plan"):
            set_scim(actor=SYSTEM, connection_id=connection.pk, enabled=True)
        with pytest.raises(PermissionDenied, match="Enterprise plan"):
            create_scim_token(actor=SYSTEM, connection_id=connection.pk)

    def test_off_revokes_the_tokens_and_leaves_the_people(self, directory: Directory) -> None:
        directory.create_user()
        set_scim(actor=SYSTEM, connection_id=directory.connection.pk, enabled=False)
        assert directory.get("/Users").status_code == 401
        assert not ScimToken.objects.exists()
        assert directory.connection.scim_users.count() == 1
        assert AuditEvent.objects.filter(type="scim_token.revoked").count() == 1


class AccessTests:
    def test_nothing_tells_why_a_token_is_refused(self, cast: Cast, directory: Directory) -> None:
        other = make_directory(cast.other_organization, domains=("umbrella.example",))
        over = Directory(directory.connection, new_token(directory.connection.pk))
        lookup = over.token[10:20]
        ScimToken.objects.filter(lookup=lookup).update(expires_at=timezone.now())
        wrong_secret = secrets.generate().text
        headers = [
            "",
            "Bearer",
            "Bearer nonsense",
            f"Basic {directory.token}",
            f"Bearer {wrong_secret}",
            f"Bearer {other.token}",
            f"Bearer {over.token}",
            f"Bearer {cast.key}",
            "Bearer \xff",
        ]
        answers = [directory.send("GET", "/Users", authorization=header) for header in headers]
        unknown = directory.client.get(
            "/scim/v2/00000000-0000-0000-0000-000000000000/Users",
            headers={"authorization": f"Bearer {directory.token}"},
        )
        for answer in (*answers, unknown):
            assert answer.status_code == 401
            assert answer.content == answers[0].content
            assert answer["WWW-Authenticate"] == 'Bearer realm="SCIM"'
            assert answer.json()["schemas"] == [ERROR]

    def test_off_or_without_the_plan_it_is_forbidden_in_scims_words(
        self, cast: Cast, directory: Directory
    ) -> None:
        directory.connection.scim_enabled = False
        directory.connection.save()
        answer = directory.get("/Users")
        assert (answer.status_code, answer.json()["status"]) == (403, "403")
        assert "switched off" in answer.json()["detail"]
        directory.connection.scim_enabled = True
        directory.connection.save()
        Organization.objects.filter(pk=cast.organization.pk).update(plan=Plan.STANDARD)
        answer = directory.get("/Users")
        assert answer.status_code == 403
        assert "plan" in answer.json()["detail"]
        assert answer.json()["schemas"] == [ERROR]

    def test_its_requests_are_counted(
        self, directory: Directory, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted = []

        def take(policy: str, name: str) -> limits.Budget:
            counted.append((policy, name))
            return limits.Budget(policy, 1, len(counted) < 2, 0, 7, 60)

        monkeypatch.setattr("sso.scim.views.take", take)
        assert directory.get("/Users").status_code == 200
        answer = directory.get("/Users")
        assert (answer.status_code, answer["Retry-After"]) == (429, "7")
        assert answer.json()["schemas"] == [ERROR]
        directory.send("GET", "/Users", authorization="Bearer nonsense")
        token = ScimToken.objects.get()
        assert counted == [("caller", f"scim:{token.pk}")] * 2 + [("address", "127.0.0.1")]

    def test_no_cache_keeps_an_answer(self, directory: Directory) -> None:
        assert directory.get("/Users")["Cache-Control"] == "no-store"
