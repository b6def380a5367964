from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from audit.models import AuditEvent
from keys.models import AccessToken, ServiceAccount
from orgs.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ReauthenticationRequired,
)
from orgs.models import (
    CustomRole,
    Group,
    GroupMembership,
    Invitation,
    Membership,
    Organization,
    PrincipalType,
    ResourceType,
    RoleBinding,
    SecurityBaseline,
    User,
)
from orgs.permissions import Role
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import bind_role
from orgs.services.invitations import InvitedRole, create_invitation
from orgs.services.organizations import (
    create_organization,
    delete_organization,
    rename_organization,
    set_plan,
)
from projects.services import create_project
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_organization, make_service_account
from tests.orgs.racing import at_once

NOT_OWNERS = [Role.ORG_MANAGER, Role.ORG_MEMBER, Role.ORG_BILLING_ADMIN]


def make(cast: Cast, role: Role) -> None:
    """Bob gets a role on the organization."""
    if role != Role.ORG_MEMBER:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=role,
            resource_id=cast.organization.pk,
        )


class CreateOrganizationTests:
    def test_it_has_the_plan_for_new_ones(self, cast: Cast, settings: LazySettings) -> None:
        settings.TAMARACK_DEFAULT_PLAN = "Free"
        made = create_organization(actor=cast.actor(cast.alice), name="Second", owner=cast.alice)
        assert Organization.objects.get(pk=made.pk).plan == "Free"
        event = AuditEvent.objects.get(type="organization.created", organization_id=made.pk)
        assert event.detail == {"plan": "Free"}

    def test_a_service_account_makes_none(self, cast: Cast) -> None:
        account, _ = make_service_account(cast.organization)
        actor = actor_for(cast.alice)
        machine = type(actor)(
            kind="service_account", id=str(account.pk), label="robot", bindings=actor.bindings
        )
        with pytest.raises(PermissionDenied, match="of their own"):
            create_organization(actor=machine, name="Second", owner=cast.alice)


class RenameOrganizationTests:
    def test_the_owner_may_and_the_version_counts(self, cast: Cast) -> None:
        changed = rename_organization(
            actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name=" Ajax "
        )
        assert (changed.name, changed.version) == ("Ajax", 2)
        event = AuditEvent.objects.get(type="organization.updated")
        assert event.changes == {"name": {"before": "Acme", "after": "Ajax"}}
        assert event.permission == "organization:update"

    @pytest.mark.parametrize("role", NOT_OWNERS)
    def test_no_other_role_may(self, cast: Cast, role: Role) -> None:
        make(cast, role)
        with pytest.raises(PermissionDenied, match="organization:update"):
            rename_organization(
                actor=cast.actor(cast.bob), organization_id=cast.organization.pk, name="Mine"
            )

    def test_a_stranger_hears_the_same_as_of_none(self, cast: Cast) -> None:
        texts = set()
        for pk in (cast.organization.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                rename_organization(actor=cast.actor(cast.charlie), organization_id=pk, name="x")
            texts.add(refused.value.message.replace(str(pk), "?"))
        assert len(texts) == 1

    @pytest.mark.parametrize("name", ["", "  ", "x" * 513, "a\0b", "a\ud800b", "a\u202eb"])
    def test_bad_names_are_refused(self, cast: Cast, name: str) -> None:
        with pytest.raises(InvalidArgument, match="1 to 512 printable characters"):
            rename_organization(
                actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name=name
            )

    def test_the_same_name_is_no_change(self, cast: Cast) -> None:
        rename_organization(
            actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name="Acme"
        )
        assert not AuditEvent.objects.filter(type="organization.updated").exists()


def furnish(organization: Organization, owner: User) -> None:
    """One of everything that belongs to an organization alone."""
    group = Group.objects.create(organization=organization, name="Leads")
    GroupMembership.objects.create(group=group, user=owner)
    role = CustomRole.objects.create(
        organization=organization,
        name="Own",
        resource_type="organization",
        permissions=["organization:read"],
    )
    bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.GROUP, group.pk),
        role=role,
        resource_id=organization.pk,
    )
    create_invitation(
        actor=SYSTEM,
        organization_id=organization.pk,
        email="x@example.com",
        roles=[InvitedRole("OrgMember", ResourceType.ORGANIZATION)],
    )
    SecurityBaseline.objects.create(organization=organization)
    make_service_account(organization)


