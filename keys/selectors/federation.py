"""Reading issuers and federation rules."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from keys.models import FederationRule, OidcIssuer
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.permissions import Permission, authorize


def issuers_of(actor: Actor, organization_id: UUID) -> QuerySet[OidcIssuer]:
    """The issuers that the organization believes.

    Raises:
        NotFound, PermissionDenied: the actor may not see them.
    """
    _authorize(actor, organization_id, f"organization {organization_id}")
    return OidcIssuer.objects.filter(organization_id=organization_id)


def get_issuer(actor: Actor, issuer_id: UUID) -> OidcIssuer:
    """One issuer.

    Raises:
        NotFound: there is none of that id, or none that the actor may know of.
        PermissionDenied: the actor may not see the organization's issuers.
    """
    what = f"issuer {issuer_id}"
    issuer = OidcIssuer.objects.filter(pk=issuer_id).first()
    if issuer is None:
        raise no_such(what)
    _authorize(actor, issuer.organization_id, what)
    return issuer


def rules_of(actor: Actor, organization_id: UUID) -> QuerySet[FederationRule]:
    """The organization's federation rules.

    Raises:
        NotFound, PermissionDenied: the actor may not see them.
    """
    _authorize(actor, organization_id, f"organization {organization_id}")
    return FederationRule.objects.filter(issuer__organization_id=organization_id)


def get_rule(actor: Actor, rule_id: UUID) -> FederationRule:
    """One federation rule, with its issuer.

    Raises:
        NotFound: there is none of that id, or none that the actor may know of.
        PermissionDenied: the actor may not see the organization's rules.
    """
    what = f"federation rule {rule_id}"
    rule = FederationRule.objects.select_related("issuer").filter(pk=rule_id).first()
    if rule is None:
        raise no_such(what)
    _authorize(actor, rule.issuer.organization_id, what)
    return rule


def _authorize(actor: Actor, organization_id: UUID, what: str) -> None:
    authorize(actor, Permission.SERVICE_ACCOUNT_READ, organization_id=organization_id, what=what)
