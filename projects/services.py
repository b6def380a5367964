"""Making, changing, archiving and deleting projects.

Whatever is made in a project is made under a lock on its row, and so are these changes: nothing
appears in a project that is on its way out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs import entitlements
from orgs.actors import Actor
from orgs.errors import FailedPrecondition, InvalidArgument, OutOfRange, no_such
from orgs.models import Organization, PrincipalType, RoleBinding
from orgs.permissions import CREATOR_ROLE, Permission, authorize
from orgs.plans import Entitlement
from orgs.services.bindings import bind_role
from orgs.services.checks import check_name
from projects import contents
from projects.encryption import add_project_key, shred
from projects.models import Project
from projects.quotas import Quota, check_room, check_standing, organization_quota
from projects.selectors import check_visible

MAX_LIMIT = 100_000
"""What a project's own limits may be set to at most."""


VersionCheck = Callable[[int], None]
"""Raises where the version, read under a lock, is not the one that the actor saw."""


def any_version(version: int) -> None:
    """The check of those who did not say which version they saw."""


@transaction.atomic
def create_project(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    max_pods: int = 0,
    force_encryption_with_cmek: bool = False,
) -> Project:
    """A project with its own encryption key; a person who makes one owns it.

    Safe under concurrency: the organization's row is locked while its projects are counted.

    Raises:
        NotFound, PermissionDenied: the actor may not make projects there, or customer-managed keys
            are not part of the organization's plan.
        InvalidArgument: the name is empty, too long or not printable, or pods are asked for.
        PaymentRequired: the organization has to settle its account first.
        QuotaExceeded: the organization has as many projects as it may.
        KeyUnavailable: the KEK provider can't be used.
    """
    quota, name = _check_new(actor, organization_id, name, max_pods, force_encryption_with_cmek)
    check_room(quota)
    project = Project.objects.create(
        organization_id=organization_id,
        name=name,
        force_encryption_with_cmek=force_encryption_with_cmek,
    )
    add_project_key(project)
    record(
        EventType.PROJECT_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("project", project.pk, project.name),
        permission=Permission.PROJECT_CREATE,
    )
    if actor.kind in _CREATORS:
        bind_role(
            actor=actor,
            organization_id=organization_id,
            principal=(_CREATORS[actor.kind], UUID(actor.id)),
            role=CREATOR_ROLE,
            resource_id=project.pk,
            reason="Created the project",
        )
    return project


_CREATORS = {
    "user": PrincipalType.USER,
    "service_account": PrincipalType.SERVICE_ACCOUNT,
}


@transaction.atomic
def preview_project(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    max_pods: int = 0,
    force_encryption_with_cmek: bool = False,
) -> list[Quota]:
    """The quotas that the project would count against; everything else is checked, nothing written.

    Raises:
        Refused: as `create_project`, but for a full quota.
    """
    return [_check_new(actor, organization_id, name, max_pods, force_encryption_with_cmek)[0]]


def _check_new(
    actor: Actor, organization_id: UUID, name: str, max_pods: int, with_cmek: bool
) -> tuple[Quota, str]:
    """The quota, counted under a lock on the organization, and the cleaned name."""
    what = f"organization {organization_id}"
    authorize(actor, Permission.PROJECT_CREATE, organization_id=organization_id, what=what)
    name = check_name(name, "project")
    _check_pods(max_pods)
    organization = Organization.objects.select_for_update().filter(pk=organization_id).first()
    if organization is None:
        raise no_such(what)
    if with_cmek:
        entitlements.require(organization, Entitlement.CUSTOMER_MANAGED_KEYS)
    check_standing(organization)
    return organization_quota(organization, Entitlement.MAX_PROJECTS), name


