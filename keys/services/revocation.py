"""Revoking many keys at once: all that a filter finds, or none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from keys.changes import finish_key
from keys.models import ApiKey
from keys.services.api_keys import REASON_LENGTH
from orgs.actors import Actor
from orgs.errors import InvalidArgument, no_such
from orgs.permissions import Permission, authorize
from orgs.services.checks import check_text
from orgs.services.owners import lock_organization
from projects.models import Project

MAX_IDS = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which keys are meant: those for which everything that is given holds.

    Attributes:
        ids: these only.
        created_before: made before then.
        unused_since: not let in since then, or never.
        created_by: by exactly this person or program, as keys show it.
        name_prefix: with a name that begins so, upper and lower case apart.
    """

    ids: frozenset[UUID] | None = None
    created_before: datetime | None = None
    unused_since: datetime | None = None
    created_by: str | None = None
    name_prefix: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given."""
        return self == Filter()

    def matches(self, key: ApiKey) -> bool:
        """Whether this key is meant."""
        return (
            (self.ids is None or key.pk in self.ids)
            and (self.created_before is None or key.created_at < self.created_before)
            and (
                self.unused_since is None
                or key.last_used_at is None
                or key.last_used_at < self.unused_since
            )
            and (self.created_by is None or key.created_by == self.created_by)
            and (self.name_prefix is None or key.name.startswith(self.name_prefix))
        )


@transaction.atomic
def revoke_api_keys(
    *, actor: Actor, project_id: UUID, wanted: Filter, reason: str = "", dry_run: bool = False
) -> list[ApiKey]:
    """Revoke every key of the project that the filter finds, in one transaction; those keys.

    Args:
        dry_run: find them and revoke none.

    Raises:
        NotFound: no such project for the actor, or one of the ids is no key of it.
        PermissionDenied: the actor may see the project but not revoke its keys.
        InvalidArgument: the filter is empty, which would mean every key, or the reason breaks its
            rule.
    """
    what = f"project {project_id}"
    project = Project.objects.filter(pk=project_id).first()
    if project is None:
        raise no_such(what)
    authorize(
        actor,
        Permission.API_KEY_REVOKE,
        organization_id=project.organization_id,
        project_id=project_id,
        what=what,
    )
    check_text(reason, "reason", limit=REASON_LENGTH)
    if wanted.is_empty:
        raise InvalidArgument(
            "Say which keys are meant: at least one of ids, created_before, unused_since,"
            " created_by, name_prefix. Nothing at all would be every key of the project."
        )
    lock_organization(project.organization_id)
    keys = list(
        ApiKey.objects.select_related("project__organization__security_baseline")
        .prefetch_related("secrets")
        .select_for_update(of=("self",))
        .filter(project_id=project_id, revoked_at=None)
    )
    if missing := (wanted.ids or frozenset()) - {key.pk for key in keys}:
        raise no_such(f"API key {min(missing)} in the project {project_id}")
    found = [key for key in keys if wanted.matches(key)]
    if not dry_run:
        for key in found:
            finish_key(actor, key, reason=reason, permission=Permission.API_KEY_REVOKE)
    return found
