"""What a believed answer of an identity provider leads to: somebody is let in, or not.

Only the organization that owns the domain of a person's address may sign that person in
(`admit`). Every other one lets people who are signed in already into itself (`enter`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.entitlements import has
from orgs.errors import AlreadyExists, InvalidArgument, QuotaExceeded
from orgs.models import Invitation, Membership, User
from orgs.plans import Entitlement
from orgs.selectors.invitations import pending
from orgs.services.invitations import InvitationOver, accept_invitation
from orgs.services.members import add_member
from orgs.services.owners import lock_organization
from orgs.services.people import create_user_from_outside
from sso.actors import idp_actor
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection, Identity, Purpose, SignInRequest
from sso.services.attempts import OK, Visitor, record_attempt
from sso.services.linking import find_identity, follow_email, link, owns
from sso.services.requests import until_of
from sso.services.roles import Preview, apply_exact, preview, sync_roles

NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class LetIn:
    """Somebody whom the identity provider lets in.

    Attributes:
        until: how long.
        opens_sessions: whether that signs the person in; otherwise it is a grant for a session
            that there is already.
        notes: what is worth a line in the sign-in log.
    """

    connection: Connection
    user: User
    until: datetime
    opens_sessions: bool
    notes: tuple[str, ...] = ()
    is_new_person: bool = False
    is_new_member: bool = False


def check_usable(connection: Connection, purpose: str) -> None:
    """Let pass where the connection's state and the organization's plan allow a sign-in.

    Where single sign-on is required, nobody could come in to change the plan: there it goes on.

    Raises:
        SignInRefused: they don't.
    """
    states = Connection.State
    usable = {states.ACTIVE, states.ENFORCED}
    if purpose == Purpose.TEST:
        usable.add(states.TESTING)
    if connection.state not in usable:
        raise SignInRefused(
            Code.NOT_ACTIVE, f"The connection is in the state {connection.get_state_display()!r}."
        )
    if connection.state != states.ENFORCED and not has(connection.organization, Entitlement.SSO):
        raise SignInRefused(
            Code.NOT_ENTITLED, "The organization's plan does not include single sign-on any more."
        )


def sign_in(row: SignInRequest, assertion: VerifiedAssertion, *, visitor: Visitor) -> LetIn:
    """Let the person in whom the identity provider names: find or make the account and the place,
    and give the roles.

    Raises:
        SignInRefused: nobody is let in, and nothing has changed; but where the identity provider
            names no role any more, a member has lost theirs.
    """
    with _taking_roles(row, assertion, visitor):
        return _sign_in(row, assertion, visitor)


@contextmanager
def _taking_roles(
    row: SignInRequest, assertion: VerifiedAssertion, visitor: Visitor
) -> Iterator[None]:
    """Where a sign-in is refused because there is no role for the person any more, take those that
    the person holds: the refusal has undone everything, and other ways in may be open.
    """
    try:
        yield
    except SignInRefused as refused:
        if refused.code == Code.NO_ROLES:
            _take_roles(row, assertion, visitor)
        raise


@transaction.atomic
def _take_roles(row: SignInRequest, assertion: VerifiedAssertion, visitor: Visitor) -> None:
    connection = locked_connection(row)
    identity = find_identity(connection, assertion)
    places = Membership.objects.filter(organization_id=connection.organization_id)
    if identity is not None and places.filter(user=identity.user).exists():
        actor = _actor(connection, visitor)
        apply_exact(actor=actor, connection=connection, user=identity.user, specs=())


@transaction.atomic
def _sign_in(row: SignInRequest, assertion: VerifiedAssertion, visitor: Visitor) -> LetIn:
    connection = locked_connection(row)
    found = _admit(connection, assertion, visitor)
    record_attempt(
        connection,
        Purpose.SIGN_IN,
        OK,
        " ".join(found.notes),
        assertion=assertion,
        user=found.user,
        visitor=visitor,
    )
    return found


def enter(
    row: SignInRequest,
    assertion: VerifiedAssertion,
    user: User,
    *,
    may_link: bool,
    visitor: Visitor,
) -> LetIn:
    """Let somebody who is signed in into the organization, too, or note a fresh proof of theirs.

    `may_link`: the person was asked, and has said that both are them.

    Raises:
        SignInRefused: the person is no member, or came back as somebody else; nothing has changed
            but what `sign_in` says of roles.
    """
    with _taking_roles(row, assertion, visitor):
        return _enter(row, assertion, user, may_link=may_link, visitor=visitor)


@transaction.atomic
def _enter(
    row: SignInRequest,
    assertion: VerifiedAssertion,
    user: User,
    *,
    may_link: bool,
    visitor: Visitor,
) -> LetIn:
    connection = locked_connection(row)
    actor = _actor(connection, visitor)
    identity = find_own_identity(connection, assertion, user)
    _check_place(connection, user)
    if identity is None:
        if not may_link:
            raise SignInRefused(
                Code.REQUEST_OVER, "The link was taken away while the person came back."
            )
        opens = assertion.email == user.email and owns(connection, user.email, routed=True)
        identity = link(actor, connection, assertion, user, opens_sessions=opens)
    notes = _roles(actor, connection, user, assertion, is_first=False)
    _note_sign_in(identity)
    record(
        EventType.SIGNED_IN,
        actor=_person(user, visitor),
        organization_id=connection.organization_id,
        resource=("user", user.pk, user.email),
        detail={"kind": "sso", "connection_id": str(connection.pk)},
    )
    record_attempt(
        connection,
        Purpose.ENTER,
        OK,
        " ".join(notes),
        assertion=assertion,
        user=user,
        visitor=visitor,
    )
    return LetIn(
        connection=connection,
        user=user,
        until=until_of(connection, assertion),
        opens_sessions=identity.opens_sessions and owns(connection, user.email),
        notes=notes,
    )


def find_own_identity(
    connection: Connection, assertion: VerifiedAssertion, user: User
) -> Identity | None:
    """The person's identity at the connection; None: they may link it now, after they were asked.

    Raises:
        SignInRefused: the identity provider speaks of somebody else.
    """
    identity = find_identity(connection, assertion)
    if identity is not None:
        if identity.user_id != user.pk:
            raise SignInRefused(
                Code.OTHER_PERSON,
                f"The identity provider says {assertion.uid!r}, who is {identity.user.email};"
                f" {user.email} is signed in.",
            )
        return identity
    same = assertion.email == user.email
    somebody_else = User.objects.filter(email=assertion.email).exclude(pk=user.pk)
    if not same and (owns(connection, user.email) or somebody_else.exists()):
        raise SignInRefused(
            Code.OTHER_PERSON,
            f"The identity provider says {assertion.email}; {user.email} is signed in.",
        )
    return None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a sign-in with an assertion would do.

    Attributes:
        roles: what it would give.
    """

    let_in: LetIn
    roles: Preview


