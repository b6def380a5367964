"""Inviting people, and their coming: the service's rules, then the pages."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache
from django.core.signing import Signer
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ReauthenticationRequired,
    TooManyRequests,
)
from orgs.models import (
    CustomRole,
    Invitation,
    Membership,
    Organization,
    OutgoingMail,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import DANGEROUS, ROLES, Role
from orgs.plans import Entitlement
from orgs.selectors.bindings import actor_for
from orgs.selectors.invitations import link_token, roles_in_words
from orgs.services.bindings import bind_role
from orgs.services.invitations import (
    InvitationOver,
    InvitedRole,
    accept_as_new_person,
    accept_invitation,
    create_invitation,
    delete_invitation,
    resend_invitation,
)
from orgs.services.organizations import set_plan
from tests.cast import Cast, make_cast
from tests.factories import PASSWORD, SYSTEM, make_member, make_organization, make_user
from tests.orgs.racing import at_once
from tests.pages import Browser

MEMBER = InvitedRole(Role.ORG_MEMBER.value, ResourceType.ORGANIZATION)
OWNER = InvitedRole(Role.ORG_OWNER.value, ResourceType.ORGANIZATION)
NOBODY = Actor(kind="user", id="", label="dora@example.com", ip="192.0.2.9")


def on_project(cast: Cast, role: Role = Role.PROJECT_EDITOR) -> InvitedRole:
    """A role on the cast's project."""
    return InvitedRole(role.value, ResourceType.PROJECT, cast.project.pk)


def invite(
    cast: Cast,
    email: str = "dora@example.com",
    *roles: InvitedRole,
    actor: Actor | None = None,
) -> Invitation:
    """Alice invites somebody, by default as a plain member."""
    return create_invitation(
        actor=actor or cast.actor(cast.alice),
        organization_id=cast.organization.pk,
        email=email,
        roles=roles or (MEMBER,),
    )


def expire(invitation: Invitation) -> None:
    """Its time is over."""
    Invitation.objects.filter(pk=invitation.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    invitation.refresh_from_db()


def roles_of_principal(kind: PrincipalType, pk: uuid.UUID) -> list[str]:
    """The names of the roles that it holds, sorted."""
    rows = RoleBinding.objects.filter(principal_type=kind, principal_id=pk)
    return sorted(row.role_name for row in rows)


def give(cast: Cast, *permissions: str) -> None:
    """Bob gets a role of the organization's own."""
    role = CustomRole.objects.create(
        organization=cast.organization,
        name="Own",
        resource_type="organization",
        permissions=sorted(permissions),
    )
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=role,
        resource_id=cast.organization.pk,
    )


def seats(cast: Cast, number: int) -> None:
    """How many the organization has."""
    set_plan(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        overrides={Entitlement.MAX_MEMBERS: number},
    )


