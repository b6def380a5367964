"""Making, changing, switching off and deleting API keys."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import EventType
from keys import secrets
from keys.changes import bindings_of, disable_key, finish_key, record_key, save_key
from keys.models import ApiKey, ApiKeySecret
from keys.peppers import current_pepper, pepper_bytes
from keys.selectors.api_keys import baseline_of
from keys.services.limits import Changes, Limits, apply_limits
from orgs.actors import Actor
from orgs.entitlements import require
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
from orgs.plans import Entitlement
from orgs.removal import remove_binding
from orgs.selectors.bindings import in_force
from orgs.services.bindings import bind_role
from orgs.services.checks import VersionCheck, any_version, check_name, check_text
from orgs.services.owners import lock_organization
from projects.models import Project
from projects.quotas import check_active, check_room, check_standing, project_quota

NAME_LENGTH = 80
REASON_LENGTH = 500


@transaction.atomic
def create_api_key(
    *,
    actor: Actor,
    project: Project,
    name: str,
    roles: Sequence[Role] = (DEFAULT_KEY_ROLE,),
    limits: Limits | None = None,
    key_id: UUID | None = None,
) -> tuple[ApiKey, str]:
    """A key of the project and its secret, which is told this once and never again.

    Safe under concurrency: the project's row is locked while its keys are counted.

    Args:
        limits: what it is limited to; left out: nothing but its roles.
        key_id: the key's id where the caller chose one, so that the same request sent twice makes
            one key.

    Raises:
        NotFound, PermissionDenied: the actor may not make keys there, the key could do more than
            the actor, or the plan lets keys have the default role only.
        InvalidArgument: the name breaks its rule, a role is none that keys may hold, or a limit
            breaks its rule.
        QuotaExceeded: the project has as many keys as it may.
        PaymentRequired: the organization has to settle its account first.
        FailedPrecondition: the project is archived.
        AlreadyExists: a key with that id exists.
    """
    authorize(
        actor,
        Permission.API_KEY_CREATE,
        organization_id=project.organization_id,
        project_id=project.pk,
        what=f"project {project.pk}",
    )
    project = _locked_project(project.pk)
    check_standing(project.organization)
    check_active(project)
    granted = _checked_roles(actor, project, roles)
    check_room(project_quota(project, Entitlement.MAX_KEYS_PER_PROJECT))
    key = ApiKey(
        id=key_id or uuid.uuid4(),
        project=project,
        name=check_name(name, "API key", limit=NAME_LENGTH),
        created_by=actor.label,
    )
    applied = apply_limits(
        key, limits or {}, made_at=timezone.now(), max_age_days=_max_age_days(key)
    )
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError as error:
        raise AlreadyExists(
            f"The API key {key.pk} exists already. Its secret was shown when it was made; if it is"
            " lost, revoke that key and create another."
        ) from error
    text = add_secret(key)
    record_key(
        EventType.API_KEY_CREATED,
        actor,
        key,
        Permission.API_KEY_CREATE,
        detail={
            "roles": sorted(granted),
            **{field: after for field, (_, after) in applied.items()},
        },
    )
    for role in sorted(granted):
        _bind(actor, key, role, Permission.API_KEY_CREATE)
    return key, text


def add_secret(key: ApiKey) -> str:
    """A new current secret of the key; its text, which is kept nowhere."""
    pepper = current_pepper()
    secret = secrets.generate()
    ApiKeySecret.objects.create(
        key=key,
        lookup_id=secret.lookup_id,
        digest=secrets.digest(pepper_bytes(pepper), secret),
        pepper=pepper,
        sha256=secrets.sha256(secret),
    )
    return secret.text


@transaction.atomic
def update_api_key(
    *,
    actor: Actor,
    key_id: UUID,
    name: str | None = None,
    roles: Sequence[Role] | None = None,
    limits: Limits | None = None,
    check: VersionCheck = any_version,
) -> ApiKey:
    """Change what is given and leave the rest. The secret stays.

    Args:
        name: None: as it is.
        roles: what takes the place of all its roles; None: as they are.

    Raises:
        NotFound, PermissionDenied: no such key for the actor, it may not change it, the key could
            do more than the actor, or the plan lets keys have the default role only.
        InvalidArgument: a value breaks its rule.
        Exception: whatever `check` raises.
    """
    permission = Permission.API_KEY_UPDATE
    key = lock_key(actor, key_id, permission, check)
    changes: Changes = {}
    if name is not None and (name := check_name(name, "API key", limit=NAME_LENGTH)) != key.name:
        changes["name"] = key.name, name
        key.name = name
    changes |= apply_limits(
        key,
        limits or {},
        made_at=key.current_secret.created_at,
        max_age_days=_max_age_days(key),
    )
    if roles is not None:
        changes |= _replace_roles(actor, key, _checked_roles(actor, key.project, roles))
    if set(changes) - {"name"}:
        check_key_ceiling(actor, key)
    if changes:
        save_key(key, *(set(changes) - {"roles"}))
        record_key(EventType.API_KEY_UPDATED, actor, key, permission, changes=changes)
    return key


@transaction.atomic
def disable_api_key(
    *, actor: Actor, key_id: UUID, reason: str = "", check: VersionCheck = any_version
) -> ApiKey:
    """Switch a key off until somebody enables it again. Repeating it changes nothing.

    Args:
        reason: at most 500 characters, for those who wonder why it stopped.

    Raises:
        NotFound, PermissionDenied: no such key for the actor, or it may not take it out of use.
        InvalidArgument: the reason breaks its rule.
        Exception: whatever `check` raises.
    """
    key = lock_key(actor, key_id, Permission.API_KEY_REVOKE, check)
    check_text(reason, "reason", limit=REASON_LENGTH)
    if key.disabled_at is None:
        disable_key(actor, key, reason=reason, permission=Permission.API_KEY_REVOKE)
    return key


@transaction.atomic
def enable_api_key(
    *, actor: Actor, key_id: UUID, reason: str = "", check: VersionCheck = any_version
) -> ApiKey:
    """Switch a disabled key on again. Repeating it changes nothing.

    Raises:
        NotFound, PermissionDenied: no such key for the actor, it may not change it, or the key can
            do more than the actor.
        InvalidArgument: the reason breaks its rule.
        Exception: whatever `check` raises.
    """
    key = lock_key(actor, key_id, Permission.API_KEY_UPDATE, check)
    check_text(reason, "reason", limit=REASON_LENGTH)
    if key.disabled_at is not None:
        check_key_ceiling(actor, key)
        key.disabled_at, key.disabled_reason = None, ""
        save_key(key, "disabled_at", "disabled_reason")
        record_key(
            EventType.API_KEY_ENABLED,
            actor,
            key,
            Permission.API_KEY_UPDATE,
            detail={"reason": reason},
        )
    return key


@transaction.atomic
def revoke_api_key(
    *, actor: Actor, key_id: UUID, reason: str = "", check: VersionCheck = any_version
) -> ApiKey:
    """Take a key out of use, for good, with its roles. From then on there is no such key.

    Raises:
        NotFound: no such key, none that the actor may know of, or it is revoked already.
        PermissionDenied: the actor may see the project but not revoke its keys.
        Exception: whatever `check` raises.
    """
    key = lock_key(actor, key_id, Permission.API_KEY_REVOKE, check)
    finish_key(actor, key, reason=reason, permission=Permission.API_KEY_REVOKE)
    return key


def lock_key(
    actor: Actor, key_id: UUID, permission: Permission, check: VersionCheck = any_version
) -> ApiKey:
    """The key with its project, organization and secrets, kept from others until the transaction
    ends, in a version that `check` lets pass.

    The organization's row is locked first: so is whoever changes roles.

    Raises:
        NotFound, PermissionDenied: not for this actor.
        Exception: whatever `check` raises.
    """
    what = f"API key {key_id}"
    place = (
        ApiKey.objects.filter(pk=key_id, revoked_at=None)
        .values_list("project__organization_id", "project_id")
        .first()
    )
    if place is None:
        raise no_such(what)
    organization_id, project_id = place
    authorize(actor, permission, organization_id=organization_id, project_id=project_id, what=what)
    lock_organization(organization_id)
    key = (
        ApiKey.objects.select_related("project__organization__security_baseline")
        .select_for_update(of=("self",))
        .filter(pk=key_id, revoked_at=None)
        .first()
    )
    if key is None:
        raise no_such(what)
    check(key.version)
    return key


def check_key_ceiling(actor: Actor, key: ApiKey) -> None:
    """Let nobody widen, revive or get the secret of a key that may do more than they do.

    Raises:
        PermissionDenied: the actor lacks something that the key's roles include.
    """
    held = [ROLES[Role(row.role)] for row in bindings_of(key)]
    check_ceiling(
        actor,
        frozenset[Permission]().union(*held),
        organization_id=key.project.organization_id,
        project_id=key.project_id,
    )


def _locked_project(project_id: UUID) -> Project:
    project = (
        Project.objects.select_related("organization__security_baseline")
        .select_for_update(of=("self",))
        .filter(pk=project_id)
        .first()
    )
    if project is None:
        raise no_such(f"project {project_id}")
    return project


def _max_age_days(key: ApiKey) -> int | None:
    baseline = baseline_of(key)
    return baseline.max_key_age_days if baseline else None


def _checked_roles(actor: Actor, project: Project, roles: Sequence[Role]) -> frozenset[Role]:
    granted = frozenset(roles)
    if not granted or not granted <= ACCESS_ROLES:
        allowed = ", ".join(sorted(ACCESS_ROLES))
        raise InvalidArgument(
            f"An API key holds one or more of these roles: {allowed}; not"
            f" {', '.join(sorted(granted - ACCESS_ROLES)) or 'none'}."
        )
    if granted != {DEFAULT_KEY_ROLE}:
        require(project.organization, Entitlement.KEY_ROLES)
    check_ceiling(
        actor,
        frozenset[Permission]().union(*(ROLES[role] for role in granted)),
        organization_id=project.organization_id,
        project_id=project.pk,
    )
    return granted


def _replace_roles(actor: Actor, key: ApiKey, granted: frozenset[Role]) -> Changes:
    """Bindings that are not wanted or not in force go, those that are missing come."""
    rows = list(bindings_of(key))
    lasting = set(in_force().filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    kept = {row.role for row in rows if row.role in granted and row.pk in lasting}
    if kept == {role.value for role in granted} and len(rows) == len(kept):
        return {}
    for row in rows:
        if row.role not in kept:
            remove_binding(
                actor=actor,
                row=row,
                reason="The API key's roles were replaced",
                permission=Permission.API_KEY_UPDATE,
            )
    for role in sorted(granted):
        if role.value not in kept:
            _bind(actor, key, role, Permission.API_KEY_UPDATE)
    return {"roles": (sorted(row.role for row in rows if row.pk in lasting), sorted(granted))}


def _bind(actor: Actor, key: ApiKey, role: Role, permission: Permission) -> None:
    bind_role(
        actor=actor,
        organization_id=key.project.organization_id,
        principal=(PrincipalType.API_KEY, key.pk),
        role=role,
        resource_id=key.project_id,
        permission=permission,
    )
