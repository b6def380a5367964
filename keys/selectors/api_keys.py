"""Reading and verifying API keys. Nothing here writes: this is the hot path of every call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from keys import secrets
from keys.models import ApiKey, ApiKeySecret, KeyPolicy
from keys.peppers import pepper_bytes
from keys.policies import narrowed, too_old_at
from orgs.actors import Actor, Binding
from orgs.baseline import Facts, is_inside, unmet
from orgs.errors import no_such
from orgs.models import PrincipalType, SecurityBaseline
from orgs.permissions import Permission, authorize, permissions_in
from orgs.selectors.bindings import holdings_of, roles_of
from projects.models import Project

GRANTS = {Permission.DATA_READ: "r", Permission.DATA_WRITE: "w"}


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A key that may be used now.

    Attributes:
        bindings: its roles as far as its scope lets them count.
        secret: the lookup id of the secret that was shown.
        grants: what it may do to records: `r` (read), `w` (write), both or neither.
        indexes: the indexes that it is limited to; None: all of its project.
        namespaces: the exact names of the namespaces that it is limited to, "" being the default
            one; None: all.
        allowed_ips: the ranges that it has to be used from; empty: from anywhere.
        organization_ips: the same for everything that acts in its organization.
        is_archived: whether its project is archived.
    """

    id: UUID
    label: str
    organization_id: UUID
    project_id: UUID
    bindings: tuple[Binding, ...]
    secret: str
    grants: frozenset[str] = frozenset()
    indexes: frozenset[UUID] | None = None
    namespaces: frozenset[str] | None = None
    allowed_ips: tuple[str, ...] = ()
    organization_ips: tuple[str, ...] = ()
    is_archived: bool = False

    def refusal(self, *, ip: str, index_id: UUID | None) -> str:
        """Why the key may not be used from this address or for this index; empty: it may.

        Its holder may hear it: they have the key.

        Args:
            index_id: None: the call concerns no single index.
        """
        if self.is_archived:
            return (
                f"Project {self.project_id} of API key {self.label!r} is archived. Ask an owner to"
                " restore it."
            )
        barred = unmet(
            Facts(ip=ip),
            is_person=False,
            mfa_required=None,
            session_hours=None,
            ip_ranges=self.organization_ips,
        )
        if barred:
            return barred
        if not is_inside(ip, self.allowed_ips):
            return (
                f"API key {self.label!r} may not be used from the address {ip or '(unknown)'}. Use"
                " it from one of its networks, or ask an owner to add yours to the key."
            )
        if index_id is not None and self.indexes is not None and index_id not in self.indexes:
            return (
                f"API key {self.label!r} is limited to other indexes than {index_id}. Use a key"
                " whose scope includes it, or ask an owner to add it to the key."
            )
        return ""

    def actor(self, *, ip: str = "", request_id: str = "") -> Actor:
        """The key as the actor of a request."""
        return Actor(
            kind="api_key",
            id=str(self.id),
            label=f"API key {self.label}",
            organization_id=self.organization_id,
            bindings=self.bindings,
            ip=ip,
            request_id=request_id,
        )


def verify_key(text: str) -> VerifiedKey | None:
    """The key that `text` is, or None where it is unknown, wrong, too early, expired, disabled,
    deleted, or older than its organization lets keys be.

    Callers can't tell which. Two queries, none for text that is no key.

    Raises:
        KeyUnavailable: the pepper can't be opened.
    """
    secret = secrets.parse(text)
    if secret is None:
        return None
    row = (
        ApiKeySecret.objects.select_related(
            "pepper", "key__project__organization__security_baseline"
        )
        .filter(lookup_id=secret.lookup_id)
        .first()
    )
    if row is None or not secrets.matches(pepper_bytes(row.pepper), secret, bytes(row.digest)):
        return None
    key = row.key
    baseline = baseline_of(key)
    ends_at = too_old_at(row.created_at, baseline.max_key_age_days if baseline else None)
    if not key.is_usable or row.is_over or (ends_at is not None and ends_at <= timezone.now()):
        return None
    indexes = None if key.index_ids is None else frozenset(map(UUID, key.index_ids))
    namespaces = None if key.namespaces is None else frozenset(key.namespaces)
    bindings = narrowed(
        holdings_of(PrincipalType.API_KEY, key.pk, facts=Facts())[0],
        access=key.access,
        index_ids=indexes,
        namespaces=namespaces,
    )
    held = frozenset[Permission]().union(*map(permissions_in, bindings))
    return VerifiedKey(
        id=key.pk,
        label=key.name,
        organization_id=key.project.organization_id,
        project_id=key.project_id,
        bindings=bindings,
        secret=row.lookup_id,
        grants=frozenset(GRANTS[permission] for permission in held & set(GRANTS)),
        indexes=indexes,
        namespaces=namespaces,
        allowed_ips=tuple(key.allowed_ips),
        organization_ips=tuple(baseline.ip_ranges) if baseline else (),
        is_archived=key.project.archived_at is not None,
    )