class DeleteOrganizationTests:
    def test_everything_in_it_goes_and_people_and_trail_stay(self, cast: Cast) -> None:
        doomed = make_organization(cast.alice, "Doomed")
        furnish(doomed, cast.alice)
        events = AuditEvent.objects.filter(organization_id=doomed.pk).count()
        delete_organization(actor=cast.actor(cast.alice), organization_id=doomed.pk)
        assert not Organization.objects.filter(pk=doomed.pk).exists()
        for model in (RoleBinding, CustomRole, Group, Invitation, Membership, ServiceAccount):
            assert not model.objects.filter(organization_id=doomed.pk).exists()
        assert not AccessToken.objects.exists()
        assert User.objects.filter(pk=cast.alice.pk).exists()
        assert AuditEvent.objects.filter(organization_id=doomed.pk).count() == events + 1
        assert Organization.objects.filter(pk=cast.organization.pk).exists()
        with pytest.raises(NotFound):
            delete_organization(actor=cast.actor(cast.alice), organization_id=doomed.pk)

    def test_its_service_account_deletes_it_and_itself(self, cast: Cast) -> None:
        doomed = make_organization(cast.alice, "Doomed")
        account, _ = make_service_account(doomed)
        alice = actor_for(cast.alice)
        machine = type(alice)(
            kind="service_account",
            id=str(account.pk),
            label="robot",
            organization_id=doomed.pk,
            bindings=alice.bindings,
        )
        delete_organization(actor=machine, organization_id=doomed.pk)
        assert not ServiceAccount.objects.filter(pk=account.pk).exists()

    def test_projects_are_412_by_number(self, cast: Cast) -> None:
        with pytest.raises(FailedPrecondition, match=r"still has 1 project\."):
            delete_organization(actor=cast.actor(cast.alice), organization_id=cast.organization.pk)
        assert Membership.objects.filter(organization=cast.organization).count() == 2
        assert RoleBinding.objects.filter(principal_id=cast.alice.pk).exists()
        assert not AuditEvent.objects.filter(type="organization.deleted").exists()

    @pytest.mark.parametrize(
        "status", sorted(set(Organization.PaymentStatus) - {Organization.PaymentStatus.ACTIVE})
    )
    def test_an_account_that_is_not_settled_is_412(
        self, cast: Cast, status: Organization.PaymentStatus
    ) -> None:
        doomed = make_organization(cast.alice)
        set_plan(actor=SYSTEM, organization_id=doomed.pk, payment_status=status)
        with pytest.raises(FailedPrecondition, match=str(status)):
            delete_organization(actor=cast.actor(cast.alice), organization_id=doomed.pk)

    @pytest.mark.parametrize("role", NOT_OWNERS)
    def test_no_other_role_may(self, cast: Cast, role: Role) -> None:
        make(cast, role)
        with pytest.raises(PermissionDenied, match="organization:delete"):
            delete_organization(actor=cast.actor(cast.bob), organization_id=cast.organization.pk)

    def test_it_needs_a_fresh_proof_of_who_asks(self, cast: Cast) -> None:
        doomed = make_organization(cast.alice)
        stale = actor_for(cast.alice, authenticated_at=None)
        with pytest.raises(ReauthenticationRequired):
            delete_organization(actor=stale, organization_id=doomed.pk)

    def test_without_its_audit_event_it_stays(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        doomed = make_organization(cast.alice)
        monkeypatch.setattr(AuditEvent, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            delete_organization(actor=SYSTEM, organization_id=doomed.pk)
        assert Organization.objects.filter(pk=doomed.pk).exists()


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_a_project_made_meanwhile_keeps_the_organization_or_is_not_made(self) -> None:
        cast = make_cast()
        for number in range(3):
            doomed = make_organization(cast.alice, f"Doomed {number}")
            actor = actor_for(cast.alice, authenticated_at=timezone.now())
            ends = at_once(
                partial(delete_organization, actor=actor, organization_id=doomed.pk),
                partial(create_project, actor=actor, organization_id=doomed.pk, name="New"),
            )
            alive = Organization.objects.filter(pk=doomed.pk).exists()
            assert ends == {"done": 1, "FailedPrecondition" if alive else "NotFound": 1}

    def test_of_many_renamings_that_saw_the_same_version_one_counts(self) -> None:
        cast = make_cast()

        def seen(version: int) -> None:
            if version != 1:
                raise FailedPrecondition("changed meanwhile")

        ends = at_once(
            *[
                lambda number=number: rename_organization(
                    actor=SYSTEM,
                    organization_id=cast.organization.pk,
                    name=f"Name {number}",
                    check=seen,
                )
                for number in range(4)
            ]
        )
        assert ends == {"done": 1, "FailedPrecondition": 3}
