"""Domains: whose people an organization's identity provider may sign in."""

from __future__ import annotations

import secrets
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import AlreadyExists, FailedPrecondition, PermissionDenied, QuotaExceeded, no_such
from orgs.permissions import Permission, authorize
from orgs.plans import Entitlement
from orgs.services.checks import VersionCheck, any_version
from orgs.services.owners import lock_organization
from sso.dns import lookup_txt
from sso.domain_checks import note_verified, problem_of
from sso.domain_names import claimable_domain
from sso.models import Connection, Domain
from sso.selectors.connections import label_of as connection_label
from sso.selectors.domains import label_of
from sso.services.changing import organization_to_change
from sso.services.enforcement import end_sessions_opened_otherwise

MAX_DOMAINS = 50
State = Connection.State


@transaction.atomic
def add_domain(
    *, actor: Actor, organization_id: UUID, name: str, connection_id: UUID | None = None
) -> Domain:
    """Claim a domain; a claim counts for nothing until it is proven (`verify_domain`).

    Raises:
        NotFound: there is no such organization, or no such connection in it.
        PermissionDenied: the actor may not configure single sign-on there, or the plan has none.
        InvalidArgument: no name of a domain that one organization can own.
        QuotaExceeded: the organization has 50 domains.
        AlreadyExists: the organization has that domain.
    """
    organization = organization_to_change(actor, organization_id)
    require(organization, Entitlement.SSO)
    domain = Domain(
        organization=organization,
        connection=_connection(organization_id, connection_id),
        name=claimable_domain(name),
        token=secrets.token_urlsafe(32),
    )
    if Domain.objects.filter(organization=organization).count() >= MAX_DOMAINS:
        raise QuotaExceeded(f"An organization has at most {MAX_DOMAINS} domains. Remove one first.")
    try:
        with transaction.atomic():
            domain.save(force_insert=True)
    except IntegrityError as error:
        raise AlreadyExists(f"The organization has the domain {domain.name} already.") from error
    _record(EventType.DOMAIN_ADDED, actor, domain, {"connection_id": _text(connection_id)})
    return domain


@transaction.atomic
def assign_domain(
    *,
    actor: Actor,
    domain_id: UUID,
    connection_id: UUID | None,
    check: VersionCheck = any_version,
) -> Domain:
    """Say by which connection the domain's people sign in; None: by none.

    Raises:
        NotFound: there is no such domain, or no such connection in its organization.
        PermissionDenied: the actor may not configure single sign-on there.
        FailedPrecondition: the connection that it leads to now can't do without it.
    """
    domain = _domain_to_change(actor, domain_id)
    check(domain.version)
    before = domain.connection_id
    if before == connection_id:
        return domain
    connection = _connection(domain.organization_id, connection_id)
    _check_spare(domain)
    domain.connection = connection
    domain.version += 1
    domain.save(update_fields=["connection", "version"])
    record(
        EventType.DOMAIN_UPDATED,
        actor=actor,
        organization_id=domain.organization_id,
        resource=("domain", domain.pk, domain.name),
        permission=Permission.SSO_MANAGE.value,
        changes={"connection_id": (_text(before), _text(connection_id))},
    )
    _end_sessions(actor, domain)
    return domain


def verify_domain(*, actor: Actor, domain_id: UUID) -> Domain:
    """Look for the TXT record now and, where it is there, take the domain as proven.

    What was found is kept with the domain either way. Asks DNS, for 5 s at most, without a lock.

    Raises:
        NotFound: there is no such domain.
        PermissionDenied: the actor may not configure single sign-on there.
        FailedPrecondition: the record is not there, or nobody could say; the message tells what was
            found and what is expected.
        AlreadyExists: another organization has proven that it owns the domain.
    """
    with transaction.atomic():
        domain = _domain_to_change(actor, domain_id)
    found = lookup_txt(domain.record_name)
    problem = problem_of(domain, found)
    with transaction.atomic():
        domain = _domain_to_change(actor, domain_id)
        if not problem:
            note_verified(actor, domain, detail={"action": "dns"})
            _end_sessions(actor, domain)
            return domain
        domain.checked_at, domain.last_error = timezone.now(), problem
        domain.save(update_fields=["checked_at", "last_error"])
    again = (
        " Name servers remember for a while what they said before: try again in some minutes."
        if found.is_certain
        else " Try again."
    )
    raise FailedPrecondition(
        f"{problem} Expected: a TXT record {domain.record_name} with the text"
        f" {domain.record_value}.{again}"
    )


