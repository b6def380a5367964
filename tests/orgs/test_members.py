"""Leaving, being removed, and handing an organization over."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ReauthenticationRequired,
)
from orgs.models import (
    Group,
    GroupMembership,
    Membership,
    OutgoingMail,
    OwnershipTransfer,
    PrincipalType,
    RoleBinding,
    User,
)
from orgs.permissions import Role
from orgs.selectors.bindings import actor_for
from orgs.selectors.owners import owners_of
from orgs.services.bindings import bind_role
from orgs.services.members import leave_organization, remove_member
from orgs.services.transfers import (
    accept_ownership,
    cancel_offer,
    decline_ownership,
    offer_ownership,
)
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_member
from tests.orgs.racing import at_once
from tests.pages import Browser


def give(cast: Cast, role: Role, user: User | None = None, **more: object) -> RoleBinding:
    """Bob, or somebody else, gets a role on the organization or on its project."""
    on_organization = role.value.startswith("Org")
    return bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, (user or cast.bob).pk),
        role=role,
        resource_id=cast.organization.pk if on_organization else cast.project.pk,
        **more,  # type: ignore[arg-type]  # as the test wants it
    )


def roles(user: User) -> list[str]:
    """The names of the person's roles, sorted."""
    return sorted(row.role_name for row in RoleBinding.objects.filter(principal_id=user.pk))


def remove(cast: Cast, actor: Actor, user: User) -> None:
    """The actor takes somebody out of the cast's organization."""
    remove_member(actor=actor, organization_id=cast.organization.pk, user_id=user.pk)


class RemoveMemberTests:
    def test_roles_and_groups_go_at_once_and_the_account_stays(self, cast: Cast) -> None:
        give(cast, Role.PROJECT_EDITOR)
        group = Group.objects.create(organization=cast.organization, name="Leads")
        GroupMembership.objects.create(group=group, user=cast.bob)
        remove(cast, cast.actor(cast.alice), cast.bob)
        assert roles(cast.bob) == []
        assert not GroupMembership.objects.filter(user=cast.bob).exists()
        assert not Membership.objects.filter(user=cast.bob).exists()
        assert User.objects.get(pk=cast.bob.pk).is_active
        assert cast.actor(cast.bob).bindings == ()

    def test_other_organizations_are_not_touched(self, cast: Cast) -> None:
        Membership.objects.create(user=cast.bob, organization=cast.other_organization)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.other_organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.ORG_MANAGER,
            resource_id=cast.other_organization.pk,
        )
        remove(cast, cast.actor(cast.alice), cast.bob)
        assert roles(cast.bob) == ["OrgManager"]
        assert Membership.objects.get(user=cast.bob).organization == cast.other_organization

    def test_each_role_taken_away_is_in_the_trail(self, cast: Cast) -> None:
        give(cast, Role.PROJECT_EDITOR)
        remove(cast, cast.actor(cast.alice), cast.bob)
        events = AuditEvent.objects.filter(type="role_binding.deleted")
        assert {event.resource_label for event in events} == {"OrgMember", "ProjectEditor"}
        (removed,) = AuditEvent.objects.filter(type="member.removed")
        assert (removed.actor_label, removed.resource_label) == (
            "alice@example.com",
            "bob@example.com",
        )

    def test_the_only_owner_is_409(self, cast: Cast) -> None:
        with pytest.raises(Aborted, match="at least one owner"):
            remove(cast, cast.actor(cast.alice), cast.alice)
        assert roles(cast.alice) == ["OrgOwner"]
        assert Membership.objects.filter(user=cast.alice).exists()

    def test_the_only_owner_who_can_sign_in_is_409(self, cast: Cast) -> None:
        give(cast, Role.ORG_OWNER)
        User.objects.filter(pk=cast.bob.pk).update(is_active=False)
        with pytest.raises(Aborted):
            remove(cast, cast.actor(cast.alice), cast.alice)

    def test_of_two_owners_one_may_remove_the_other(self, cast: Cast) -> None:
        give(cast, Role.ORG_OWNER)
        remove(cast, cast.actor(cast.bob), cast.alice)
        assert owners_of(cast.organization.pk).reachable == {cast.bob.pk}

    @pytest.mark.parametrize(
        "role", sorted({Role.ORG_MANAGER, Role.ORG_BILLING_ADMIN, Role.PROJECT_OWNER})
    )
    def test_no_other_role_may(self, cast: Cast, role: Role) -> None:
        give(cast, role)
        with pytest.raises(PermissionDenied, match="member:update"):
            remove(cast, cast.actor(cast.bob), cast.alice)

    def test_who_is_no_member_is_404_like_nobody(self, cast: Cast) -> None:
        texts = set()
        for pk in (cast.charlie.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                remove_member(
                    actor=cast.actor(cast.alice),
                    organization_id=cast.organization.pk,
                    user_id=pk,
                )
            texts.add(refused.value.message.replace(str(pk), "?"))
        assert len(texts) == 1

    def test_a_stranger_gets_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound):
            remove(cast, cast.actor(cast.charlie), cast.bob)

    def test_it_needs_a_fresh_proof(self, cast: Cast) -> None:
        with pytest.raises(ReauthenticationRequired):
            remove(cast, actor_for(cast.alice), cast.bob)


