from __future__ import annotations

from typing import Any

import pytest

from audit.models import AuditEvent
from orgs.errors import AlreadyExists, InvalidArgument, PermissionDenied
from orgs.models import Membership, Organization, User
from orgs.selectors.organizations import members_of, organizations_visible_to
from orgs.services.organizations import create_organization
from orgs.services.people import change_password, create_user
from tests.cast import Cast
from tests.factories import PASSWORD, SYSTEM, make_user


@pytest.mark.django_db
class CreateUserTests:
    def test_the_password_is_stored_hashed(self) -> None:
        user = make_user("ann@example.com")
        assert user.check_password(PASSWORD)
        assert PASSWORD not in user.password

    def test_only_the_platform_makes_people(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            create_user(actor=cast.actor(cast.alice), email="x@example.com", password=PASSWORD)

    @pytest.mark.parametrize(
        "email", ["", "ann", "ann@", "@example.com", "a b@example.com", "a\0@b.c"]
    )
    def test_something_that_is_no_address_is_named(self, email: str) -> None:
        with pytest.raises(InvalidArgument, match="is no e-mail address"):
            create_user(actor=SYSTEM, email=email, password=PASSWORD)

    @pytest.mark.parametrize(
        "password", ["", "short", "elevenchars", "password1234", "ann@example.com"]
    )
    def test_weak_passwords_are_refused_with_the_rule(self, password: str) -> None:
        with pytest.raises(InvalidArgument, match="This password can't be used"):
            create_user(actor=SYSTEM, email="ann@example.com", password=password)

    def test_a_taken_address_is_named(self) -> None:
        make_user("ann@example.com")
        with pytest.raises(AlreadyExists, match="ann@example"):
            create_user(actor=SYSTEM, email="Ann@Example.COM", password=PASSWORD)
        assert User.objects.count() == 1


@pytest.mark.django_db
class ChangePasswordTests:
    def test_people_change_their_own_only(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            change_password(
                actor=cast.actor(cast.alice), user=cast.bob, password="another good passphrase"
            )
        cast.bob.refresh_from_db()
        assert cast.bob.check_password(PASSWORD)

    def test_it_is_in_the_trail_of_each_organization_without_the_password(self, cast: Cast) -> None:
        change_password(actor=SYSTEM, user=cast.alice, password="another good passphrase")
        event = AuditEvent.objects.get(type="user.password_changed")
        assert event.organization_id == cast.organization.pk
        assert "passphrase" not in repr(AuditEvent.objects.filter(pk=event.pk).values().get())


@pytest.mark.django_db
class CreateOrganizationTests:
    def test_its_owner_sees_it(self, cast: Cast) -> None:
        assert list(organizations_visible_to(cast.actor(cast.alice))) == [cast.organization]
        members = members_of(cast.organization)
        assert [(m.user.email, m.roles) for m in members] == [
            ("alice@example.com", ["OrgOwner"]),
            ("bob@example.com", ["OrgMember"]),
        ]

    def test_an_owner_makes_another_for_themselves_not_for_others(self, cast: Cast) -> None:
        actor = cast.actor(cast.alice)
        create_organization(actor=actor, name="Alice's", owner=cast.alice)
        with pytest.raises(PermissionDenied, match="of their own"):
            create_organization(actor=actor, name="Bob's", owner=cast.bob)

    def test_who_owns_none_makes_none(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="operator"):
            create_organization(actor=cast.actor(cast.bob), name="Bob's", owner=cast.bob)
        assert Organization.objects.count() == 2

    @pytest.mark.parametrize("name", ["", " \t", "x" * 513, "a\0b", "a\x1bb"])
    def test_bad_names_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidArgument, match="1 to 512 printable characters"):
            create_organization(actor=SYSTEM, name=name, owner=make_user())

    def test_without_its_audit_events_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        owner = make_user()
        saved = AuditEvent.save

        def save(self: AuditEvent, *args: Any, **kwargs: Any) -> None:
            if self.type == "role_binding.created":
                raise OSError("no room")
            saved(self, *args, **kwargs)

        monkeypatch.setattr(AuditEvent, "save", save)
        with pytest.raises(OSError, match="no room"):
            create_organization(actor=SYSTEM, name="Half", owner=owner)
        assert not Organization.objects.filter(name="Half").exists()
        assert not Membership.objects.filter(user=owner).exists()
        assert not AuditEvent.objects.filter(resource_label="Half").exists()
