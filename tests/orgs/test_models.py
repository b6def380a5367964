from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from orgs.baseline import Facts
from orgs.models import RoleBinding, User
from orgs.permissions import ACCESS_ROLES, ORGANIZATION_ROLES, Role
from orgs.selectors.bindings import actor_for
from tests.cast import Cast
from tests.factories import make_organization, make_user


@pytest.mark.django_db
class UserTests:
    @pytest.mark.parametrize("typed", ["Ann@Example.com", "ANN@EXAMPLE.COM", "ann@example.com"])
    def test_an_address_belongs_to_one_person_however_it_is_typed(self, typed: str) -> None:
        make_user("ann@example.com")
        with pytest.raises(IntegrityError), transaction.atomic():
            User.objects.create_user(typed, "x")

    def test_the_database_refuses_an_address_in_capitals(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            User(email="Ann@example.com").save()


def binding(cast: Cast, **fields: object) -> RoleBinding:
    """A binding of Bob's on the organization, changed by `fields`."""
    return RoleBinding(
        **{
            "organization": cast.organization,
            "principal_type": "user",
            "principal_id": cast.bob.pk,
            "resource_type": "organization",
            "resource_id": cast.organization.pk,
            "role": "OrgManager",
            "granted_by": "tests",
            **fields,
        }
    )


class RoleBindingTests:
    def test_it_is_never_changed(self, cast: Cast) -> None:
        row = RoleBinding.objects.filter(principal_id=cast.bob.pk).get()
        row.role = Role.ORG_OWNER
        with pytest.raises(TypeError, match="never changed"):
            row.save()

    def test_the_same_one_twice_is_refused(self, cast: Cast) -> None:
        binding(cast).save()
        with pytest.raises(IntegrityError), transaction.atomic():
            binding(cast).save()

    @pytest.mark.parametrize("role", sorted(set(Role) - ORGANIZATION_ROLES))
    def test_a_project_role_on_an_organization_is_refused(self, cast: Cast, role: Role) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            binding(cast, role=role.value).save()

    @pytest.mark.parametrize("role", sorted(ORGANIZATION_ROLES))
    def test_an_organization_role_on_a_project_is_refused(self, cast: Cast, role: Role) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            binding(
                cast, role=role.value, resource_type="project", resource_id=cast.project.pk
            ).save()

    def test_an_organization_role_on_another_organization_is_refused(self, cast: Cast) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            binding(cast, resource_id=cast.other_organization.pk).save()

    @pytest.mark.parametrize("role", sorted(set(Role) - ORGANIZATION_ROLES - ACCESS_ROLES))
    def test_a_key_with_a_membership_role_is_refused(self, cast: Cast, role: Role) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            binding(
                cast,
                principal_type="api_key",
                principal_id=uuid.uuid4(),
                role=role.value,
                resource_type="project",
                resource_id=cast.project.pk,
            ).save()

    def test_it_counts_from_its_start_to_its_end(self, cast: Cast) -> None:
        now, hour = timezone.now(), timedelta(hours=1)
        for role, start, end in [
            ("OrgManager", None, now - hour),
            ("OrgBillingAdmin", now + hour, None),
            ("OrgOwner", now - hour, now + hour),
        ]:
            binding(cast, role=role, not_before=start, expires_at=end).save()
        roles = {found.role for found in actor_for(cast.bob).bindings}
        assert roles == {"OrgMember", "OrgOwner"}


@pytest.mark.django_db
class ActorTests:
    def test_a_person_brings_the_bindings_of_all_their_organizations(self) -> None:
        user = make_user()
        organizations = {make_organization(user).pk for _ in range(2)}
        actor = actor_for(user, facts=Facts(ip="192.0.2.1"), request_id="r-1")
        assert {b.organization_id for b in actor.bindings} == organizations
        assert (actor.organization_id, actor.ip, actor.request_id) == (None, "192.0.2.1", "r-1")