class LeaveOrganizationTests:
    def test_anybody_may(self, cast: Cast) -> None:
        leave_organization(actor=cast.actor(cast.bob), organization_id=cast.organization.pk)
        assert roles(cast.bob) == []
        assert not Membership.objects.filter(user=cast.bob).exists()
        assert AuditEvent.objects.filter(type="member.left", actor_id=str(cast.bob.pk)).exists()

    def test_the_only_owner_is_409(self, cast: Cast) -> None:
        with pytest.raises(Aborted):
            leave_organization(actor=cast.actor(cast.alice), organization_id=cast.organization.pk)

    def test_who_does_not_belong_gets_404(self, cast: Cast) -> None:
        texts = set()
        for pk in (cast.organization.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                leave_organization(actor=cast.actor(cast.charlie), organization_id=pk)
            texts.add(refused.value.message.replace(str(pk), "?"))
        assert len(texts) == 1

    def test_a_machine_does_not_leave(self, cast: Cast) -> None:
        machine = Actor(kind="service_account", id=str(uuid.uuid4()), label="robot")
        with pytest.raises(PermissionDenied, match="Only people"):
            leave_organization(actor=machine, organization_id=cast.organization.pk)

    def test_it_needs_a_fresh_proof(self, cast: Cast) -> None:
        with pytest.raises(ReauthenticationRequired):
            leave_organization(actor=actor_for(cast.bob), organization_id=cast.organization.pk)


def offer(cast: Cast, to: User | None = None, by: Actor | None = None) -> OwnershipTransfer:
    """Alice asks Bob to own the organization."""
    return offer_ownership(
        actor=by or cast.actor(cast.alice),
        organization_id=cast.organization.pk,
        user_id=(to or cast.bob).pk,
    )


def run_out(made: OwnershipTransfer) -> None:
    """The offer's time is over."""
    OwnershipTransfer.objects.filter(pk=made.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )


class OwnershipTransferTests:
    def test_accepting_makes_one_owner_and_the_other_a_plain_member(self, cast: Cast) -> None:
        made = offer(cast)
        assert (roles(cast.alice), roles(cast.bob)) == (["OrgOwner"], ["OrgMember"])
        accept_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)
        assert roles(cast.alice) == ["OrgMember"]
        assert roles(cast.bob) == ["OrgMember", "OrgOwner"]
        made.refresh_from_db()
        assert (made.status, made.ended_at is not None) == ("accepted", True)
        types = set(AuditEvent.objects.values_list("type", flat=True))
        assert {"ownership_transfer.proposed", "ownership.transferred"} <= types

    def test_it_is_open_for_72_hours_and_mailed(self, cast: Cast) -> None:
        made = offer(cast)
        left = made.expires_at - timezone.now()
        assert timedelta(hours=71) < left <= timedelta(hours=72)
        mail = OutgoingMail.objects.get(to="bob@example.com")
        assert f"https://localhost:8443/ownership-transfers/{made.pk}/" in mail.text

    def test_other_roles_of_the_old_owner_stay(self, cast: Cast) -> None:
        give(cast, Role.ORG_BILLING_ADMIN, cast.alice)
        accept_ownership(actor=cast.actor(cast.bob), transfer_id=offer(cast).pk)
        assert roles(cast.alice) == ["OrgBillingAdmin"]

    def test_a_role_that_ends_does_not_make_the_old_owner_a_member_for_good(
        self, cast: Cast
    ) -> None:
        soon = timezone.now() + timedelta(days=1)
        give(cast, Role.ORG_MEMBER, cast.alice, period=(None, soon))
        accept_ownership(actor=cast.actor(cast.bob), transfer_id=offer(cast).pk)
        row = RoleBinding.objects.get(principal_id=cast.alice.pk)
        assert (row.role, row.expires_at) == ("OrgMember", None)

    def test_an_ownership_that_ends_becomes_one_for_good(self, cast: Cast) -> None:
        soon = timezone.now() + timedelta(days=1)
        give(cast, Role.ORG_OWNER, period=(None, soon))
        accept_ownership(actor=cast.actor(cast.bob), transfer_id=offer(cast).pk)
        row = RoleBinding.objects.get(principal_id=cast.bob.pk, role="OrgOwner")
        assert row.expires_at is None

    @pytest.mark.parametrize(("end", "status"), [("decline", "declined"), ("cancel", "canceled")])
    def test_declined_or_canceled_it_changes_nothing_and_is_over(
        self, cast: Cast, end: str, status: str
    ) -> None:
        made = offer(cast)
        if end == "decline":
            decline_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)
        else:
            cancel_offer(actor=cast.actor(cast.alice), transfer_id=made.pk)
        assert OwnershipTransfer.objects.get(pk=made.pk).status == status
        with pytest.raises(FailedPrecondition, match=status):
            accept_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)
        assert (roles(cast.alice), roles(cast.bob)) == (["OrgOwner"], ["OrgMember"])
        assert offer(cast).status == "pending"

    def test_after_72_hours_it_is_over_and_another_can_be_made(self, cast: Cast) -> None:
        made = offer(cast)
        run_out(made)
        for act in (accept_ownership, decline_ownership):
            with pytest.raises(FailedPrecondition, match="expired"):
                act(actor=cast.actor(cast.bob), transfer_id=made.pk)
        assert offer(cast).status == "pending"
        assert OwnershipTransfer.objects.get(pk=made.pk).status == "expired"

    def test_a_second_open_offer_is_409_with_the_id_of_the_first(self, cast: Cast) -> None:
        made = offer(cast)
        other = make_member(cast.organization)
        with pytest.raises(AlreadyExists, match=str(made.pk)):
            offer(cast, other)

    def test_accepted_twice_is_412(self, cast: Cast) -> None:
        made = offer(cast)
        accept_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)
        with pytest.raises(FailedPrecondition, match="accepted"):
            accept_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)

    def test_nobody_accepts_or_declines_for_another(self, cast: Cast) -> None:
        made = offer(cast)
        for act in (accept_ownership, decline_ownership):
            with pytest.raises(PermissionDenied, match=r"made to bob@example\.com"):
                act(actor=cast.actor(cast.alice), transfer_id=made.pk)

    def test_members_and_strangers_see_no_offer_of_others(self, cast: Cast) -> None:
        made = offer(cast)
        outsider = make_member(cast.organization)
        for user in (outsider, cast.charlie):
            for act in (accept_ownership, decline_ownership, cancel_offer):
                with pytest.raises(NotFound):
                    act(actor=cast.actor(user), transfer_id=made.pk)

    def test_the_other_person_does_not_cancel(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="member:update"):
            cancel_offer(actor=cast.actor(cast.bob), transfer_id=offer(cast).pk)

    def test_only_an_owner_offers(self, cast: Cast) -> None:
        give(cast, Role.ORG_MANAGER)
        with pytest.raises(PermissionDenied, match="member:update"):
            offer(cast, cast.alice, by=cast.actor(cast.bob))

    def test_who_owns_through_a_group_has_nothing_to_hand_over(self, cast: Cast) -> None:
        group = Group.objects.create(organization=cast.organization, name="Leads")
        GroupMembership.objects.create(group=group, user=cast.bob)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, group.pk),
            role=Role.ORG_OWNER,
            resource_id=cast.organization.pk,
        )
        with pytest.raises(PermissionDenied, match="not through a group"):
            offer(cast, cast.alice, by=cast.actor(cast.bob))

    def test_a_person_outside_is_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound, match=f"user {cast.charlie.pk}"):
            offer(cast, cast.charlie)

    def test_to_oneself_is_400_and_to_an_owner_412(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="own the organization already"):
            offer(cast, cast.alice)
        give(cast, Role.ORG_OWNER)
        with pytest.raises(FailedPrecondition, match="is an owner already"):
            offer(cast)

    def test_both_sides_need_a_fresh_proof(self, cast: Cast) -> None:
        with pytest.raises(ReauthenticationRequired):
            offer(cast, by=actor_for(cast.alice))
        made = offer(cast)
        with pytest.raises(ReauthenticationRequired):
            accept_ownership(actor=actor_for(cast.bob), transfer_id=made.pk)

    def test_who_owns_no_more_hands_nothing_over(self, cast: Cast) -> None:
        made = offer(cast)
        give(cast, Role.ORG_OWNER, make_member(cast.organization))
        RoleBinding.objects.filter(principal_id=cast.alice.pk, role="OrgOwner").delete()
        with pytest.raises(FailedPrecondition, match="owns the organization no more"):
            accept_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)
        assert roles(cast.bob) == ["OrgMember"]

    def test_who_left_meanwhile_does_not_accept(self, cast: Cast) -> None:
        made = offer(cast)
        remove(cast, cast.actor(cast.alice), cast.bob)
        with pytest.raises(NotFound):
            accept_ownership(actor=cast.actor(cast.bob), transfer_id=made.pk)

    def test_who_cannot_sign_in_does_not_become_the_only_owner(self, cast: Cast) -> None:
        made = offer(cast)
        actor = cast.actor(cast.bob)
        User.objects.filter(pk=cast.bob.pk).update(is_active=False)
        with pytest.raises(Aborted):
            accept_ownership(actor=actor, transfer_id=made.pk)
        assert (roles(cast.alice), roles(cast.bob)) == (["OrgOwner"], ["OrgMember"])