@transaction.atomic
def verify_domain_by_operator(*, actor: Actor, organization_id: UUID, name: str) -> Domain:
    """Take the operator's word for it, where no name server can be asked: it isn't asked later
    either.

    Raises:
        PermissionDenied: anybody but the platform's operator asks.
        NotFound: the organization has no such domain.
        AlreadyExists: another organization has proven that it owns the domain.
    """
    if not actor.is_system:
        raise PermissionDenied("Only the operator of this installation vouches for domains.")
    lock_organization(organization_id)
    domain = (
        Domain.objects.select_for_update()
        .filter(organization_id=organization_id, name=claimable_domain(name))
        .first()
    )
    if domain is None:
        raise no_such(f"domain {name} in the organization {organization_id}")
    domain.is_vouched = True
    note_verified(actor, domain, detail={"action": "operator"})
    _end_sessions(actor, domain)
    return domain


@transaction.atomic
def remove_domain(*, actor: Actor, domain_id: UUID, check: VersionCheck = any_version) -> None:
    """Give the domain up; nobody with an address there signs in by single sign-on any more.

    Raises:
        NotFound: there is no such domain.
        PermissionDenied: the actor may not configure single sign-on there.
        FailedPrecondition: the connection that it leads to can't do without it.
    """
    domain = _domain_to_change(actor, domain_id)
    check(domain.version)
    _check_spare(domain)
    _record(EventType.DOMAIN_REMOVED, actor, domain, {"connection_id": _text(domain.connection_id)})
    domain.delete()


def _end_sessions(actor: Actor, domain: Domain) -> None:
    """Where the domain's people have to use single sign-on from now on, have them."""
    connection = domain.connection
    if domain.verified_at and connection and connection.state == Connection.State.ENFORCED:
        end_sessions_opened_otherwise(connection, actor=actor)


def _check_spare(domain: Domain) -> None:
    """Let pass where the domain's people are not bound to its connection.

    Raises:
        FailedPrecondition: they have to use it, or it is the last verified domain of one in use.
    """
    connection = domain.connection
    if connection is None or domain.verified_at is None:
        return
    if connection.state == State.ENFORCED:
        raise FailedPrecondition(
            f"People of {domain.name} have to sign in by {connection.name} and could not come in"
            " any more. Make it optional first."
        )
    others = connection.domains.filter(verified_at__isnull=False).exclude(pk=domain.pk)
    if connection.state == State.ACTIVE and not others.exists():
        raise FailedPrecondition(
            f"{domain.name} is the last verified domain of {connection.name}, which is in use."
            " Switch it off first, or give it another domain."
        )


def _domain_to_change(actor: Actor, domain_id: UUID) -> Domain:
    """The domain with its connection, it and its organization locked."""
    what = label_of(domain_id)
    found = Domain.objects.filter(pk=domain_id).first()
    if found is None:
        raise no_such(what)
    authorize(actor, Permission.SSO_MANAGE, organization_id=found.organization_id, what=what)
    organization = lock_organization(found.organization_id)
    domain = (
        Domain.objects.select_for_update(of=("self",))
        .select_related("connection")
        .filter(pk=domain_id)
        .first()
    )
    if organization is None or domain is None:
        raise no_such(what)
    domain.organization = organization
    return domain


def _connection(organization_id: UUID, connection_id: UUID | None) -> Connection | None:
    if connection_id is None:
        return None
    rows = Connection.objects.select_for_update()
    found = rows.filter(pk=connection_id, organization_id=organization_id).first()
    if found is None:
        raise no_such(connection_label(connection_id))
    return found


def _text(connection_id: UUID | None) -> str:
    return str(connection_id or "")


def _record(event: EventType, actor: Actor, domain: Domain, detail: dict[str, object]) -> None:
    record(
        event,
        actor=actor,
        organization_id=domain.organization_id,
        resource=("domain", domain.pk, domain.name),
        permission=Permission.SSO_MANAGE.value,
        detail={"domain": domain.name, **detail},
    )
