"""Connections to identity providers: making, changing, switching on and off, deleting."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction

from audit.events import EventType
from kms.installation import provider
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import FailedPrecondition, InvalidArgument, QuotaExceeded
from orgs.plans import Entitlement
from orgs.services.checks import VersionCheck, any_version
from orgs.services.owners import keeping_an_owner
from rest.wording import shown
from sso.checks import DECIDING, check_connection_name, checked_fields
from sso.models import Connection, SpKey
from sso.selectors.connections import missing_for_sign_in
from sso.services.changing import connection_to_change, organization_to_change
from sso.services.enforcement import relax
from sso.services.roles import check_default_roles, check_mappings, check_roles_mode
from sso.services.sessions import end_sessions_of
from sso.services.sp_keys import new_sp_key
from sso.trail import forget_people, record_change, save_change

MAX_CONNECTIONS = 10
_PROVIDER = ("idp_entity_id", "issuer")
"""What says which identity provider it is."""
Protocol, State = Connection.Protocol, Connection.State
ALLOWED: Mapping[Connection.State, frozenset[Connection.State]] = {
    State.DRAFT: frozenset({State.TESTING, State.DISABLED}),
    State.TESTING: frozenset({State.DRAFT, State.ACTIVE, State.DISABLED}),
    State.ACTIVE: frozenset({State.TESTING, State.DISABLED}),
    State.DISABLED: frozenset({State.DRAFT, State.TESTING, State.ACTIVE}),
}
"""From which state to which. Requiring sign-on is a service of its own (`enforcement.enforce`)."""


def create_connection(
    *, actor: Actor, organization_id: UUID, name: str, protocol: str = Protocol.SAML
) -> Connection:
    """A draft, and our first key pair for it where it speaks SAML.

    Raises:
        NotFound: there is no such organization.
        PermissionDenied: the actor may not configure single sign-on there, or the plan has none.
        QuotaExceeded: the organization has 10 connections.
        InvalidArgument: a name that breaks its rule, or an unknown protocol.
    """
    if protocol not in Protocol.values:
        raise InvalidArgument(
            f"The protocol has to be one of {', '.join(Protocol.values)}, not {shown(protocol)}."
        )
    connection = Connection(
        organization_id=organization_id,
        name=check_connection_name(name),
        protocol=protocol,
    )
    with transaction.atomic():
        organization = organization_to_change(actor, organization_id)
        require(organization, Entitlement.SSO)
        connection.organization = organization
        if Connection.objects.filter(organization=organization).count() >= MAX_CONNECTIONS:
            raise QuotaExceeded(
                f"An organization has at most {MAX_CONNECTIONS} connections. Delete one first."
            )
        connection.save(force_insert=True)
        if protocol == Protocol.SAML:
            new_sp_key(connection, SpKey.State.CURRENT).save(force_insert=True)
        record_change(
            EventType.SSO_CONNECTION_CREATED, actor, connection, detail={"protocol": protocol}
        )
    return connection


@transaction.atomic
def update_connection(
    *,
    actor: Actor,
    connection_id: UUID,
    changes: Mapping[str, object],
    check: VersionCheck = any_version,
) -> Connection:
    """Change fields of a connection; which there are says `sso.checks`.

    Another entity ID or issuer is another identity provider: whom the one before named is linked no
    more. Another issuer needs the client secret with it: the one at hand is for the issuer that it
    was given for, and goes nowhere else.

    Args:
        changes: field to value; `client_secret` among them, which is kept wrapped.
        check: raises where the version is not the one that the actor has seen; asked under a lock.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection, gives a role that
            can do more than the actor, or the plan has no roles from the identity provider.
        InvalidArgument: a field that is unknown or breaks its rule.
        FailedPrecondition: people sign in by it, or test it, and would not be able to any more; or
            they sign in by it, and it would be with another identity provider.
        AlreadyExists: another connection of the organization has the entity ID.
    """
    connection = connection_to_change(actor, connection_id)
    check(connection.version)
    values = checked_fields(connection, changes)
    _check_roles(actor, connection, values)
    before = _facts(connection)
    secret_given = "client_secret" in values
    secret = str(values.pop("client_secret", ""))
    if values.get("issuer", connection.issuer) != connection.issuer and not secret_given:
        secret_given, secret = True, ""
    for name, value in values.items():
        setattr(connection, name, value)
    if secret_given:
        connection.wrapped_client_secret = wrapped_client_secret(connection, secret)
    if values.get("metadata_url", before.get("metadata_url")) != before.get("metadata_url"):
        # The schedule fetches it soon.
        connection.metadata_fetched_at = connection.metadata_tried_at = None
        connection.metadata_error = ""
    after = _facts(connection)
    changed = {name: (before[name], after[name]) for name in after if before[name] != after[name]}
    if secret_given:
        changed["client_secret"] = ("", "")
    if not changed:
        return connection
    _check_stays_complete(connection)
    _check_stays_the_same(connection, changed)
    save_change(connection, decides=bool(changed.keys() & DECIDING))
    record_change(EventType.SSO_CONNECTION_UPDATED, actor, connection, changes=changed)
    return connection


def _check_roles(actor: Actor, connection: Connection, values: dict[str, object]) -> None:
    """Check the roles among the values by what the actor holds, and put them as they are kept."""
    pk = connection.organization_id
    if values.keys() & {"default_role", "default_project_roles"}:
        values["default_role"], values["default_project_roles"] = check_default_roles(
            actor,
            pk,
            values.get("default_role", connection.default_role),
            values.get("default_project_roles", connection.default_project_roles),
        )
    if "role_mappings" in values:
        values["role_mappings"] = check_mappings(actor, pk, values["role_mappings"])
    if values.get("roles_mode", connection.roles_mode) != connection.roles_mode:
        values["roles_mode"] = check_roles_mode(
            actor, connection.organization, values["roles_mode"]
        )


def _facts(connection: Connection) -> dict[str, object]:
    """What an event tells of a connection, secrets left out."""
    plain = (
        "name",
        "idp_entity_id",
        "sso_url",
        "slo_url",
        "metadata_url",
        "signed_part",
        "signs_requests",
        "requires_encryption",
        "allows_idp_initiated",
        "clock_skew_seconds",
        "issuer",
        "client_id",
        "provisions_people",
        "default_role",
        "roles_mode",
        "session_hours",
        "trusts_idp_mfa",
    )
    return {
        **{name: getattr(connection, name) for name in plain},
        "attribute_map": [f"{field}: {name}" for field, name in connection.attribute_map.items()],
        "default_project_roles": [
            f"{row['role']} on {row['project_id']}" for row in connection.default_project_roles
        ],
        "role_mappings": [
            f"{row['value']}: {row['role']} on {row['project_id'] or 'the organization'}"
            for row in connection.role_mappings
        ],
    }


def wrapped_client_secret(connection: Connection, secret: str) -> str:
    """The secret as the row keeps it; empty: none."""
    if not secret:
        return ""
    context = connection.client_secret_context
    return provider().wrap(secret.encode(), context=context).dump()


def _check_stays_the_same(
    connection: Connection, changed: Mapping[str, tuple[object, object]]
) -> None:
    """Where the identity provider is another one, forget the people of the one before.

    Raises:
        FailedPrecondition: people sign in by it now.
    """
    was = [before for name in _PROVIDER if (before := changed.get(name, ("",))[0])]
    if not was:
        return
    if connection.is_usable:
        raise FailedPrecondition(
            f"People sign in by {connection.name} with {shown(was[0])}. For another identity"
            " provider, make another connection, or switch this one off first."
        )
    forget_people(connection)


def _check_stays_complete(connection: Connection) -> None:
    if connection.state in {State.DRAFT, State.DISABLED}:
        return
    if missing := missing_for_sign_in(connection):
        raise FailedPrecondition(
            f"Without {' and '.join(missing)} nobody could sign in by {connection.name} any more."
            " Switch it off first, or change everything at once."
        )


@transaction.atomic
def set_state(
    *, actor: Actor, connection_id: UUID, state: str, check: VersionCheck = any_version
) -> Connection:
    """Take a connection to `draft`, `testing`, `active` or `disabled`.

    Where nobody can sign in by it any more, the sessions that it opened end. One that was required
    becomes optional or is switched off (`enforcement.relax`).

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection, or the plan has no
            single sign-on.
        InvalidArgument: an unknown state, or `enforced`, which has conditions of its own.
        FailedPrecondition: it can't go there from its state, or something that it needs is missing.
        Aborted: no owner could come in any more.
    """
    if state not in {State.DRAFT, State.TESTING, State.ACTIVE, State.DISABLED}:
        raise InvalidArgument(
            f"The state has to be one of draft, testing, active, disabled, not {shown(state)}."
            " Requiring single sign-on is a step of its own."
        )
    with keeping_an_owner(connection_to_change(actor, connection_id).organization_id):
        connection = connection_to_change(actor, connection_id)
        check(connection.version)
        before, after = State(connection.state), State(state)
        if before == after:
            return connection
        if before == State.ENFORCED:
            relaxed = relax(actor=actor, connection_id=connection_id, to_state=state)
            if not relaxed.is_usable:
                end_sessions_of(actor, relaxed)
            return relaxed
        _check_transition(connection, before, after)
        connection.state = after
        save_change(connection, decides=False)
        if before == State.ACTIVE:
            end_sessions_of(actor, connection)
        record_change(
            EventType.SSO_CONNECTION_UPDATED,
            actor,
            connection,
            changes={"state": (before.value, after.value)},
        )
        return connection


def _check_transition(
    connection: Connection, before: Connection.State, after: Connection.State
) -> None:
    if after not in ALLOWED[before]:
        raise FailedPrecondition(
            f"{connection.name} is {before.value}: from there it can go to"
            f" {', '.join(sorted(ALLOWED[before]))}, not to {after.value}."
        )
    if after not in {State.TESTING, State.ACTIVE}:
        return
    require(connection.organization, Entitlement.SSO)
    missing = missing_for_sign_in(connection)
    verified = connection.domains.filter(verified_at__isnull=False)
    if after == State.ACTIVE and not verified.exists():
        missing.append("a verified domain whose people sign in by it")
    if missing:
        raise FailedPrecondition(
            f"{connection.name} can't go to {after.value} yet. It lacks {', '.join(missing)}."
        )


@transaction.atomic
def delete_connection(
    *, actor: Actor, connection_id: UUID, check: VersionCheck = any_version
) -> None:
    """Delete a connection with its links to people, its log and its directory's tokens.

    The sessions that it opened end. People, roles, groups and domains stay; the domains lead to no
    connection then.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        FailedPrecondition: it is required of everybody.
        Aborted: no owner could come in any more.
    """
    with keeping_an_owner(connection_to_change(actor, connection_id).organization_id):
        connection = connection_to_change(actor, connection_id)
        check(connection.version)
        if connection.state == State.ENFORCED:
            raise FailedPrecondition(
                f"{connection.name} is required of everybody. Make it optional first."
            )
        end_sessions_of(actor, connection)
        record_change(
            EventType.SSO_CONNECTION_DELETED,
            actor,
            connection,
            detail={"protocol": connection.protocol, "count": connection.identities.count()},
        )
        connection.delete()
