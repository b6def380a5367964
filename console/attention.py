"""What somebody should look at: each finding names the thing, why, and where to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit.models import Stream
from console.text import in_words
from indexes.models import Index
from indexes.selectors import indexes_visible_to
from keys.models import ApiKey
from keys.selectors.usage import ending_keys, stale_keys
from orgs.actors import Actor
from orgs.models import Organization
from orgs.permissions import Permission, permissions_of
from orgs.selectors.owners import owners_of
from projects.selectors import projects_with
from sso.models import Connection, IdpCertificate

SHOWN = 5
CERTIFICATE_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at.

    Attributes:
        level: how bad it is, as the dots are coloured.
        url: the page where it is mended.
    """

    level: Literal["bad", "warn"]
    title: str
    text: str
    url: str


def attention(actor: Actor, organization: Organization) -> list[Finding]:
    """What the actor may see and should look at, the worst first. A constant number of queries."""
    held = permissions_of(actor, organization_id=organization.pk)
    found = [*_indexes(actor, organization), *_keys(actor, organization)]
    if Permission.SSO_MANAGE in held:
        found += _certificates(organization)
    if Permission.AUDIT_READ in held:
        found += _streams(organization)
    if Permission.MEMBER_UPDATE in held:
        found += _owners(organization)
    return sorted(found, key=lambda each: each.level)


def _indexes(actor: Actor, organization: Organization) -> Iterator[Finding]:
    failed = Q(state=Index.State.INITIALIZATION_FAILED) | ~Q(cause="")
    rows = indexes_visible_to(actor).filter(failed, project__organization=organization)
    for index in rows.order_by("name")[:SHOWN]:
        url = reverse("indexes:overview", args=[index.project_id, index.pk])
        yield Finding("bad", f"The index {index.name} does not serve", index.cause, url)


def _keys(actor: Actor, organization: Organization) -> Iterator[Finding]:
    projects = projects_with(actor, organization.pk, Permission.API_KEY_READ)
    yield from _some_keys(
        ending_keys(projects).order_by("expires_at"),
        "ends soon",
        lambda key: f"On {key.expires_at:%d %b %Y}: rotate it, or let it end.",
    )
    yield from _some_keys(
        stale_keys(projects).order_by("created_at"),
        "is not used",
        lambda key: "Nobody has used it for 90 days: revoke it, unless something needs it.",
    )


def _some_keys(rows: QuerySet[ApiKey], what: str, why: object) -> Iterator[Finding]:
    assert callable(why)  # noqa: S101  tells the type checker
    for key in rows[:SHOWN]:
        url = reverse("keys:key", args=[key.project_id, key.pk])
        yield Finding("warn", f"The API key {key.name} {what}", why(key), url)


def _certificates(organization: Organization) -> Iterator[Finding]:
    rows = IdpCertificate.objects.filter(
        connection__organization=organization, not_after__lt=timezone.now() + CERTIFICATE_SOON
    ).exclude(connection__state=Connection.State.DRAFT)
    for row in rows.select_related("connection").order_by("not_after")[:SHOWN]:
        is_over = row.not_after < timezone.now()
        yield Finding(
            "bad" if is_over else "warn",
            f"A certificate of {row.connection.name} {'has ended' if is_over else 'ends soon'}",
            f"On {row.not_after:%d %b %Y}: add the identity provider's new one.",
            reverse("sso:certificates", args=[organization.pk, row.connection_id]),
        )


def _streams(organization: Organization) -> Iterator[Finding]:
    rows = Stream.objects.filter(log_id=organization.pk, is_enabled=True, failures__gt=0)
    for row in rows.order_by("-failures")[:SHOWN]:
        yield Finding(
            "warn",
            f"The stream {row.name} does not deliver",
            f"{in_words(row.failures, 'attempt')} failed: {row.last_error}",
            reverse("orgs:streams", args=[organization.pk]),
        )


def _owners(organization: Organization) -> Iterator[Finding]:
    owners = owners_of(organization.pk).reachable
    people = reverse("orgs:members", args=[organization.pk])
    if len(owners) == 1:
        yield Finding(
            "warn",
            "Only one owner can come in",
            "If they lose their way in, nobody can manage the organization. Name a second one.",
            people,
        )
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    secured: set[UUID] = set(
        Authenticator.objects.filter(user__in=owners, type__in=kinds).values_list(
            "user_id", flat=True
        )
    )
    if bare := len(owners - secured):
        yield Finding(
            "warn",
            f"{in_words(bare, 'owner')} without a second factor",
            "A password alone opens everything. Ask them to add one, or demand it of everybody.",
            people,
        )
