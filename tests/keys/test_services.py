from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from audit.models import AuditEvent
from keys.models import ApiKey
from keys.selectors.api_keys import key_roles, verify_key
from keys.services.api_keys import (
    create_api_key,
    disable_api_key,
    enable_api_key,
    revoke_api_key,
    update_api_key,
)
from keys.services.limits import Limits
from keys.services.rotation import rotate_api_key
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PaymentRequired,
    PermissionDenied,
    QuotaExceeded,
)
from orgs.models import CustomRole, Organization, PrincipalType, ResourceType, RoleBinding
from orgs.permissions import ACCESS_ROLES, Permission, Role
from orgs.plans import Plan
from orgs.services.bindings import bind_role, grant_role
from projects.models import Project
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


def on_plan(cast: Cast, plan: Plan) -> None:
    """The organization has this plan."""
    Organization.objects.filter(pk=cast.organization.pk).update(plan=plan)


def custom_role_of(cast: Cast, *permissions: Permission) -> None:
    """Bob gets exactly these permissions on the project, by a role of the organization's own."""
    role = CustomRole.objects.create(
        organization=cast.organization,
        name="some",
        resource_type=ResourceType.PROJECT,
        permissions=[permission.value for permission in permissions],
    )
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

    def test_nobody_makes_a_key_that_may_do_more_than_they_do(self, cast: Cast) -> None:
        custom_role_of(cast, Permission.API_KEY_CREATE, Permission.DATA_READ)
        actor = cast.actor(cast.bob)
        with pytest.raises(PermissionDenied, match="you lack data:write"):
            create_api_key(
                actor=actor, project=cast.project, name="a", roles=[Role.DATA_PLANE_EDITOR]
            )
        create_api_key(actor=actor, project=cast.project, name="a", roles=[Role.DATA_PLANE_VIEWER])

    def test_other_roles_are_not_part_of_every_plan(self, cast: Cast) -> None:
        on_plan(cast, Plan.FREE)
        with pytest.raises(PermissionDenied, match="Standard plan; this organization has Free"):
            create_api_key(
                actor=SYSTEM, project=cast.project, name="a", roles=[Role.PROJECT_VIEWER]
            )
        create_api_key(actor=SYSTEM, project=cast.project, name="a")

    def test_a_full_quota_is_403_and_a_revoked_key_makes_room(self, cast: Cast) -> None:
        Project.objects.filter(pk=cast.project.pk).update(max_api_keys=2)
        key, _ = create_api_key(actor=SYSTEM, project=cast.project, name="second")
        with pytest.raises(QuotaExceeded, match="max_api_keys allows 2"):
            create_api_key(actor=SYSTEM, project=cast.project, name="third")
        revoke_api_key(actor=SYSTEM, key_id=key.pk)
        create_api_key(actor=SYSTEM, project=cast.project, name="third")

    def test_an_organization_that_owes_money_gets_402(self, cast: Cast) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(payment_status="PastDue")
        with pytest.raises(PaymentRequired):
            create_api_key(actor=SYSTEM, project=cast.project, name="a")

    def test_an_archived_project_gets_no_keys(self, cast: Cast) -> None:
        Project.objects.filter(pk=cast.project.pk).update(archived_at=timezone.now())
        with pytest.raises(FailedPrecondition, match="archived"):
            create_api_key(actor=SYSTEM, project=cast.project, name="a")

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

    def test_its_roles_go_with_it_and_none_can_be_given_any_more(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        revoke_api_key(actor=SYSTEM, key_id=key.pk)
        assert not RoleBinding.objects.filter(principal_id=key.pk).exists()
        with pytest.raises(NotFound):
            grant_role(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                principal=(PrincipalType.API_KEY, key.pk),
                role=Role.PROJECT_VIEWER,
                resource=(ResourceType.PROJECT, cast.project.pk),
            )

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


class UpdateApiKeyTests:
    def test_what_is_given_changes_and_the_rest_stays(self, cast: Cast) -> None:
        key, secret = make_key(cast.project, roles=[Role.DATA_PLANE_VIEWER], name="old")
        changed = update_api_key(
            actor=cast.actor(cast.alice),
            key_id=key.pk,
            name=" new ",
            limits={"access": "read_only", "allowed_ips": ["192.0.2.1"]},
        )
        assert (changed.name, changed.access, changed.version) == ("new", "read_only", 2)
        verified = verify_key(secret)
        assert verified is not None
        assert verified.grants == {"r"}
        assert verified.allowed_ips == ("192.0.2.1/32",)

    def test_roles_take_the_place_of_all(self, cast: Cast) -> None:
        key, secret = make_key(
            cast.project, roles=[Role.DATA_PLANE_VIEWER, Role.CONTROL_PLANE_VIEWER]
        )
        roles = [Role.DATA_PLANE_EDITOR, Role.CONTROL_PLANE_VIEWER]
        update_api_key(actor=SYSTEM, key_id=key.pk, roles=roles)
        assert key_roles([key])[key.pk] == ["ControlPlaneViewer", "DataPlaneEditor"]
        verified = verify_key(secret)
        assert verified is not None
        assert verified.grants == {"r", "w"}
        events = AuditEvent.objects.filter(
            type="role_binding.deleted", detail__principal_id=str(key.pk)
        )
        assert [event.resource_label for event in events] == ["DataPlaneViewer"]

    def test_a_role_whose_time_is_over_is_given_anew(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        RoleBinding.objects.filter(principal_id=key.pk).update(expires_at=timezone.now())
        update_api_key(actor=SYSTEM, key_id=key.pk, roles=[Role.PROJECT_EDITOR])
        assert key_roles([key])[key.pk] == ["ProjectEditor"]

    def test_nothing_changed_is_no_new_version_and_no_event(self, cast: Cast) -> None:
        key, _ = make_key(cast.project, name="same")
        limits: Limits = {"access": "read_write", "index_ids": None, "expires_at": None}
        update_api_key(
            actor=SYSTEM, key_id=key.pk, name="same", roles=[Role.PROJECT_EDITOR], limits=limits
        )
        key.refresh_from_db()
        assert key.version == 1
        assert not AuditEvent.objects.filter(type="api_key.updated").exists()

    @pytest.mark.parametrize(
        "roles", [[], [Role.PROJECT_OWNER], [Role.ORG_MEMBER, Role.PROJECT_EDITOR]]
    )
    def test_roles_that_no_key_may_hold_are_refused(self, cast: Cast, roles: list[Role]) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(InvalidArgument, match="one or more of these roles"):
            update_api_key(actor=SYSTEM, key_id=key.pk, roles=roles)

    def test_other_roles_are_not_part_of_every_plan(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        on_plan(cast, Plan.FREE)
        with pytest.raises(PermissionDenied, match="Standard"):
            update_api_key(actor=SYSTEM, key_id=key.pk, roles=[Role.DATA_PLANE_VIEWER])
        update_api_key(actor=SYSTEM, key_id=key.pk, name="renamed")

    def test_nobody_widens_a_key_beyond_what_they_may_do(self, cast: Cast) -> None:
        custom_role_of(cast, Permission.API_KEY_UPDATE, Permission.DATA_READ)
        key, _ = create_api_key(
            actor=SYSTEM,
            project=cast.project,
            name="a",
            roles=[Role.DATA_PLANE_EDITOR],
            limits={"access": "read_only"},
        )
        actor = cast.actor(cast.bob)
        with pytest.raises(PermissionDenied, match="you lack data:write"):
            update_api_key(actor=actor, key_id=key.pk, limits={"access": "read_write"})
        with pytest.raises(PermissionDenied, match="you lack"):
            update_api_key(actor=actor, key_id=key.pk, roles=[Role.PROJECT_EDITOR])
        update_api_key(actor=actor, key_id=key.pk, name="renamed")
        key.refresh_from_db()
        assert (key.name, key.access) == ("renamed", "read_only")

    def test_another_version_is_412(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)

        def changed(version: int) -> None:
            raise FailedPrecondition(f"it is at version {version}")

        with pytest.raises(FailedPrecondition, match="version 1"):
            update_api_key(actor=SYSTEM, key_id=key.pk, name="b", check=changed)

    def test_before_and_after_are_in_the_audit_trail(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        until = timezone.now() + timedelta(days=1)
        update_api_key(actor=SYSTEM, key_id=key.pk, limits={"expires_at": until})
        event = AuditEvent.objects.get(type="api_key.updated")
        assert event.changes == {"expires_at": {"before": None, "after": until.isoformat()}}

    def test_a_stranger_gets_404_and_a_member_403(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(NotFound, match=f"There is no API key {key.pk}"):
            update_api_key(actor=cast.actor(cast.charlie), key_id=key.pk, name="b")
        with pytest.raises(PermissionDenied, match="api_key:update"):
            update_api_key(actor=cast.actor(cast.bob), key_id=key.pk, name="b")

    def test_a_revoked_key_is_not_found(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        revoke_api_key(actor=SYSTEM, key_id=key.pk)
        for change in (update_api_key, disable_api_key, enable_api_key):
            with pytest.raises(NotFound):
                change(actor=SYSTEM, key_id=key.pk)


class SwitchTests:
    def test_off_and_on_again(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        alice = cast.actor(cast.alice)
        off = disable_api_key(actor=alice, key_id=key.pk, reason="Odd traffic")
        assert off.disabled_reason == "Odd traffic"
        assert verify_key(secret) is None
        again = disable_api_key(actor=alice, key_id=key.pk, reason="Another")
        assert (again.disabled_reason, again.version) == ("Odd traffic", off.version)
        enable_api_key(actor=alice, key_id=key.pk, reason="All clear")
        assert verify_key(secret) is not None
        enable_api_key(actor=alice, key_id=key.pk)
        kinds = ("api_key.disabled", "api_key.enabled")
        events = AuditEvent.objects.filter(type__in=kinds).order_by("time")
        assert [event.detail["reason"] for event in events] == ["Odd traffic", "All clear"]

    def test_nobody_revives_a_key_that_may_do_more_than_they(self, cast: Cast) -> None:
        custom_role_of(cast, Permission.API_KEY_UPDATE, Permission.API_KEY_REVOKE)
        key, secret = make_key(cast.project)
        disable_api_key(actor=cast.actor(cast.bob), key_id=key.pk)
        with pytest.raises(PermissionDenied, match="you lack"):
            enable_api_key(actor=cast.actor(cast.bob), key_id=key.pk)
        assert verify_key(secret) is None

    @pytest.mark.parametrize("reason", ["x" * 501, "a\0b", "a\nb"])
    def test_bad_reasons_are_refused(self, cast: Cast, reason: str) -> None:
        key, _ = make_key(cast.project)
        with pytest.raises(InvalidArgument, match="reason"):
            disable_api_key(actor=SYSTEM, key_id=key.pk, reason=reason)

    def test_a_member_gets_403(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        for switch in (disable_api_key, enable_api_key):
            with pytest.raises(PermissionDenied):
                switch(actor=cast.actor(cast.bob), key_id=key.pk)


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_the_last_place_in_the_quota_is_taken_once(self) -> None:
        project = make_project()
        Project.objects.filter(pk=project.pk).update(max_api_keys=3)
        make_key(project)
        start, results = threading.Barrier(5), []

        def work() -> None:
            try:
                start.wait()
                try:
                    make_key(project)
                    results.append("made")
                except QuotaExceeded:
                    results.append("full")
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["full"] * 3 + ["made"] * 2
        assert ApiKey.objects.filter(project=project).count() == 3

    def test_rotations_at_once_leave_two_secrets_that_work(self) -> None:
        key, first = make_key()
        start, texts = threading.Barrier(4), []

        def work() -> None:
            try:
                start.wait()
                texts.append(rotate_api_key(actor=SYSTEM, key_id=key.pk)[1])
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(texts) == 4
        assert sum(verify_key(text) is not None for text in texts) == 2
        assert verify_key(first) is None


def refuse(*_: Any, **__: Any) -> None:
    raise OSError("no room")
