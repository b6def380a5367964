"""What a directory does to people: bringing them in, changing, suspending and removing them.

A directory speaks for people of its organization's own domains only, and decides about their place
in that organization. The account itself stays the person's: removing somebody deletes no account.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.services import record
from orgs import mail
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import AlreadyExists, FailedPrecondition, InvalidArgument, no_such
from orgs.models import Membership, User
from orgs.permissions import Permission, authorize
from orgs.plans import Entitlement
from orgs.services.accounts import (
    change_email_from_outside,
    end_sessions_from_outside,
    vouch_for_email,
)
from orgs.services.checks import check_email
from orgs.services.members import add_member, reinstate_member, remove_member, suspend_member
from orgs.services.owners import lock_organization
from orgs.services.people import create_user_from_outside
from sso.models import Connection, Identity, ScimUser
from sso.scim.entries import Entry
from sso.selectors.domains import owns_domain_of
from sso.selectors.roles import RoleSpec, mapped, spec_of
from sso.services.roles import apply_exact

SUSPENDED = "The directory set the person inactive"
USER_NAME_LENGTH = 254
EXTERNAL_ID_LENGTH = 255


@transaction.atomic
def create_scim_user(*, actor: Actor, connection: Connection, entry: Entry) -> ScimUser:
    """Bring a person into the organization: the one who has the address, or a new one.

    Without roles in the entry a new member gets the connection's default ones, and who is a member
    already keeps theirs.

    Args:
        actor: the directory (`sso.actors.directory_actor`).

    Raises:
        PermissionDenied: the plan has no directories.
        InvalidArgument: no address, one outside the organization's own domains, or text that is
            too long.
        AlreadyExists: the directory keeps the person, the userName or the externalId already, or
            the address belongs to an account whose owner has not confirmed it.
        QuotaExceeded: the plan has no seat left.
    """
    _lock(actor, connection)
    email = _own_address(connection, entry)
    _check_text(entry)
    _check_user_name(connection, entry)
    user = _find_person(connection, email)
    is_known = user is not None
    if user is None:
        user = create_user_from_outside(actor=actor, email=email, name=entry.name)
        vouch_for_email(user)
    row = ScimUser(
        connection=connection,
        user=user,
        user_name=entry.user_name,
        external_id=entry.external_id,
        active=entry.active is not False,
        attributes={**entry.attributes, "active": entry.active is not False},
    )
    _save(row)
    is_new = add_member(actor=actor, organization_id=connection.organization_id, user=user)
    if is_known and is_new:
        _notify(connection, user)
    specs = _specs(connection, entry)
    if specs or is_new:
        apply_exact(
            actor=actor, connection=connection, user=user, specs=specs or _defaults(connection)
        )
    _set_active(actor, row)
    _record(EventType.SCIM_USER_CREATED, actor, row)
    return row


@transaction.atomic
def update_scim_user(
    *, actor: Actor, connection: Connection, scim_user_id: UUID, entry: Entry
) -> ScimUser:
    """Have the person be as the entry says.

    The account's name, and a place in the organization for who has none any more, take an address
    that is still in the organization's own domains.

    Who does not say whether the person is active leaves that as it is. Another address moves the
    person's account to it, where both are in the organization's own domains. Roles in the entry
    become the person's only ones; an entry that names none any more brings back the connection's
    default ones.

    Raises:
        NotFound: the directory keeps nobody of that id.
        PermissionDenied: the plan has no directories.
        InvalidArgument, AlreadyExists, QuotaExceeded: as `create_scim_user`.
        FailedPrecondition: the account's present address is not in the organization's own domains.
        Aborted: the person is the only owner who can come in, and would be suspended.
    """
    _lock(actor, connection)
    row = _found(connection, scim_user_id)
    before = Entry(row.user_name, row.external_id, row.attributes)
    if entry == before:
        return row
    _check_text(entry)
    _check_user_name(connection, entry, besides=row)
    if entry.email != before.email:
        _move(actor, connection, row.user, _own_address(connection, entry))
    owned = owns_domain_of(connection.organization_id, row.user.email)
    if entry.name and entry.name != before.name and owned:
        row.user.name = entry.name
        row.user.save(update_fields=["name"])
    row.user_name, row.external_id = entry.user_name, entry.external_id
    row.attributes = entry.attributes
    was_active, row.active = row.active, row.active if entry.active is None else entry.active
    row.version += 1
    _save(row)
    # Somebody who left by themselves comes in again once the directory says so.
    is_new = (
        row.active
        and owned
        and add_member(actor=actor, organization_id=connection.organization_id, user=row.user)
    )
    specs = _specs(connection, entry)
    if _is_member(row) and (specs or is_new or _specs(connection, before)):
        apply_exact(
            actor=actor, connection=connection, user=row.user, specs=specs or _defaults(connection)
        )
    if row.active != was_active:
        _set_active(actor, row)
    _record(EventType.SCIM_USER_UPDATED, actor, row, before)
    return row


@transaction.atomic
def delete_scim_user(*, actor: Actor, connection: Connection, scim_user_id: UUID) -> None:
    """Take the person out of the organization and, while their address is in its own domains, sign
    them out everywhere. The account stays.

    The link to the connection's identity provider goes too: who is made anew there may come back.

    Raises:
        NotFound: the directory keeps nobody of that id.
        PermissionDenied: the plan has no directories.
        Aborted: the person is the only owner who can come in.
    """
    _lock(actor, connection)
    row = _found(connection, scim_user_id)
    if _is_member(row):
        remove_member(actor=actor, organization_id=connection.organization_id, user_id=row.user_id)
    if owns_domain_of(connection.organization_id, row.user.email):
        end_sessions_from_outside(actor=actor, user=row.user)
    for identity in Identity.objects.filter(connection=connection, user=row.user):
        record(
            EventType.SSO_IDENTITY_UNLINKED,
            actor=actor,
            organization_id=connection.organization_id,
            resource=("user", row.user_id, row.user.email),
            detail={"connection_id": str(connection.pk)},
        )
        identity.delete()
    _record(EventType.SCIM_USER_DELETED, actor, row)
    row.delete()


def _lock(actor: Actor, connection: Connection) -> None:
    what = f"connection {connection.pk}"
    pk = connection.organization_id
    authorize(actor, Permission.MEMBER_UPDATE, organization_id=pk, what=what)
    organization = lock_organization(pk)
    if organization is None:
        raise no_such(what)
    require(organization, Entitlement.SCIM)


def _found(connection: Connection, scim_user_id: UUID) -> ScimUser:
    rows = ScimUser.objects.select_for_update(of=("self",)).select_related("user")
    row = rows.filter(connection=connection, pk=scim_user_id).first()
    if row is None:
        raise no_such(f"User {scim_user_id}")
    return row


def _own_address(connection: Connection, entry: Entry) -> str:
    """The entry's address, which has to be in a domain that the organization owns."""
    if not entry.email:
        raise InvalidArgument(
            f"userName {entry.user_name[:80]!r} is no e-mail address, and emails has none: people"
            " are known by their address here. Send it as userName."
        )
    email = check_email(entry.email)
    if not owns_domain_of(connection.organization_id, email):
        raise InvalidArgument(
            f"{email} is not in a domain that the organization has proven to own. Send people of"
            " its own domains only, or add the domain and its DNS record first."
        )
    return email