class TransferPageTests:
    def test_the_other_person_accepts_there(self, cast: Cast) -> None:
        made = offer(cast)
        page = f"/ownership-transfers/{made.pk}/"
        browser = Browser()
        browser.sign_in("bob@example.com")
        text = browser.get(page).content.decode()
        assert "alice@example.com asks bob@example.com to own" in text
        assert "Decline" in text
        assert "Take the offer back" not in text
        assert browser.post(page, {"action": "nonsense"}).status_code == 200
        assert browser.post(page, {"action": "accept"})["Location"] == "/"
        assert "You own Acme now" in browser.get("/", follow=True).content.decode()
        assert owners_of(cast.organization.pk).everybody == {cast.bob.pk}
        assert "This offer is accepted" in browser.get(page).content.decode()

    def test_a_session_that_is_not_fresh_is_led_to_prove_who_is_there(self, cast: Cast) -> None:
        made = offer(cast)
        page = f"/ownership-transfers/{made.pk}/"
        browser = Browser()
        browser.sign_in("bob@example.com")
        session = browser.session
        for proof in session["account_authentication_methods"]:
            proof["at"] -= 3600
        session.save()
        answer = browser.post(page, {"action": "accept"})
        assert answer["Location"].startswith("/accounts/reauthenticate/?next=")
        assert owners_of(cast.organization.pk).everybody == {cast.alice.pk}

    def test_the_owner_takes_it_back_there(self, cast: Cast) -> None:
        made = offer(cast)
        browser = Browser()
        browser.sign_in("alice@example.com")
        page = f"/ownership-transfers/{made.pk}/"
        assert "Take the offer back" in browser.get(page).content.decode()
        browser.post(page, {"action": "cancel"})
        assert OwnershipTransfer.objects.get(pk=made.pk).status == "canceled"

    def test_others_find_nothing(self, cast: Cast) -> None:
        made = offer(cast)
        page = f"/ownership-transfers/{made.pk}/"
        assert Browser(cast.charlie).get(page).status_code == 404
        assert Browser(make_member(cast.organization)).get(page).status_code == 404
        assert Browser().get(page).status_code == 302


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_two_owners_who_remove_each_other_leave_one(self) -> None:
        cast = make_cast()
        give(cast, Role.ORG_OWNER)
        alice, bob = cast.actor(cast.alice), cast.actor(cast.bob)
        ends = at_once(lambda: remove(cast, alice, cast.bob), lambda: remove(cast, bob, cast.alice))
        assert ends == {"done": 1, "Aborted": 1}
        assert len(owners_of(cast.organization.pk).reachable) == 1

    def test_two_owners_who_leave_at_once_leave_one(self) -> None:
        cast = make_cast()
        give(cast, Role.ORG_OWNER)
        ends = at_once(
            *[
                lambda actor=actor: leave_organization(
                    actor=actor, organization_id=cast.organization.pk
                )
                for actor in (cast.actor(cast.alice), cast.actor(cast.bob))
            ]
        )
        assert ends == {"done": 1, "Aborted": 1}

    def test_of_many_removals_one_is_the_removal(self) -> None:
        cast = make_cast()
        actor = cast.actor(cast.alice)
        calls: list[Callable[[], object]] = [lambda: remove(cast, actor, cast.bob)] * 3
        assert at_once(*calls) == {"done": 1, "NotFound": 2}
        assert AuditEvent.objects.filter(type="member.removed").count() == 1

    def test_accepting_and_canceling_do_not_pass_each_other(self) -> None:
        cast = make_cast()
        made = offer(cast)
        alice, bob = cast.actor(cast.alice), cast.actor(cast.bob)
        ends = at_once(
            lambda: accept_ownership(actor=bob, transfer_id=made.pk),
            lambda: cancel_offer(actor=alice, transfer_id=made.pk),
        )
        assert ends == {"done": 1, "FailedPrecondition": 1}
        assert len(owners_of(cast.organization.pk).reachable) == 1

    def test_accepting_while_the_other_is_removed_leaves_an_owner(self) -> None:
        cast = make_cast()
        made = offer(cast)
        alice, bob = cast.actor(cast.alice), cast.actor(cast.bob)
        at_once(
            lambda: accept_ownership(actor=bob, transfer_id=made.pk),
            lambda: remove(cast, alice, cast.bob),
        )
        assert len(owners_of(cast.organization.pk).reachable) == 1