class CreateInvitationTests:
    def test_it_is_pending_for_seven_days_with_its_roles(self, cast: Cast) -> None:
        made = invite(cast, " Dora@Example.COM".strip(), MEMBER, on_project(cast))
        assert (made.email, made.status, made.invited_by) == (
            "dora@example.com",
            "pending",
            "alice@example.com",
        )
        assert timedelta(days=6, hours=23) < made.expires_at - timezone.now() <= timedelta(days=7)
        assert roles_of_principal(PrincipalType.INVITE, made.pk) == ["OrgMember", "ProjectEditor"]

    def test_it_sends_the_link_and_keeps_no_other_copy_of_it(self, cast: Cast) -> None:
        made = invite(cast)
        mail = OutgoingMail.objects.get()
        assert mail.to == "dora@example.com"
        assert "Acme" in mail.subject
        token = link_token(made)
        assert f"https://localhost:8443/invitations/{token}/" in mail.text
        trail = repr(list(AuditEvent.objects.values()))
        assert token not in trail
        assert made.nonce.hex not in trail
        assert str(made.nonce) not in trail

    def test_it_is_in_the_audit_trail(self, cast: Cast) -> None:
        made = invite(cast)
        event = AuditEvent.objects.get(type="invitation.created")
        assert (event.resource_id, event.permission) == (str(made.pk), "member:invite")
        assert event.detail["roles"] == ["OrgMember"]

    def test_without_its_audit_event_there_is_neither_invitation_nor_mail(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        actor = cast.actor(cast.alice)
        monkeypatch.setattr(AuditEvent, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            invite(cast, actor=actor)
        assert not Invitation.objects.exists()
        assert not OutgoingMail.objects.exists()

    def test_a_stranger_hears_that_there_is_no_organization(self, cast: Cast) -> None:
        with pytest.raises(NotFound):
            invite(cast, actor=cast.actor(cast.charlie))

    @pytest.mark.parametrize("role", sorted(set(Role) - {Role.ORG_OWNER}))
    def test_no_role_but_the_owners_invites(self, cast: Cast, role: Role) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, make_member(cast.organization, "x@example.com").pk),
            role=role if role != Role.ORG_MEMBER else Role.ORG_MANAGER,
            resource_id=(cast.organization.pk if role.value.startswith("Org") else cast.project.pk),
        )
        actor = cast.actor(User.objects.get(email="x@example.com"))
        with pytest.raises(PermissionDenied, match="member:invite"):
            invite(cast, actor=actor)

    def test_who_may_invite_gives_no_more_than_they_hold(self, cast: Cast) -> None:
        give(cast, "organization:read", "member:read", "member:invite")
        actor = cast.actor(cast.bob)
        with pytest.raises(PermissionDenied, match=r"you lack .*billing:read"):
            invite(cast, "x@example.com", OWNER, actor=actor)
        with pytest.raises(PermissionDenied, match="project:create"):
            invite(
                cast,
                "x@example.com",
                InvitedRole("OrgManager", ResourceType.ORGANIZATION),
                actor=actor,
            )
        assert invite(cast, "x@example.com", actor=actor).status == "pending"

    def test_a_project_that_one_does_not_see_does_not_exist(self, cast: Cast) -> None:
        give(cast, "organization:read", "member:read", "member:invite")
        texts = []
        for project_id in (cast.project.pk, cast.other_project.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                invite(
                    cast,
                    "x@example.com",
                    MEMBER,
                    InvitedRole("ProjectViewer", ResourceType.PROJECT, project_id),
                    actor=cast.actor(cast.bob),
                )
            texts.append(refused.value.message.replace(str(project_id), "?"))
        assert len(set(texts)) == 1

    def test_another_organization_s_project_is_404(self, cast: Cast) -> None:
        foreign = InvitedRole("ProjectViewer", ResourceType.PROJECT, cast.other_project.pk)
        with pytest.raises(NotFound):
            invite(cast, "x@example.com", MEMBER, foreign)
        assert not Invitation.objects.exists()

    def test_dangerous_roles_need_a_fresh_proof_of_who_gives_them(self, cast: Cast) -> None:
        stale = actor_for(cast.alice, authenticated_at=timezone.now() - timedelta(days=1))
        with pytest.raises(ReauthenticationRequired):
            invite(cast, "x@example.com", OWNER, actor=stale)
        assert not ROLES[Role.ORG_MEMBER] & DANGEROUS
        assert invite(cast, "x@example.com", actor=stale).status == "pending"

    @pytest.mark.parametrize(
        "email", ["", "dora", "dora@", "a b@example.com", "d\0@example.com", "x" * 300 + "@a.de"]
    )
    def test_what_is_no_address_is_named(self, cast: Cast, email: str) -> None:
        with pytest.raises(InvalidArgument, match="is no e-mail address"):
            invite(cast, email)

    def test_an_address_that_grows_in_lower_case_is_measured_as_it_is_kept(
        self, cast: Cast
    ) -> None:
        domain = ".".join(["\u0130" * 60] * 4)
        assert len(f"a@{domain}.de") < 254 < len(f"a@{domain}.de".lower())
        with pytest.raises(InvalidArgument, match="254"):
            invite(cast, f"a@{domain}.de")
        assert invite(cast, "a@\u0130.example.com").email == "a@i\u0307.example.com"

    def test_a_project_only_invitation_is_400(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="at least one role on the organization"):
            invite(cast, "x@example.com", on_project(cast))

    @pytest.mark.parametrize("count", [0, 101])
    def test_too_few_or_too_many_roles_are_400(self, cast: Cast, count: int) -> None:
        with pytest.raises(InvalidArgument, match=f"1 to 100 role_bindings, not {count}"):
            create_invitation(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                email="x@example.com",
                roles=[MEMBER] * count,
            )

    def test_the_same_role_twice_is_400(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="stands there twice"):
            invite(cast, "x@example.com", MEMBER, MEMBER)
        assert not Invitation.objects.exists()

    @pytest.mark.parametrize(
        "role",
        [
            InvitedRole("ProjectOwner", ResourceType.ORGANIZATION),
            InvitedRole("Nonsense", ResourceType.ORGANIZATION),
            InvitedRole("O\0", ResourceType.ORGANIZATION),
            InvitedRole("OrgMember", ResourceType.PROJECT, uuid.UUID(int=0)),
            InvitedRole("ProjectOwner", ResourceType.PROJECT),
        ],
    )
    def test_a_role_that_cannot_be_held_there_is_refused(
        self, cast: Cast, role: InvitedRole
    ) -> None:
        if role.resource_id:
            role = InvitedRole(role.role, role.resource_type, cast.project.pk)
        with pytest.raises(InvalidArgument):
            invite(cast, "x@example.com", MEMBER, role)

    def test_a_role_of_the_organization_s_own_can_come_with_it(self, cast: Cast) -> None:
        give(cast, "organization:read", "billing:read")
        made = invite(cast, "x@example.com", InvitedRole("own", ResourceType.ORGANIZATION))
        (words,) = roles_in_words(made)
        assert (words.role, words.where) == ("Own", "the organization Acme")
        assert words.help == "see the organization, see plan, billing and usage"

    def test_a_pending_one_is_409_with_its_id(self, cast: Cast) -> None:
        made = invite(cast)
        with pytest.raises(AlreadyExists, match=str(made.pk)):
            invite(cast, "DORA@example.com")

    def test_a_member_is_409(self, cast: Cast) -> None:
        with pytest.raises(AlreadyExists, match="member of the organization already"):
            invite(cast, "Bob@example.com")

    def test_an_expired_one_gives_way(self, cast: Cast) -> None:
        old = invite(cast, "dora@example.com", OWNER)
        expire(old)
        new = invite(cast)
        assert list(Invitation.objects.values_list("pk", flat=True)) == [new.pk]
        assert roles_of_principal(PrincipalType.INVITE, old.pk) == []
        assert AuditEvent.objects.filter(type="invitation.deleted").count() == 1

    def test_the_same_address_may_be_invited_by_two_organizations(self, cast: Cast) -> None:
        invite(cast)
        create_invitation(
            actor=cast.actor(cast.charlie),
            organization_id=cast.other_organization.pk,
            email="dora@example.com",
            roles=[MEMBER],
        )
        assert Invitation.objects.count() == 2

    def test_members_and_pending_invitations_fill_the_seats(self, cast: Cast) -> None:
        seats(cast, 3)
        first = invite(cast)
        with pytest.raises(QuotaExceeded, match=r"at most 3 members.*In use: 3"):
            invite(cast, "x@example.com")
        expire(first)
        invite(cast, "x@example.com")

    def test_101_mails_within_an_hour_are_429(self, cast: Cast) -> None:
        for _ in range(99):
            record(
                EventType.INVITATION_RESENT,
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                resource=("invitation", "", ""),
            )
        made = invite(cast)
        actor = cast.actor(cast.alice)
        attempts: list[Callable[[], object]] = [
            lambda: invite(cast, "x@example.com"),
            lambda: resend_invitation(actor=actor, invitation_id=made.pk),
        ]
        for again in attempts:
            with pytest.raises(TooManyRequests, match="100 invitations in an hour") as refused:
                again()
            assert 3500 < refused.value.retry_after <= 3600
        create_invitation(
            actor=cast.actor(cast.charlie),
            organization_id=cast.other_organization.pk,
            email="x@example.com",
            roles=[MEMBER],
        )


class ResendInvitationTests:
    def test_it_is_pending_again_with_a_new_link_and_the_old_one_is_dead(self, cast: Cast) -> None:
        made = invite(cast)
        expire(made)
        old = made.nonce
        again = resend_invitation(actor=cast.actor(cast.alice), invitation_id=made.pk)
        assert again.status == "pending"
        assert again.expires_at - timezone.now() > timedelta(days=6, hours=23)
        with pytest.raises(InvitationOver) as refused:
            join(again, nonce=old)
        assert refused.value.state == "replaced"
        assert join(again).email == "dora@example.com"
        assert OutgoingMail.objects.filter(to="dora@example.com").count() == 2

    def test_an_accepted_one_is_409(self, cast: Cast) -> None:
        made = invite(cast)
        join(made)
        with pytest.raises(AlreadyExists, match="accepted already"):
            resend_invitation(actor=cast.actor(cast.alice), invitation_id=made.pk)

    def test_a_member_cannot_resend_and_a_stranger_hears_nothing(self, cast: Cast) -> None:
        made = invite(cast)
        with pytest.raises(PermissionDenied, match="member:invite"):
            resend_invitation(actor=cast.actor(cast.bob), invitation_id=made.pk)
        texts = set()
        for invitation_id in (made.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                resend_invitation(actor=cast.actor(cast.charlie), invitation_id=invitation_id)
            texts.add(refused.value.message.replace(str(invitation_id), "?"))
        assert len(texts) == 1

    def test_who_holds_less_does_not_revive_it(self, cast: Cast) -> None:
        made = invite(cast, "dora@example.com", OWNER)
        expire(made)
        give(cast, "organization:read", "member:read", "member:invite")
        with pytest.raises(PermissionDenied, match="you lack"):
            resend_invitation(actor=cast.actor(cast.bob), invitation_id=made.pk)

    def test_an_expired_one_needs_a_free_seat(self, cast: Cast) -> None:
        made = invite(cast)
        expire(made)
        seats(cast, 2)
        with pytest.raises(QuotaExceeded):
            resend_invitation(actor=cast.actor(cast.alice), invitation_id=made.pk)


class DeleteInvitationTests:
    def test_it_is_gone_with_its_roles_and_its_link_is_dead(self, cast: Cast) -> None:
        made = invite(cast)
        delete_invitation(actor=cast.actor(cast.alice), invitation_id=made.pk)
        assert not Invitation.objects.exists()
        assert not RoleBinding.objects.filter(principal_type="invite").exists()
        with pytest.raises(InvitationOver):
            join(made)
        with pytest.raises(NotFound):
            delete_invitation(actor=cast.actor(cast.alice), invitation_id=made.pk)

    def test_an_accepted_one_is_409(self, cast: Cast) -> None:
        made = invite(cast)
        join(made)
        with pytest.raises(AlreadyExists):
            delete_invitation(actor=cast.actor(cast.alice), invitation_id=made.pk)

    def test_a_member_is_refused(self, cast: Cast) -> None:
        made = invite(cast)
        with pytest.raises(PermissionDenied):
            delete_invitation(actor=cast.actor(cast.bob), invitation_id=made.pk)
        assert Invitation.objects.exists()


def join(invitation: Invitation, nonce: uuid.UUID | None = None, name: str = "Dora") -> User:
    """Somebody without an account accepts."""
    return accept_as_new_person(
        actor=NOBODY,
        invitation_id=invitation.pk,
        nonce=nonce or invitation.nonce,
        name=name,
        password=PASSWORD,
    )


class AcceptInvitationTests:
    def test_the_invitation_s_roles_become_the_person_s(self, cast: Cast) -> None:
        later = timezone.now() + timedelta(days=3)
        made = invite(cast, "dora@example.com", MEMBER)
        bind_role(
            actor=cast.actor(cast.alice),
            organization_id=cast.organization.pk,
            principal=(PrincipalType.INVITE, made.pk),
            role=Role.PROJECT_EDITOR,
            resource_id=cast.project.pk,
            reason="for a while",
            period=(None, later),
        )
        dora = join(made)
        assert roles_of_principal(PrincipalType.USER, dora.pk) == ["OrgMember", "ProjectEditor"]
        assert roles_of_principal(PrincipalType.INVITE, made.pk) == []
        row = RoleBinding.objects.get(principal_id=dora.pk, role="ProjectEditor")
        assert (row.reason, row.expires_at, row.granted_by) == (
            "for a while",
            later,
            "alice@example.com",
        )
        made.refresh_from_db()
        assert (made.status, made.accepted_by) == ("processed", dora)

    def test_a_new_person_can_sign_in_with_a_proven_address(self, cast: Cast) -> None:
        dora = join(invite(cast))
        assert dora.check_password(PASSWORD)
        assert dora.name == "Dora"
        address = EmailAddress.objects.get(user=dora)
        assert (address.email, address.verified, address.primary) == (dora.email, True, True)

    def test_somebody_with_an_account_accepts_with_it(self, cast: Cast) -> None:
        made = invite(cast, "charlie@example.org")
        accept_invitation(actor=cast.actor(cast.charlie), invitation_id=made.pk, nonce=made.nonce)
        assert Membership.objects.filter(user=cast.charlie, organization=cast.organization).exists()

    def test_nobody_accepts_for_another_address(self, cast: Cast) -> None:
        made = invite(cast)
        with pytest.raises(PermissionDenied, match=r"is for dora@example\.com, not for charlie"):
            accept_invitation(
                actor=cast.actor(cast.charlie), invitation_id=made.pk, nonce=made.nonce
            )

    def test_an_expired_one_lets_nobody_in(self, cast: Cast) -> None:
        made = invite(cast)
        expire(made)
        with pytest.raises(InvitationOver) as refused:
            join(made)
        assert refused.value.state == "expired"
        assert not User.objects.filter(email="dora@example.com").exists()

    def test_accepted_twice_lets_in_once(self, cast: Cast) -> None:
        made = invite(cast)
        join(made)
        with pytest.raises(InvitationOver) as refused:
            join(made)
        assert refused.value.state == "accepted"

    @pytest.mark.parametrize(
        ("name", "password", "message"),
        [
            ("", PASSWORD, "name"),
            ("x" * 201, PASSWORD, "name"),
            ("a\0b", PASSWORD, "printable"),
            ("\ud800", PASSWORD, "printable"),
            ("Dora", "short", "password"),
            ("Dora", "dora@example.com", "password"),
        ],
    )
    def test_a_bad_name_or_password_makes_no_account(
        self, cast: Cast, name: str, password: str, message: str
    ) -> None:
        made = invite(cast)
        with pytest.raises(InvalidArgument, match=message):
            accept_as_new_person(
                actor=NOBODY,
                invitation_id=made.pk,
                nonce=made.nonce,
                name=name,
                password=password,
            )
        assert not User.objects.filter(email="dora@example.com").exists()

    def test_a_role_held_already_is_not_there_twice(self, cast: Cast) -> None:
        made = invite(cast, "late@example.com", MEMBER)
        late = make_member(cast.organization, "late@example.com")
        accept_invitation(actor=cast.actor(late), invitation_id=made.pk, nonce=made.nonce)
        assert roles_of_principal(PrincipalType.USER, late.pk) == ["OrgMember"]

    def test_a_role_that_is_over_does_not_come_along(self, cast: Cast) -> None:
        made = invite(cast)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.INVITE, made.pk),
            role=Role.ORG_OWNER,
            resource_id=cast.organization.pk,
            period=(None, timezone.now() - timedelta(seconds=1)),
        )
        dora = join(made)
        assert roles_of_principal(PrincipalType.USER, dora.pk) == ["OrgMember"]

    def test_everything_is_in_the_trail_of_the_organization(self, cast: Cast) -> None:
        dora = join(invite(cast))
        events = AuditEvent.objects.filter(actor_id=str(dora.pk))
        assert {event.type for event in events} == {
            "user.created",
            "role_binding.created",
            "role_binding.deleted",
            "invitation.accepted",
            "member.added",
        }
        assert {event.organization_id for event in events} == {cast.organization.pk}
        assert {event.ip for event in events} == {"192.0.2.9"}

    def test_what_cannot_be_recorded_does_not_happen(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = invite(cast)
        saved = AuditEvent.save

        def save(self: AuditEvent, *args: Any, **kwargs: Any) -> None:
            if self.type == "member.added":
                raise OSError("no room")
            saved(self, *args, **kwargs)

        monkeypatch.setattr(AuditEvent, "save", save)
        with pytest.raises(OSError, match="no room"):
            join(made)
        made.refresh_from_db()
        assert made.status == "pending"
        assert not User.objects.filter(email="dora@example.com").exists()
        assert roles_of_principal(PrincipalType.INVITE, made.pk) == ["OrgMember"]


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_two_invitations_for_one_address_make_one(self) -> None:
        cast = make_cast()
        actor = cast.actor(cast.alice)
        calls: list[Callable[[], object]] = [lambda: invite(cast, actor=actor)] * 3
        assert at_once(*calls) == {"done": 1, "AlreadyExists": 2}
        assert Invitation.objects.count() == OutgoingMail.objects.count() == 1

    def test_two_invitations_for_the_last_seat_make_one(self) -> None:
        cast = make_cast()
        seats(cast, 3)
        actor = cast.actor(cast.alice)
        calls = [
            lambda email=f"{number}@example.com": invite(cast, email, actor=actor)
            for number in range(3)
        ]
        assert at_once(*calls) == {"done": 1, "QuotaExceeded": 2}
        assert Invitation.objects.count() == 1

    def test_accepting_at_once_gives_one_membership(self) -> None:
        cast = make_cast()
        made = invite(cast)
        calls: list[Callable[[], object]] = [lambda: join(made)] * 3
        assert at_once(*calls) == {"done": 1, "InvitationOver": 2}
        assert Membership.objects.filter(user__email="dora@example.com").count() == 1

    def test_accepting_and_taking_back_do_not_pass_each_other(self) -> None:
        cast = make_cast()
        for number in range(3):
            made = invite(cast, f"{number}@example.com")
            actor = cast.actor(cast.alice)
            ends = at_once(
                partial(join, made),
                partial(delete_invitation, actor=actor, invitation_id=made.pk),
            )
            came = Membership.objects.filter(user__email=made.email).exists()
            assert ends == {"done": 1, "AlreadyExists" if came else "InvitationOver": 1}
            assert RoleBinding.objects.filter(principal_id=made.pk).count() == 0

    def test_one_address_invited_by_two_organizations_gets_one_account(self) -> None:
        cast = make_cast()
        other = make_organization(name="Second")
        made = [
            create_invitation(
                actor=SYSTEM, organization_id=pk, email="dora@example.com", roles=[MEMBER]
            )
            for pk in (cast.organization.pk, other.pk)
        ]
        ends = at_once(*[lambda each=each: join(each) for each in made])
        assert ends == {"done": 1, "AlreadyExists": 1}
        assert User.objects.filter(email="dora@example.com").count() == 1


def link(invitation: Invitation) -> str:
    """The path that the mail leads to."""
    return f"/invitations/{link_token(invitation)}/"


def own_page(invitation: Invitation) -> str:
    """The path that the link leads on to."""
    return f"/invitations/{invitation.pk}/"


FORM = {"name": "Dora Doe", "password": PASSWORD, "again": PASSWORD}


class PageTests:
    def test_the_link_leads_to_a_page_without_the_secret(self, cast: Cast) -> None:
        made = invite(cast, "dora@example.com", MEMBER, on_project(cast))
        browser = Browser()
        answer = browser.get(link(made))
        assert (answer.status_code, answer["Location"]) == (302, own_page(made))
        answer = browser.get(own_page(made))
        text = answer.content.decode()
        for part in (
            "Acme",
            "alice@example.com invites dora@example.com",
            "OrgMember",
            "see the organization and its people",
            "the project Search",
            "manage indexes, read and write records",
        ):
            assert part in text
        assert link_token(made) not in text
        assert "no-store" in answer["Cache-Control"]
        assert answer["Referrer-Policy"] == "same-origin"

    def test_looking_accepts_nothing(self, cast: Cast) -> None:
        made = invite(cast, "charlie@example.org")
        browser = Browser(cast.charlie)
        browser.get(link(made))
        browser.get(own_page(made))
        browser.head(own_page(made))
        made.refresh_from_db()
        assert made.status == "pending"

    def test_without_an_account_one_is_made_and_signed_in(self, cast: Cast) -> None:
        made = invite(cast)
        browser = Browser()
        browser.get(link(made))
        answer = browser.post(own_page(made), FORM)
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert browser.get("/")["Location"] == f"/organizations/{cast.organization.pk}/"
        assert User.objects.get(email="dora@example.com").name == "Dora Doe"
        types = set(AuditEvent.objects.values_list("type", flat=True))
        assert {"invitation.accepted", "user.signed_in"} <= types

    def test_the_new_account_s_sign_in_is_a_fresh_proof(self, cast: Cast) -> None:
        made = invite(cast, "dora@example.com", OWNER)
        browser = Browser()
        browser.get(link(made))
        browser.post(own_page(made), FORM)
        answer = browser.delete(
            f"/admin/users/{cast.bob.pk}", headers={"accept": "application/json"}
        )
        assert answer.status_code == 202

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"password": "short", "again": "short"}, "at least 12"),
            ({"again": "another one"}, "The two passwords differ"),
            ({"name": " "}, "required"),
            ({"name": "a\u202eb"}, "printable"),
            ({"name": "x" * 201}, "200"),
        ],
    )
    def test_what_is_wrong_stands_on_the_form(
        self, cast: Cast, changed: dict[str, str], message: str
    ) -> None:
        made = invite(cast)
        browser = Browser()
        browser.get(link(made))
        answer = browser.post(own_page(made), {**FORM, **changed})
        assert answer.status_code == 422
        assert message in answer.content.decode()
        assert PASSWORD not in answer.content.decode()
        assert not User.objects.filter(email="dora@example.com").exists()

    def test_with_an_account_signing_in_leads_back(self, cast: Cast) -> None:
        made = invite(cast, "charlie@example.org")
        browser = Browser()
        browser.get(link(made))
        text = browser.get(own_page(made)).content.decode()
        assert f'href="/accounts/login/?next={own_page(made)}"' in text
        assert browser.post(own_page(made), FORM).status_code == 200
        answer = browser.sign_in("charlie@example.org", next=own_page(made))
        assert answer["Location"] == own_page(made)
        assert "Accept the invitation" in browser.get(own_page(made)).content.decode()
        assert browser.post(own_page(made))["Location"] == "/"
        assert "Acme" in browser.get("/").content.decode()
        assert Membership.objects.filter(user=cast.charlie).count() == 2

    def test_somebody_else_signed_in_is_told_and_can_sign_out(self, cast: Cast) -> None:
        made = invite(cast)
        browser = Browser(cast.charlie)
        browser.get(link(made))
        text = browser.get(own_page(made)).content.decode()
        assert "signed in as charlie@example.org, but the invitation is for dora@" in text
        assert browser.post(own_page(made), FORM).status_code == 200
        assert Membership.objects.filter(user=cast.charlie).count() == 1
        (back,) = re.findall(r'name="next" value="(/invitations/[^"]+)"', text)
        answer = browser.post("/accounts/logout/", {"next": back})
        assert answer["Location"] == link(made)
        assert browser.get(back)["Location"] == own_page(made)
        assert "You have no account yet" in browser.get(own_page(made)).content.decode()

    def test_an_account_that_is_switched_off_is_told(self, cast: Cast) -> None:
        off = make_user("off@example.com")
        User.objects.filter(pk=off.pk).update(is_active=False)
        made = invite(cast, "off@example.com")
        browser = Browser()
        browser.get(link(made))
        assert "switched off" in browser.get(own_page(made)).content.decode()

    @pytest.mark.parametrize(
        ("end", "status", "message"),
        [
            ("expire", 410, "has expired"),
            ("resend", 410, "There is a newer link"),
            ("accept", 410, "is accepted already"),
            ("delete", 404, "no such invitation"),
        ],
    )
    def test_a_dead_link_says_why(self, cast: Cast, end: str, status: int, message: str) -> None:
        made = invite(cast)
        browser = Browser()
        browser.get(link(made))
        dead = link(made)
        actor = cast.actor(cast.alice)
        if end == "expire":
            expire(made)
        elif end == "resend":
            resend_invitation(actor=actor, invitation_id=made.pk)
        elif end == "accept":
            join(made)
        else:
            delete_invitation(actor=actor, invitation_id=made.pk)
        for answer in (
            Browser().get(dead),
            browser.get(own_page(made)),
            browser.post(own_page(made), FORM),
        ):
            assert answer.status_code == status
            assert message in answer.content.decode()
        assert User.objects.filter(email="dora@example.com").exists() == (end == "accept")

    def test_who_accepted_goes_on_by_the_same_link(self, cast: Cast) -> None:
        made = invite(cast, "charlie@example.org")
        browser = Browser(cast.charlie)
        browser.get(link(made))
        for _ in range(2):
            assert browser.post(own_page(made))["Location"] == "/"
        assert browser.get(link(made))["Location"] == "/"
        assert Membership.objects.filter(user=cast.charlie).count() == 2

    @pytest.mark.parametrize(
        "token",
        [
            "x",
            "a" * 5000,
            "%00",
            "é",
            f"{uuid.uuid4().hex}{uuid.uuid4().hex}.forged",
            Signer(salt="another", sep=".").sign(uuid.uuid4().hex * 2),
            Signer(salt="orgs.invitations", sep=".").sign(uuid.uuid4().hex * 2),
        ],
        ids=("short", "long", "nul", "not ASCII", "forged", "of another kind", "of nobody"),
    )
    def test_a_made_up_link_is_404(self, db: None, token: str) -> None:
        answer = Browser().get(f"/invitations/{token}/")
        assert answer.status_code == 404

    def test_the_page_without_the_link_shows_nothing(self, cast: Cast) -> None:
        made = invite(cast)
        answer = Browser().get(own_page(made))
        assert answer.status_code == 404
        assert "Acme" not in answer.content.decode()

    def test_the_link_of_one_invitation_opens_no_other(self, cast: Cast) -> None:
        first, second = invite(cast), invite(cast, "x@example.com")
        browser = Browser()
        browser.get(link(first))
        assert browser.get(own_page(second)).status_code == 404
        browser.get(link(second))
        assert browser.get(own_page(first)).status_code == 200

    def test_forms_need_their_token(self, cast: Cast) -> None:
        made = invite(cast)
        browser = Browser(enforce_csrf_checks=True)
        browser.get(link(made))
        assert browser.post(own_page(made), FORM).status_code == 403

    def test_no_log_line_holds_a_link_that_works(
        self, cast: Cast, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.clear()
        caplog.set_level(logging.DEBUG)
        logging.getLogger("django.db.backends").setLevel(logging.INFO)
        made = invite(cast)
        browser = Browser()
        browser.get(link(made))
        browser.post(own_page(made), {**FORM, "again": "no"})
        assert own_page(made) in caplog.text
        assert link_token(made) not in repr(dict(browser.session))
        assert link_token(made) not in caplog.text
        assert made.nonce.hex not in caplog.text

    def test_deleting_the_organization_kills_the_link(self, cast: Cast) -> None:
        other = make_organization(cast.alice, "Short-lived")
        made = create_invitation(
            actor=SYSTEM, organization_id=other.pk, email="x@example.com", roles=[MEMBER]
        )
        Organization.objects.filter(pk=other.pk).delete()
        assert Browser().get(link(made)).status_code == 404