def _check_pods(max_pods: int) -> None:
    if max_pods != Project.max_pods:
        raise InvalidArgument(
            f"max_pods {max_pods!r:.40} can't be used: there are no pods here, every index is"
            " serverless. Send 0 or leave it out."
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What is asked for; None: as it is."""

    name: str | None = None
    max_pods: int | None = None
    force_encryption_with_cmek: bool | None = None
    max_indexes: int | None = None
    max_api_keys: int | None = None


@transaction.atomic
def update_project(
    *, actor: Actor, project_id: UUID, changes: Changes, check: VersionCheck = any_version
) -> Project:
    """Change what is given and leave the rest.

    A limit below what there is removes nothing; it lets nothing be added.

    Raises:
        NotFound, PermissionDenied: no such project for the actor, or it may not change it, or
            customer-managed keys are not part of the organization's plan.
        InvalidArgument, OutOfRange: a value breaks its rule.
        FailedPrecondition: the CMEK flag would be switched off.
        Exception: whatever `check` raises.
    """
    project = _locked(actor, project_id, Permission.PROJECT_UPDATE, check)
    wanted: dict[str, object] = {}
    if changes.name is not None:
        wanted["name"] = check_name(changes.name, "project")
    if changes.max_pods is not None:
        _check_pods(changes.max_pods)
    for field in ("max_indexes", "max_api_keys"):
        if (value := getattr(changes, field)) is not None:
            wanted[field] = _checked_limit(field, value)
    if changes.force_encryption_with_cmek is not None:
        wanted["force_encryption_with_cmek"] = changes.force_encryption_with_cmek
        _check_cmek(project, changes.force_encryption_with_cmek)
    changed = {
        field: (getattr(project, field), value)
        for field, value in wanted.items()
        if getattr(project, field) != value
    }
    if changed:
        for field, (_, value) in changed.items():
            setattr(project, field, value)
        _save(project, *changed)
        record(
            EventType.PROJECT_UPDATED,
            actor=actor,
            organization_id=project.organization_id,
            resource=("project", project.pk, project.name),
            permission=Permission.PROJECT_UPDATE,
            changes=changed,
        )
    return project


def _checked_limit(field: str, value: int) -> int:
    if not 0 <= value <= MAX_LIMIT:
        raise OutOfRange(f"{field} {str(value)[:40]} is out of range: 0 to {MAX_LIMIT}.")
    return value


def _check_cmek(project: Project, value: bool) -> None:
    if value and not project.force_encryption_with_cmek:
        entitlements.require(project.organization, Entitlement.CUSTOMER_MANAGED_KEYS)
    if not value and project.force_encryption_with_cmek:
        raise FailedPrecondition(
            "force_encryption_with_cmek can't be switched off again: what the project promised to"
            " its data would not hold any more. Make another project without it."
        )


@transaction.atomic
def archive_project(
    *, actor: Actor, project_id: UUID, check: VersionCheck = any_version
) -> Project:
    """Let the project rest: its keys stop working, nothing is made in it, its data stays.

    Repeating it changes nothing. It stops whatever uses the project, so it takes what deleting it
    takes.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        Exception: whatever `check` raises.
    """
    project = _locked(actor, project_id, Permission.PROJECT_DELETE, check)
    if not project.is_archived:
        project.archived_at = timezone.now()
        _save(project, "archived_at")
        _record(EventType.PROJECT_ARCHIVED, actor, project, Permission.PROJECT_DELETE)
    return project


@transaction.atomic
def restore_project(
    *, actor: Actor, project_id: UUID, check: VersionCheck = any_version
) -> Project:
    """End the rest of an archived project. Repeating it changes nothing.

    Raises:
        NotFound, PermissionDenied: the actor may not.
        Exception: whatever `check` raises.
    """
    project = _locked(actor, project_id, Permission.PROJECT_UPDATE, check)
    if project.is_archived:
        project.archived_at = None
        _save(project, "archived_at")
        _record(EventType.PROJECT_RESTORED, actor, project, Permission.PROJECT_UPDATE)
    return project


@transaction.atomic
def delete_project(*, actor: Actor, project_id: UUID, check: VersionCheck = any_version) -> None:
    """Delete the project with its API keys, the roles held on it, and its encryption keys.

    Raises:
        NotFound: no such project for the actor, or it is deleted already.
        PermissionDenied, ReauthenticationRequired: the actor may not.
        FailedPrecondition: something is left in it; the message names the first kind and how many.
        Exception: whatever `check` raises.
    """
    project = _locked(actor, project_id, Permission.PROJECT_DELETE, check)
    for each in contents.all_contents():
        if count := each.count(project.pk):
            raise FailedPrecondition(
                f"The project {project.pk} still has {each.kind}: {count}."
                " Delete them first, and wait until they are gone."
            )
    keys = contents.used(Entitlement.MAX_KEYS_PER_PROJECT, project.pk)
    for each in contents.all_contents():
        if each.forget is not None:
            each.forget(project.pk)
    bindings = RoleBinding.objects.filter(
        organization_id=project.organization_id, project_id=project.pk
    ).delete()[0]
    shredded = shred(project)
    resource = ("project", project.pk, project.name)
    record(
        EventType.PROJECT_DELETED,
        actor=actor,
        organization_id=project.organization_id,
        resource=resource,
        permission=Permission.PROJECT_DELETE,
        detail={"api_keys": keys, "role_bindings": bindings, "encryption_keys": shredded},
    )
    project.delete()


def _locked(actor: Actor, project_id: UUID, permission: Permission, check: VersionCheck) -> Project:
    """The project with its organization, its row locked, in a version that `check` lets pass.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: not for this actor.
    """
    what = f"project {project_id}"
    project = (
        Project.objects.select_for_update(of=("self",))
        .select_related("organization")
        .filter(pk=project_id)
        .first()
    )
    if project is None:
        raise no_such(what)
    check_visible(actor, project, what)
    authorize(
        actor,
        permission,
        organization_id=project.organization_id,
        project_id=project.pk,
        what=what,
    )
    check(project.version)
    return project


def _save(project: Project, *fields: str) -> None:
    project.version += 1
    project.save(update_fields=[*fields, "version"])


def _record(event: EventType, actor: Actor, project: Project, permission: Permission) -> None:
    record(
        event,
        actor=actor,
        organization_id=project.organization_id,
        resource=("project", project.pk, project.name),
        permission=permission,
    )
