"""Reading and verifying API keys. Nothing here writes: this is the hot path of every call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import QuerySet

from keys import secrets
from keys.models import ApiKey
from keys.peppers import pepper_bytes
from orgs.actors import Actor, Binding
from orgs.baseline import Facts
from orgs.errors import no_such
from orgs.models import PrincipalType
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.bindings import holdings_of, roles_of
from projects.models import Project

GRANTS = {Permission.DATA_READ: "r", Permission.DATA_WRITE: "w"}


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A key that may be used now.

    Attributes:
        grants: what it may do to records: `r` (read), `w` (write), both or neither.
    """

    id: UUID
    label: str
    organization_id: UUID
    project_id: UUID
    bindings: tuple[Binding, ...]
    grants: frozenset[str] = frozenset()

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
    """The key that `text` is, or None where it is unknown, wrong, expired or revoked.

    Callers can't tell which. Two queries, none for text that is no key.

    Raises:
        KeyUnavailable: the pepper can't be opened.
    """
    secret = secrets.parse(text)
    if secret is None:
        return None
    row = (
        ApiKey.objects.select_related("project", "pepper")
        .filter(lookup_id=secret.lookup_id)
        .first()
    )
    if row is None or not secrets.matches(pepper_bytes(row.pepper), secret, bytes(row.digest)):
        return None
    if not row.is_usable:
        return None
    key = VerifiedKey(
        id=row.pk,
        label=row.name,
        organization_id=row.project.organization_id,
        project_id=row.project_id,
        bindings=holdings_of(PrincipalType.API_KEY, row.pk, facts=Facts())[0],
    )
    held = permissions_of(
        key.actor(), organization_id=key.organization_id, project_id=key.project_id
    )
    return replace(key, grants=frozenset(GRANTS[permission] for permission in held & set(GRANTS)))


def keys_of(actor: Actor, project: Project) -> QuerySet[ApiKey]:
    """The project's keys, newest first.

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
    return ApiKey.objects.filter(project=project)


def key_roles(keys: list[ApiKey]) -> dict[UUID, list[str]]:
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