@transaction.atomic
def rehearse(
    connection: Connection, assertion: VerifiedAssertion, *, visitor: Visitor
) -> Rehearsal:
    """Do everything that a sign-in does, look, and undo it all.

    Raises:
        SignInRefused: nobody would be let in.
    """
    with transaction.atomic():
        found = _admit(connection, assertion, visitor)
        roles = preview(connection, assertion, is_first=found.is_new_member)
        transaction.set_rollback(True)
    return Rehearsal(found, roles)


def locked_connection(row: SignInRequest) -> Connection:
    """The connection as it is now, while nobody changes the organization's people.

    Raises:
        SignInRefused: it is not usable any more, or was changed since the person left.
    """
    organization = lock_organization(row.connection.organization_id)
    connection = Connection.objects.filter(pk=row.connection_id).first()
    if organization is None or connection is None:
        raise SignInRefused(Code.NOT_ACTIVE, "The connection is gone.")
    connection.organization = organization
    check_usable(connection, row.purpose)
    if connection.config_version != row.config_version:
        raise SignInRefused(
            Code.REQUEST_OVER,
            "The connection was changed while the person was at the identity provider.",
        )
    return connection


def _admit(connection: Connection, assertion: VerifiedAssertion, visitor: Visitor) -> LetIn:
    actor = _actor(connection, visitor)
    until = until_of(connection, assertion)
    identity = find_identity(connection, assertion)
    invitation = None
    is_new_person = False
    if identity is not None:
        user = identity.user
        _check_owned(connection, assertion, identity)
        follow_email(actor, connection, assertion, user)
    else:
        if not owns(connection, assertion.email, routed=True):
            raise SignInRefused(
                Code.DOMAIN_NOT_OWNED,
                f"{assertion.email} is in no domain that the organization has proven to own and"
                " that this connection serves.",
            )
        found = User.objects.filter(email=assertion.email).first()
        is_new_person = found is None
        user = found or _make_person(actor, connection, assertion)
        _check_account(user)
        identity = link(
            actor,
            connection,
            assertion,
            user,
            opens_sessions=True,
            is_new_person=is_new_person,
        )
    if not user.is_active:
        raise SignInRefused(Code.SUSPENDED, f"The account {user.email} is switched off.")
    membership = Membership.objects.filter(
        organization_id=connection.organization_id, user=user
    ).first()
    if membership is None:
        invitation = _invitation(connection, user.email)
        _give_place(actor, connection, user, invitation, visitor)
    elif membership.suspended_at is not None:
        raise SignInRefused(Code.SUSPENDED, f"The place of {user.email} is suspended.")
    notes = _roles(
        actor,
        connection,
        user,
        assertion,
        is_first=membership is None and invitation is None,
    )
    _note_sign_in(identity)
    return LetIn(
        connection=connection,
        user=user,
        until=until,
        opens_sessions=True,
        notes=notes,
        is_new_person=is_new_person,
        is_new_member=membership is None,
    )


