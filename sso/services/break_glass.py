"""Coming in without the identity provider: who is named for it, and each single use.

A named owner comes in alone, any other one with the approval of a second owner. Both show password
and second factor; who calls `request_access`, `begin_access` or, outside of a session,
`approve_access` has seen them just now.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs import mail
from orgs.actors import Actor, system
from orgs.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    no_such,
)
from orgs.models import Organization, User
from orgs.permissions import Permission, authorize
from orgs.selectors.owners import owners_in_force
from orgs.services.accounts import end_session
from orgs.services.checks import check_text
from orgs.services.owners import keeping_an_owner, lock_organization
from sso.models import BreakGlassAccess, BreakGlassOwner
from sso.notices import mail_owners
from sso.selectors.break_glass import able_owners, has_a_way, is_backed, is_required
from sso.services.changing import organization_to_change

LASTS = timedelta(hours=1)
APPROVABLE = timedelta(hours=1)
REASON_LENGTH = 500


@transaction.atomic
def name_owner(*, actor: Actor, organization_id: UUID, user_id: UUID) -> BreakGlassOwner:
    """Let an owner come in by password and second factor alone.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        FailedPrecondition: the person is no owner, or lacks password or second factor.
        AlreadyExists: the owner is named already.
    """
    organization = organization_to_change(actor, organization_id)
    user = User.objects.filter(pk=user_id, memberships__organization=organization).first()
    if user is None:
        raise no_such(f"user {user_id}")
    if user.pk not in owners_in_force(organization_id):
        raise FailedPrecondition(
            f"{user.email} is no owner of {organization.name}. Only owners can be named for"
            " emergencies; make the person an owner first."
        )
    if not able_owners(organization_id).filter(pk=user.pk).exists():
        raise FailedPrecondition(
            f"{user.email} has no password, or no second factor, and could not come in by them."
            " Both are set up on the person's own security page, before single sign-on is required."
        )
    row, is_new = BreakGlassOwner.objects.get_or_create(
        organization=organization, user=user, defaults={"named_by": actor.label}
    )
    if not is_new:
        raise AlreadyExists(f"{user.email} is named already.")
    _record_owner(EventType.BREAK_GLASS_OWNER_ADDED, actor, organization, user)
    mail_owners(
        organization_id,
        subject=f"{user.email} can come in without single sign-on",
        text=f"{actor.label} named {user.email} as an owner of {organization.name} who comes in by"
        " password and second factor in an emergency. Every use is mailed to all owners.\n",
    )
    return row


@transaction.atomic
def remove_owner(*, actor: Actor, organization_id: UUID, user_id: UUID) -> None:
    """Take the owner off the list, which also ends an access that this one is in by.

    Raises:
        NotFound: the actor may not see it, or the person is not named.
        PermissionDenied, ReauthenticationRequired: the actor may not.
        Aborted: single sign-on is required, and afterwards nobody could come in without it.
    """
    organization = organization_to_change(actor, organization_id)
    with keeping_an_owner(organization_id):
        rows = BreakGlassOwner.objects.select_related("user").filter(organization=organization)
        row = rows.filter(user_id=user_id).first()
        if row is None:
            raise no_such(f"user {user_id}")
        row.delete()
        if is_required(organization_id) and not has_a_way(organization_id):
            raise Aborted(
                f"Single sign-on is required, and without {row.user.email} nobody could come in"
                " while the identity provider is down. Name another owner first."
            )
    _record_owner(EventType.BREAK_GLASS_OWNER_REMOVED, actor, organization, row.user)


@transaction.atomic
def request_access(
    *, actor: Actor, organization_id: UUID, reason: str, is_drill: bool = False
) -> BreakGlassAccess:
    """Ask to come in. A named owner's access can begin at once (`is_backed`); every other one's
    when a second owner approved it, and asking again finds the same one.

    Raises:
        NotFound: there is no such organization, or the actor may not know of it.
        PermissionDenied: the actor is no owner with password and second factor.
        InvalidArgument: no reason is given, or it is too long.
        FailedPrecondition: single sign-on is not required; or it is, and somebody exercises.
    """
    organization = organization_to_change(actor, organization_id)
    user = _able_owner(actor, organization)
    _check_kind(organization, is_drill=is_drill)
    now = timezone.now()
    waiting = BreakGlassAccess.objects.filter(
        organization=organization,
        user=user,
        is_drill=is_drill,
        began_at=None,
        ended_at=None,
        expires_at__gt=now,
    ).first()
    if waiting is not None:
        return waiting
    reason = check_text(" ".join(reason.split()), "reason", limit=REASON_LENGTH)
    if not reason:
        raise InvalidArgument("Say why single sign-on can't be used; all owners read it.")
    access = BreakGlassAccess.objects.create(
        organization=organization,
        user=user,
        reason=reason,
        is_drill=is_drill,
        expires_at=now + APPROVABLE,
    )
    if not is_backed(access):
        _record(EventType.BREAK_GLASS_REQUESTED, actor, access)
        _ask_for_approval(access)
    return access


@transaction.atomic
def approve_access(*, actor: Actor, access_id: UUID) -> BreakGlassAccess:
    """Let another owner in. The access begins when that owner comes back.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not, is no owner, or is
            the one who asks.
        FailedPrecondition: it is approved already, or its time is over.
    """
    access = _locked(access_id)
    authorize(
        actor,
        Permission.SSO_MANAGE,
        organization_id=access.organization_id,
        what=f"access {access_id}",
    )
    approver = _owner(actor, access.organization)
    if approver.pk == access.user_id:
        raise PermissionDenied("Another owner has to approve this access, not the one who asks.")
    if is_backed(access) or access.began_at or access.ended_at:
        raise FailedPrecondition("This access is approved, or over, already.")
    if access.expires_at <= timezone.now():
        raise FailedPrecondition("Nobody approved this access in time. Have it asked for anew.")
    access.approved_by = approver
    access.expires_at = timezone.now() + APPROVABLE
    access.save(update_fields=["approved_by", "expires_at"])
    _record(EventType.BREAK_GLASS_APPROVED, actor, access)
    mail.send(
        to=access.user.email,
        subject=f"You can come into {access.organization.name}",
        text=(
            f"{approver.email} approved your access. Come in within an hour:\n{_page()}\n\n"
            "It lasts for an hour.\n"
        ),
    )
    return access


@transaction.atomic
def begin_access(*, actor: Actor, access_id: UUID) -> BreakGlassAccess:
    """Come in, until `expires_at`. An exercise is over at once: it lets nobody in.

    Raises:
        NotFound: the access is somebody else's.
        PermissionDenied: the actor is no owner with password and second factor any more.
        FailedPrecondition: it is not approved, it began before, or its time is over.
    """
    access = _locked(access_id)
    if actor.id != str(access.user_id):
        raise no_such(f"access {access_id}")
    authorize(
        actor,
        Permission.SSO_MANAGE,
        organization_id=access.organization_id,
        what=f"access {access_id}",
    )
    _able_owner(actor, access.organization)
    _check_kind(access.organization, is_drill=access.is_drill)
    now = timezone.now()
    if access.began_at or access.ended_at or access.expires_at <= now:
        raise FailedPrecondition("This access is over. Ask for another one.")
    if not is_backed(access):
        raise FailedPrecondition("No other owner has approved this access yet.")
    access.began_at = now
    access.expires_at = now if access.is_drill else now + LASTS
    access.ended_at = now if access.is_drill else None
    access.save(update_fields=["began_at", "expires_at", "ended_at"])
    _record(EventType.BREAK_GLASS_USED, actor, access, until=access.expires_at.isoformat())
    _tell_of_use(access)
    return access


def note_session(*, access: BreakGlassAccess, session_key: str) -> None:
    """Keep which session the access opened: it ends with the access."""
    BreakGlassAccess.objects.filter(pk=access.pk).update(session_key=session_key)


@transaction.atomic
def end_access(*, actor: Actor, access_id: UUID) -> None:
    """End an access before its time, with the session that it opened; or refuse one that waits.

    The person does so for themselves, and every owner for all. One that is over stays as it is.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
    """
    access = _locked(access_id)
    if actor.kind != "user" or actor.id != str(access.user_id):
        authorize(
            actor,
            Permission.SSO_MANAGE,
            organization_id=access.organization_id,
            what=f"access {access_id}",
        )
        if not actor.is_system:
            _owner(actor, access.organization)
    now = timezone.now()
    if access.ended_at or access.expires_at <= now:
        return
    access.ended_at = now
    access.save(update_fields=["ended_at"])
    _record(EventType.BREAK_GLASS_ENDED, actor, access)
    session = UserSession.objects.filter(user=access.user, session_key=access.session_key).first()
    if access.session_key and session is not None:
        end_session(actor=system("emergency access"), user=access.user, session_id=session.pk)


def _locked(access_id: UUID) -> BreakGlassAccess:
    """The access, while nobody else changes it or who owns its organization.

    Raises:
        NotFound: there is none of that id.
    """
    rows = BreakGlassAccess.objects.select_related("organization", "user", "approved_by")
    found = rows.filter(pk=access_id).first()
    if found is not None:
        lock_organization(found.organization_id)
        found = rows.filter(pk=access_id).first()
    if found is None:
        raise no_such(f"access {access_id}")
    return found


def _owner(actor: Actor, organization: Organization) -> User:
    """The owner who acts.

    Raises:
        PermissionDenied: it is none.
    """
    owners = owners_in_force(organization.pk)
    found = User.objects.filter(pk=actor.id).first() if actor.kind == "user" else None
    if found is None or found.pk not in owners:
        raise PermissionDenied(f"Only owners of {organization.name} do this.")
    return found


def _able_owner(actor: Actor, organization: Organization) -> User:
    """The owner who acts, if it is one with password and second factor.

    Raises:
        PermissionDenied: it is none.
    """
    found = _owner(actor, organization)
    if not able_owners(organization.pk).filter(pk=found.pk).exists():
        raise PermissionDenied(
            "Coming in without single sign-on takes a password and a second factor."
        )
    return found


def _check_kind(organization: Organization, *, is_drill: bool) -> None:
    """Whether this is the time for it: an exercise before, the real thing afterwards.

    Raises:
        FailedPrecondition: it is not.
    """
    required = is_required(organization.pk)
    if is_drill and required:
        raise FailedPrecondition(
            f"{organization.name} requires single sign-on already, so there is nothing to exercise."
            " Come in for real if you have to."
        )
    if not is_drill and not required:
        raise FailedPrecondition(
            f"{organization.name} does not require single sign-on. Sign in as usual, or exercise"
            " the emergency."
        )


def _page() -> str:
    return settings.TAMARACK_PUBLIC_URL + reverse("sso:break_glass")


def _record_owner(event: EventType, actor: Actor, organization: Organization, user: User) -> None:
    record(
        event,
        actor=actor,
        organization_id=organization.pk,
        resource=("user", user.pk, user.email),
        permission=Permission.SSO_MANAGE,
        detail={"email": user.email},
    )


def _record(event: EventType, actor: Actor, access: BreakGlassAccess, **more: object) -> None:
    record(
        event,
        actor=actor,
        organization_id=access.organization_id,
        resource=("break_glass_access", access.pk, access.user.email),
        detail={
            "email": access.user.email,
            "is_drill": access.is_drill,
            "reason": access.reason,
            **more,
        },
    )


def _ask_for_approval(access: BreakGlassAccess) -> None:
    signed_in = settings.TAMARACK_PUBLIC_URL + reverse("sso:break_glass_access", args=[access.pk])
    what = "exercise coming" if access.is_drill else "come"
    mail_owners(
        access.organization_id,
        subject=f"{access.user.email} asks to come in without single sign-on",
        text=f"{access.user.email} asks to {what} into {access.organization.name} without single"
        f" sign-on, for an hour. The reason given: {access.reason}\n\n"
        "If you know that it is really this person, approve within an hour. Signed in:\n"
        f"{signed_in}\n\n"
        f"Not signed in, by password and second factor:\n{_page()}?approve={access.pk}\n\n"
        "If not, do nothing, and change what that person's sign-in depends on.\n",
    )


def _tell_of_use(access: BreakGlassAccess) -> None:
    approved = f" {access.approved_by.email} approved it." if access.approved_by else ""
    if access.is_drill:
        subject = f"{access.user.email} exercised the emergency access"
        text = (
            f"{access.user.email} exercised coming into {access.organization.name} without single"
            f" sign-on.{approved} The reason given: {access.reason}\n"
        )
    else:
        subject = f"{access.user.email} came in without single sign-on"
        text = (
            f"{access.user.email} is in {access.organization.name} without single sign-on until"
            f" {access.expires_at:%d %B %Y, %H:%M} UTC.{approved} The reason given:"
            f" {access.reason}\n\n"
            "Every owner can end it at once under Single sign-on, Emergency access.\n"
        )
    mail_owners(access.organization_id, subject=subject, text=text)
