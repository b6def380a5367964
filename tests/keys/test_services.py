from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from keys.models import ApiKey
from keys.selectors.api_keys import verify_key
from keys.services.api_keys import create_api_key, revoke_api_key
from orgs import permissions
from orgs.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from orgs.models import PrincipalType, RoleBinding
from orgs.permissions import ACCESS_ROLES, Role
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project


def give(cast: Cast, role: Role) -> None:
    """Bob gets a role on the project."""
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=role,
        resource_id=cast.project.pk,
    )


class CreateApiKeyTests:
    def test_the_secret_works_at_once(self, cast: Cast) -> None:
        key, secret = create_api_key(actor=cast.actor(cast.alice), project=cast.project, name=" a ")
        verified = verify_key(secret)
        assert verified is not None
        assert verified.id == key.pk
        assert (key.name, key.created_by) == ("a", "alice@example.com")

    def test_a_project_owner_may(self, cast: Cast) -> None:
        give(cast, Role.PROJECT_OWNER)
        create_api_key(actor=cast.actor(cast.bob), project=cast.project, name="a")

    @pytest.mark.parametrize(
        "role",
        sorted({r for r in Role if not r.value.startswith("Org")} - {Role.PROJECT_OWNER}),
    )
    def test_no_other_role_may(self, cast: Cast, role: Role) -> None:
        give(cast, role)
        with pytest.raises(PermissionDenied, match="api_key:create"):
            create_api_key(actor=cast.actor(cast.bob), project=cast.project, name="a")

    def test_an_api_key_makes_no_keys(self, cast: Cast) -> None:
        key = verify_key(cast.key)
        assert key is not None
        with pytest.raises(PermissionDenied):
            create_api_key(actor=key.actor(), project=cast.project, name="a")

    def test_nobody_makes_a_key_that_may_do_more_than_they_do(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Every role that makes keys today may do all that keys can. A role that may not would meet
        # this ceiling, so one is made for the test.
        give(cast, Role.PROJECT_OWNER)
        reduced = permissions.ROLES[Role.PROJECT_OWNER] - {permissions.Permission.DATA_WRITE}
        monkeypatch.setitem(permissions.ROLES, Role.PROJECT_OWNER, reduced)
        actor = cast.actor(cast.bob)
        with pytest.raises(PermissionDenied, match="you lack data:write"):
            create_api_key(
                actor=actor, project=cast.project, name="a", roles=[Role.DATA_PLANE_EDITOR]
            )
        create_api_key(actor=actor, project=cast.project, name="a", roles=[Role.DATA_PLANE_VIEWER])

    @pytest.mark.parametrize("role", sorted(set(Role) - ACCESS_ROLES))
    def test_a_key_holds_access_roles_only(self, cast: Cast, role: Role) -> None:
        with pytest.raises(InvalidArgument, match=f"not {role.value}"):
            create_api_key(actor=SYSTEM, project=cast.project, name="a", roles=[role])

    def test_a_key_without_a_role_is_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="one or more of these roles"):
            create_api_key(actor=SYSTEM, project=cast.project, name="a", roles=[])

    @pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\0b", "a\nb", "a\u202eb"])
    def test_bad_names_are_refused(self, cast: Cast, name: str) -> None:
        with pytest.raises(InvalidArgument, match="1 to 80 printable characters"):
            create_api_key(actor=SYSTEM, project=cast.project, name=name)

    def test_an_expiry_in_the_past_is_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="past"):
            create_api_key(
                actor=SYSTEM,
                project=cast.project,
                name="a",
                limits={"expires_at": timezone.now() - timedelta(seconds=1)},
            )

    def test_the_same_id_twice_makes_one_key(self, cast: Cast) -> None:
        key_id = uuid.uuid4()
        create_api_key(actor=SYSTEM, project=cast.project, name="a", key_id=key_id)
        with pytest.raises(AlreadyExists, match=str(key_id)):
            create_api_key(actor=SYSTEM, project=cast.project, name="a", key_id=key_id)
        assert ApiKey.objects.filter(pk=key_id).count() == 1

    def test_it_is_in_the_audit_trail_without_the_secret(self, cast: Cast) -> None:
        key, secret = make_key(cast.project, name="audited")
        event = AuditEvent.objects.get(type="api_key.created", resource_id=str(key.pk))
        assert event.organization_id == cast.organization.pk
        assert event.detail["roles"] == ["ProjectEditor"]
        everything = repr(list(AuditEvent.objects.values()))
        assert secret[16:59] not in everything

    def test_without_its_audit_event_there_is_no_key(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = ApiKey.objects.count(), RoleBinding.objects.count()
        monkeypatch.setattr(AuditEvent, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            create_api_key(actor=SYSTEM, project=cast.project, name="a")
        assert (ApiKey.objects.count(), RoleBinding.objects.count()) == before


class RevokeApiKeyTests:
    def test_it_is_final_and_then_there_is_no_such_key(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        revoke_api_key(actor=cast.actor(cast.alice), key_id=key.pk)
        assert verify_key(secret) is None
        with pytest.raises(NotFound):
            revoke_api_key(actor=cast.actor(cast.alice), key_id=key.pk)
        assert AuditEvent.objects.filter(type="api_key.revoked").count() == 1

    def test_a_stranger_hears_the_same_of_a_foreign_key_as_of_none(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        absent = uuid.uuid4()
        texts = []
        for key_id in (key.pk, absent):
            with pytest.raises(NotFound) as refused:
                revoke_api_key(actor=cast.actor(cast.charlie), key_id=key_id)
            texts.append(refused.value.message.replace(str(key_id), "?"))
        assert texts[0] == texts[1]
        assert verify_key(secret) is not None

    def test_a_member_of_the_organization_is_refused(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        with pytest.raises(PermissionDenied, match="api_key:revoke"):
            revoke_api_key(actor=cast.actor(cast.bob), key_id=key.pk)
        assert verify_key(secret) is not None

    def test_a_key_of_another_project_does_not_help(self, cast: Cast) -> None:
        key, _ = make_key(make_project(cast.organization))
        actor = verify_key(cast.key)
        assert actor is not None
        with pytest.raises(NotFound):
            revoke_api_key(actor=actor.actor(), key_id=key.pk)

    def test_without_its_audit_event_the_key_goes_on(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, secret = make_key(cast.project)
        monkeypatch.setattr(AuditEvent, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            revoke_api_key(actor=SYSTEM, key_id=key.pk)
        assert verify_key(secret) is not None


def refuse(*_: Any, **__: Any) -> None:
    raise OSError("no room")
