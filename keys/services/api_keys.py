"""Making and revoking API keys."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from keys import secrets
from keys.models import ApiKey, ApiKeySecret
from keys.peppers import current_pepper, pepper_bytes
from orgs.actors import Actor
from orgs.errors import AlreadyExists, InvalidArgument, no_such
from orgs.models import PrincipalType
from orgs.permissions import (
    ACCESS_ROLES,
    DEFAULT_KEY_ROLE,
    ROLES,
    Permission,
    Role,
    authorize,
    check_ceiling,
)
from orgs.services.bindings import bind_role
from orgs.services.checks import check_name
from projects.models import Project

NAME_LENGTH = 80


@transaction.atomic
def create_api_key(
    *,
    actor: Actor,
    project: Project,
    name: str,
    roles: Sequence[Role] = (DEFAULT_KEY_ROLE,),
    expires_at: datetime | None = None,
    key_id: UUID | None = None,
) -> tuple[ApiKey, str]:
    """A key of the project and its secret, which is told this once and never again.

    Args:
        expires_at: when it stops working; None: never.
        key_id: the key's id where the caller chose one, so that the same request sent twice makes
            one key.

    Raises:
        NotFound, PermissionDenied: the actor may not make keys there, or the key could do more
            than the actor.
        InvalidArgument: the name breaks its rule, a role is none that keys may hold, or the expiry
            is past.
        AlreadyExists: a key with that id exists.
    """
    authorize(
        actor,
        Permission.API_KEY_CREATE,
        organization_id=project.organization_id,
        project_id=project.pk,
        what=f"project {project.pk}",
    )
    granted = _checked_roles(actor, project, roles)
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidArgument(
            f"The key would expire at {expires_at:%Y-%m-%d %H:%M} UTC, which is past: choose a"
            " later time, or none."
        )
    pepper = current_pepper()
    secret = secrets.generate()
    key = ApiKey(
        id=key_id or uuid.uuid4(),
        project=project,
        name=check_name(name, "API key", limit=NAME_LENGTH),
        created_by=actor.label,
        expires_at=expires_at,
    )
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError as error:
        raise AlreadyExists(
            f"The API key {key.pk} exists already. Its secret was shown when it was made; if it is"
            " lost, revoke that key and create another."
        ) from error
    ApiKeySecret.objects.create(
        key=key,
        lookup_id=secret.lookup_id,
        digest=secrets.digest(pepper_bytes(pepper), secret),
        pepper=pepper,
        sha256=secrets.sha256(secret),
    )
    record(
        EventType.API_KEY_CREATED,
        actor=actor,
        organization_id=project.organization_id,
        resource=("api_key", key.pk, key.name),
        detail={
            "project_id": str(project.pk),
            "roles": sorted(granted),
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
    )
    for role in sorted(granted):
        bind_role(
            actor=actor,
            organization_id=project.organization_id,
            principal=(PrincipalType.API_KEY, key.pk),
            role=role,
            resource_id=project.pk,
        )
    return key, secret.text


def _checked_roles(actor: Actor, project: Project, roles: Sequence[Role]) -> frozenset[Role]:
    granted = frozenset(roles)
    if not granted or not granted <= ACCESS_ROLES:
        allowed = ", ".join(sorted(ACCESS_ROLES))
        raise InvalidArgument(
            f"An API key holds one or more of these roles: {allowed}; not"
            f" {', '.join(sorted(granted - ACCESS_ROLES)) or 'none'}."
        )
    check_ceiling(
        actor,
        frozenset[Permission]().union(*(ROLES[role] for role in granted)),
        organization_id=project.organization_id,
        project_id=project.pk,
    )
    return granted


@transaction.atomic
def revoke_api_key(*, actor: Actor, key_id: UUID) -> ApiKey:
    """Take a key out of use, for good. Repeating it changes nothing.

    Raises:
        NotFound: no such key, or none that the actor may know of.
        PermissionDenied: the actor may see the project but not revoke its keys.
    """
    key = (
        ApiKey.objects.select_related("project")
        .select_for_update(of=("self",))
        .filter(pk=key_id)
        .first()
    )
    what = f"API key {key_id}"
    if key is None:
        raise no_such(what)
    authorize(
        actor,
        Permission.API_KEY_REVOKE,
        organization_id=key.project.organization_id,
        project_id=key.project_id,
        what=what,
    )
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        record(
            EventType.API_KEY_REVOKED,
            actor=actor,
            organization_id=key.project.organization_id,
            resource=("api_key", key.pk, key.name),
            detail={"project_id": str(key.project_id)},
        )
    return key
