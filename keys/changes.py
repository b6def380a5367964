"""Changing API keys: the writing, with its audit events.

Who may is decided before, by a service or by what the keys' owners have laid down. The caller holds
a lock on the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from keys.models import ApiKey, ApiKeySecret
from orgs.actors import Actor
from orgs.models import PrincipalType, RoleBinding
from orgs.removal import remove_binding


def save_key(key: ApiKey, *fields: str) -> None:
    """Save these fields of the key as its next version."""
    key.version += 1
    key.save(update_fields=[*fields, "version"])


def finish_key(actor: Actor, key: ApiKey, *, reason: str, permission: str = "") -> None:
    """Revoke the key, with its roles. Its project has to be loaded."""
    key.revoked_at = timezone.now()
    save_key(key, "revoked_at")
    record_key(EventType.API_KEY_REVOKED, actor, key, permission, detail={"reason": reason})
    for row in bindings_of(key):
        remove_binding(
            actor=actor, row=row, reason="The API key was revoked", permission=permission
        )


def disable_key(actor: Actor, key: ApiKey, *, reason: str, permission: str = "") -> None:
    """Switch the key off. Its project has to be loaded."""
    key.disabled_at, key.disabled_reason = timezone.now(), reason
    save_key(key, "disabled_at", "disabled_reason")
    record_key(EventType.API_KEY_DISABLED, actor, key, permission, detail={"reason": reason})


def end_secret(actor: Actor, secret: ApiKeySecret, *, reason: str, permission: str = "") -> None:
    """Stop an old secret now. Its key's project has to be loaded."""
    secret.expires_at = timezone.now()
    secret.save(update_fields=["expires_at"])
    record_key(
        EventType.API_KEY_SECRET_ENDED, actor, secret.key, permission, detail={"reason": reason}
    )


def bindings_of(key: ApiKey) -> QuerySet[RoleBinding]:
    """Every role binding of the key, whether in force or not."""
    return RoleBinding.objects.filter(
        principal_type=PrincipalType.API_KEY, principal_id=key.pk
    ).select_related("custom_role")


def record_key(
    event: EventType,
    actor: Actor,
    key: ApiKey,
    permission: str,
    *,
    detail: Mapping[str, object] | None = None,
    changes: Mapping[str, tuple[object, object]] | None = None,
) -> None:
    """Write the audit event of a key. Its project has to be loaded."""
    record(
        event,
        actor=actor,
        organization_id=key.project.organization_id,
        resource=("api_key", key.pk, key.name),
        permission=permission,
        detail={
            "project_id": str(key.project_id),
            **{field: _plain(value) for field, value in (detail or {}).items()},
        },
        changes={
            field: (_plain(before), _plain(after))
            for field, (before, after) in (changes or {}).items()
        },
    )


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