def _check_text(entry: Entry) -> None:
    for name, text, limit in (
        ("userName", entry.user_name, USER_NAME_LENGTH),
        ("externalId", entry.external_id, EXTERNAL_ID_LENGTH),
    ):
        if len(text) > limit or not text.isprintable():
            raise InvalidArgument(
                f"{name} {text[:40]!r} has to have at most {limit} printable characters."
            )


def _check_user_name(connection: Connection, entry: Entry, besides: ScimUser | None = None) -> None:
    rows = ScimUser.objects.filter(connection=connection, user_name__iexact=entry.user_name)
    if besides is not None:
        rows = rows.exclude(pk=besides.pk)
    if rows.exists():
        raise AlreadyExists(f"There is a User with the userName {entry.user_name!r} already.")


def _find_person(connection: Connection, email: str) -> User | None:
    """Who has the address; None: nobody."""
    user = User.objects.filter(email=email).first()
    if user is None:
        return None
    kept = ScimUser.objects.filter(connection__organization=connection.organization_id, user=user)
    if kept.filter(connection=connection).exists():
        raise AlreadyExists(f"There is a User with the address {email} already.")
    if kept.filter(connection__scim_enabled=True).exists():
        raise AlreadyExists(
            f"Another directory of the organization keeps the person with the address {email}."
            " Remove them there first."
        )
    if not EmailAddress.objects.filter(user=user, email=email, verified=True).exists():
        # Somebody could have made the account to have it taken over by who owns the address.
        raise AlreadyExists(
            f"There is an account with the address {email} that was never confirmed. Have the"
            " person confirm it by the link in the mail, or the operator delete the account."
        )
    return user