def baseline_of(key: ApiKey) -> SecurityBaseline | None:
    """What the key's organization demands. No query where it is loaded with the key."""
    return getattr(key.project.organization, "security_baseline", None)


def keys_of(actor: Actor, project: Project) -> QuerySet[ApiKey]:
    """The project's keys, newest first, with their secrets.

    Raises:
        NotFound, PermissionDenied: the actor may not see the project's keys.
    """
    authorize(
        actor,
        Permission.API_KEY_READ,
        organization_id=project.organization_id,
        project_id=project.pk,
        what=f"project {project.pk}",
    )
    return with_secrets(ApiKey.objects.filter(project=project, revoked_at=None))


def with_secrets(keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """The keys with what it takes to show them: two queries for all."""
    return keys.select_related("project__organization__security_baseline").prefetch_related(
        "secrets"
    )


def key_roles(keys: Sequence[ApiKey]) -> dict[UUID, list[str]]:
    """The roles of each key, by its id. One query."""
    return roles_of(PrincipalType.API_KEY, [key.pk for key in keys])


def get_key(actor: Actor, project: Project, key_id: UUID) -> ApiKey:
    """One key of the project.

    Raises:
        NotFound: the project has no such key.
        PermissionDenied: the actor may not see the project's keys.
    """
    key = keys_of(actor, project).filter(pk=key_id).first()
    if key is None:
        raise no_such(f"API key {key_id}")
    return key


def find_key(actor: Actor, key_id: UUID) -> ApiKey:
    """One key of whatever project.

    Raises:
        NotFound: no such key, or none that the actor may know of.
        PermissionDenied: the actor may see the project but not its keys.
    """
    key = with_secrets(ApiKey.objects.filter(pk=key_id, revoked_at=None)).first()
    what = f"API key {key_id}"
    if key is None:
        raise no_such(what)
    authorize(
        actor,
        Permission.API_KEY_READ,
        organization_id=key.project.organization_id,
        project_id=key.project_id,
        what=what,
    )
    return key


class State(StrEnum):
    """How a key stands, the first that applies."""

    DISABLED = "disabled"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    ACTIVE = "active"


def state_of(key: ApiKey) -> State:
    """How the key stands now. No query for keys loaded `with_secrets`."""
    now = timezone.now()
    ends = stops_at(key)
    if key.disabled_at is not None:
        return State.DISABLED
    if ends is not None and ends <= now:
        return State.EXPIRED
    if key.not_before is not None and key.not_before > now:
        return State.NOT_YET
    return State.ACTIVE


def stops_at(key: ApiKey) -> datetime | None:
    """When the key stops working: its expiry, or the day its secret reaches the organization's
    maximum age, whichever is first; None: never. No query for keys loaded `with_secrets`.
    """
    baseline = baseline_of(key)
    too_old = too_old_at(
        key.current_secret.created_at, baseline.max_key_age_days if baseline else None
    )
    return min((at for at in (key.expires_at, too_old) if at is not None), default=None)


def policy_of(actor: Actor, project: Project) -> KeyPolicy:
    """What holds for the project's keys that don't say otherwise; of version 0 where nothing was
    ever set.

    Raises:
        NotFound, PermissionDenied: the actor may not see the project's keys.
    """
    authorize(
        actor,
        Permission.API_KEY_READ,
        organization_id=project.organization_id,
        project_id=project.pk,
        what=f"project {project.pk}",
    )
    found = KeyPolicy.objects.filter(pk=project.pk).first()
    return found or KeyPolicy(project=project, version=0)