def _check_owned(connection: Connection, assertion: VerifiedAssertion, identity: Identity) -> None:
    """Whether the organization owns the person's address, both as it is here and as the identity
    provider says it.

    Raises:
        SignInRefused: it does not, so it lets nobody in but itself.
    """
    email = identity.user.email
    if not identity.opens_sessions and email == assertion.email:
        # Linked as a guest before the organization owned the domain.
        identity.opens_sessions = owns(connection, email, routed=True)
        identity.save(update_fields=["opens_sessions"])
    if not identity.opens_sessions:
        raise SignInRefused(
            Code.DOMAIN_NOT_OWNED,
            f"{email} belongs to another organization's domain, or to none: the person signs in"
            " elsewhere first, and then enters this organization.",
        )
    for address in dict.fromkeys((email, assertion.email)):
        if not owns(connection, address):
            raise SignInRefused(
                Code.DOMAIN_NOT_OWNED,
                f"{address} is in no domain that the organization has proven to own.",
            )


def _check_account(user: User) -> None:
    """Whether an account that is found by its address may be linked.

    Raises:
        SignInRefused: nobody has proven that the address is theirs.
    """
    if not EmailAddress.objects.filter(user=user, email=user.email, verified=True).exists():
        raise SignInRefused(
            Code.IDENTITY_CONFLICT, f"The account {user.email} has not proven its address."
        )


def _make_person(actor: Actor, connection: Connection, assertion: VerifiedAssertion) -> User:
    _check_provisions(connection, assertion.email)
    try:
        return create_user_from_outside(
            actor=actor, email=assertion.email, name=assertion.name[:NAME_LENGTH]
        )
    except InvalidArgument as error:
        raise SignInRefused(Code.INVALID_RESPONSE, error.message) from error
    except AlreadyExists as error:
        # Somebody made it at this very moment; next time it is found.
        raise SignInRefused(Code.REQUEST_OVER, error.message) from error


def _check_provisions(connection: Connection, email: str) -> None:
    if not connection.provisions_people and _invitation(connection, email) is None:
        raise SignInRefused(
            Code.NOT_PROVISIONED,
            f"{email} has no place in the organization and no invitation, and the connection makes"
            " none.",
        )


def _invitation(connection: Connection, email: str) -> Invitation | None:
    """The invitation that waits for the address, if it is not over."""
    return pending(connection.organization_id).filter(email=email).first()


def _give_place(
    actor: Actor,
    connection: Connection,
    user: User,
    invitation: Invitation | None,
    visitor: Visitor,
) -> None:
    """A place in the organization: the one that waits, roles included, or a new one.

    Raises:
        SignInRefused: none is to be had.
    """
    _check_provisions(connection, user.email)
    try:
        if invitation is not None:
            person = _person(user, visitor)
            accept_invitation(actor=person, invitation_id=invitation.pk, nonce=invitation.nonce)
        else:
            add_member(actor=actor, organization_id=connection.organization_id, user=user)
    except QuotaExceeded as error:
        raise SignInRefused(Code.NO_SEAT, error.message) from error
    except InvitationOver as error:
        raise SignInRefused(Code.REQUEST_OVER, error.message) from error


def _check_place(connection: Connection, user: User) -> None:
    membership = Membership.objects.filter(
        organization_id=connection.organization_id, user=user
    ).first()
    if membership is None:
        raise SignInRefused(Code.NOT_PROVISIONED, f"{user.email} is no member.")
    if membership.suspended_at is not None or not user.is_active:
        raise SignInRefused(Code.SUSPENDED, f"The place of {user.email} is suspended.")


def _roles(
    actor: Actor,
    connection: Connection,
    user: User,
    assertion: VerifiedAssertion,
    *,
    is_first: bool,
) -> tuple[str, ...]:
    return sync_roles(
        actor=actor, connection=connection, user=user, assertion=assertion, is_first=is_first
    )


def _note_sign_in(identity: Identity) -> None:
    identity.last_sign_in_at = timezone.now()
    identity.save(update_fields=["last_sign_in_at"])


def _person(user: User, visitor: Visitor) -> Actor:
    return Actor(
        kind="user",
        id=str(user.pk),
        label=user.email,
        ip=visitor.ip,
        request_id=visitor.request_id,
    )


def _actor(connection: Connection, visitor: Visitor) -> Actor:
    return idp_actor(connection, ip=visitor.ip, request_id=visitor.request_id)