def _move(actor: Actor, connection: Connection, user: User, email: str) -> None:
    if user.email == email:
        return
    if not owns_domain_of(connection.organization_id, user.email):
        raise FailedPrecondition(
            "The account of this person has an address now that is not in a domain of the"
            " organization, so the directory can't change it. Remove this User and create another"
            " one with the new address."
        )
    change_email_from_outside(actor=actor, user=user, email=email)


def _save(row: ScimUser) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise AlreadyExists(
            f"There is a User with the userName {row.user_name!r} or the externalId"
            f" {row.external_id!r} already."
        ) from error


def _specs(connection: Connection, entry: Entry) -> Collection[RoleSpec]:
    return mapped(connection, entry.role_values)


def _defaults(connection: Connection) -> Collection[RoleSpec]:
    rows = map(spec_of, connection.default_project_roles)
    return frozenset({RoleSpec(connection.default_role), *rows})


def _is_member(row: ScimUser) -> bool:
    return Membership.objects.filter(
        organization_id=row.connection.organization_id, user_id=row.user_id
    ).exists()


def _set_active(actor: Actor, row: ScimUser) -> None:
    organization_id = row.connection.organization_id
    if row.active:
        reinstate_member(actor=actor, organization_id=organization_id, user=row.user)
    elif _is_member(row):
        suspend_member(
            actor=actor, organization_id=organization_id, user=row.user, reason=SUSPENDED
        )


def _notify(connection: Connection, user: User) -> None:
    organization = connection.organization
    mail.send(
        to=user.email,
        subject=f"You are now a member of {organization.name}",
        text=(
            f"The directory of {organization.name} has made you a member of it, with the account"
            f" that you have already ({user.email}).\n\nYour address is in a domain that belongs to"
            f" {organization.name}. If you don't expect this, ask its administrators.\n"
        ),
    )


def _record(event: EventType, actor: Actor, row: ScimUser, before: Entry | None = None) -> None:
    changes = {}
    if before is not None:
        pairs = {
            "user_name": (before.user_name, row.user_name),
            "external_id": (before.external_id, row.external_id),
            "enabled": (before.active, row.attributes.get("active")),
            "roles": (
                list(before.role_values),
                list(Entry(row.user_name, "", row.attributes).role_values),
            ),
        }
        changes = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    record(
        event,
        actor=actor,
        organization_id=row.connection.organization_id,
        resource=("scim_user", row.pk, row.user_name),
        permission=Permission.MEMBER_UPDATE.value,
        detail={
            "connection_id": str(row.connection_id),
            "user_id": str(row.user_id),
            "email": row.user.email,
        },
        changes=changes,
    )
